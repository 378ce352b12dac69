/*
 * What a machine does and uses, gathered while its guest runs on: for `doppel top`, metrics and the decisions of others.
 *
 * All numbers but states (memory, requests in flight, the code cache) count from the machine's start and only grow: who
 * wants a rate takes the difference of two loads and of their times.
 *
 * Thread: the machine's owner.
 */
#ifndef DOPPEL_MACHINE_LOAD_H
#define DOPPEL_MACHINE_LOAD_H

#include <jansson.h>

#include "block/block.h"
#include "device/virtio/balloon.h"
#include "machine/gauge.h"
#include "machine/machine.h"

struct machine_device_load {
	const char *name, *kind; /* "disk0", "virtio-blk"; as long as the machine */
	uint64_t reads, writes;  /* accesses to its registers */
	bool is_virtio, is_disk, is_nic;
	struct virtio_statistics virtio;
	struct block_statistics disk;
};

struct machine_load {
	uint64_t at_ns;    /* clock_host_ns */
	uint64_t guest_ns; /* time of the guest's clock, which stands while it is paused */
	enum machine_state state;
	bool stalled;
	unsigned cpus;
	unsigned asleep; /* of the CPUs: those that wait for an interrupt */
	struct machine_use use;
	struct machine_quota quota;

	uint64_t memory_bytes; /* given */
	struct gauge_reading memory;
	bool has_balloon;
	struct balloon_statistics balloon; /* actual_bytes: at most memory_bytes, whatever the guest says */

	uint64_t console_bytes; /* that the guest printed */
	const char *engine_name;
	struct engine_statistics engine;
	struct machine_device_load devices[BOARD_DEVICES_MAX];
	unsigned device_count;
};

/* Also asks the guest to tell about its memory anew, for the next time. */
void machine_measure(struct machine *machine, struct machine_load *out);
/* As an object (docs/internals/machine.md lists it); a new reference, or NULL without memory. */
json_t *machine_load_json(const struct machine_load *load);

#endif
