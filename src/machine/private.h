/* What the parts of machine/ share about a machine; nobody else includes this. */
#ifndef DOPPEL_MACHINE_PRIVATE_H
#define DOPPEL_MACHINE_PRIVATE_H

#include "base/loop.h"
#include "machine/alarm.h"
#include "machine/ceiling.h"
#include "machine/console.h"
#include "machine/crew.h"
#include "machine/gauge.h"
#include "machine/machine.h"
#include "machine/rest.h"

enum event_kind { EVENT_NONE, EVENT_OFF, EVENT_RESET, EVENT_FAILED };

/* What a vCPU asks of the machine. */
struct event {
	enum event_kind kind;
	int exit_code;
	char message[256];
};

struct machine {
	char name[64];
	struct loop *loop;
	bool owns_loop;
	struct console *console;
	const struct engine *engine;
	struct board *board;
	struct crew *crew;
	struct quota *quota;
	struct ceiling ceiling;
	struct machine_quota shares; /* as it was set */
	pid_t processes[QUOTA_PROCESSES_MAX]; /* of back ends, when the machine was made */
	unsigned process_count;
	struct profile *profile; /* or NULL */
	void (*sample)(void *opaque, const struct hart *hart, uint64_t instructions); /* the profile's, or NULL */
	void *sample_opaque;
	struct gauge gauge;
	_Atomic uint64_t printed; /* bytes of console output */
	struct worker *worker; /* serves all virtio devices; NULL when there are none */
	struct virtio *balloon; /* the board's, or NULL */
	struct virtio *vsock; /* the same */
	struct virtio *terminal; /* the board's, or NULL: the console is the UART */
	struct virtio *button; /* the board's, or NULL */
	uint16_t columns, rows; /* of the terminal, as the guest was told */
	struct virtio *disks[MACHINE_DISKS_MAX], *nics[MACHINE_NICS_MAX]; /* the board's */
	struct block_limits disk_limits[MACHINE_DISKS_MAX];
	struct net_limits nic_limits[MACHINE_NICS_MAX];
	struct net *nets[MACHINE_NICS_MAX]; /* the cards' */
	unsigned disk_count, nic_count;
	uint64_t memory_bytes, memory_left; /* what it has, and what the balloon shall leave */
	struct net_forward forwards[NET_FORWARDS_MAX];
	unsigned forward_count;
	struct alarm alarm;
	struct loop_timer tick; /* for crew_tick, while it runs */
	uint64_t tick_ns;       /* until the next */
	struct rest rest;
	bool restless; /* it keeps what it has: memory was promised */
	struct bell bell; /* an event is there, or the console is drained */

	enum machine_state state;
	bool devices_paused;
	bool stalled; /* it runs, but for want of room on the host's disks */
	bool stranded; /* it runs, but for memory that does not come */
	atomic_uint full_disks;
	atomic_int disk_failures[MACHINE_DISKS_MAX];
	struct bell room_bell; /* full_disks or disk_failures changed */
	int exit_code; /* valid in MACHINE_STOPPED */
	char message[256]; /* in MACHINE_FAILED */
	void (*changed)(void *opaque, enum machine_change change); /* or NULL */
	void *changed_opaque;
	bool left;   /* since machine_wait began */
	int signal;

	pthread_mutex_t lock; /* guards `event` */
	struct event event;
};

/* Any thread: the first event wins until the owner has acted on it; all vCPUs park. life.c */
void machine_raise(struct machine *machine, const struct event *event);
/* The functions of the bell and the tick, and the console's hooks for Ctrl-A x and a new size. life.c */
void machine_attend(void *machine);
void machine_tick(void *machine);
void machine_leave(void *machine);
void machine_resized(void *machine);
/* Back to power-on while quiet; on failure it is in MACHINE_FAILED. life.c */
int machine_power_on(struct machine *machine, struct error *e);
/* The function of the room bell: a guest whose disk finds no room on the host stands still until it does, and failures of
 * the host are told. life.c */
void machine_mind_disks(void *machine);
/* Returns when all helper processes of devices are behind their walls. life.c */
int machine_await_helpers(struct machine *machine, struct error *e);
/* Pauses devices; vCPUs are parked and the clock stands. life.c */
void machine_pause_devices(struct machine *machine);
/* 0, or -EBUSY and a message that says which states allow it. life.c */
MUST_USE int machine_check_state(const struct machine *machine, const char *what, unsigned allowed,
				 struct error *e);
/* Makes the virtio devices that are configured, on the board and a worker. equipment.c */
MUST_USE int machine_equip(struct machine *machine, const struct machine_config *config, struct error *e);
/* This process counts as the machine's; `what` it is for. No process: pid 0. shares.c */
MUST_USE int machine_count_process(struct machine *machine, pid_t pid, const char *what, struct error *e);
/* Gathers machine->forwards anew. shares.c */
void machine_note_forwards(struct machine *machine);
/* The guest asked for something that the owner has not acted on yet. life.c */
bool machine_has_event(struct machine *machine);
/* While parked: samples its vCPUs from now on. -EOPNOTSUPP: its engine tells no samples. profiling.c */
MUST_USE int machine_open_profile(struct machine *machine, struct error *e);
/* Tells whoever asked for it. life.c */
void machine_tell(struct machine *machine, enum machine_change change);
#define IN(state) (1u << (state))

#endif
