/* Where on its host a machine lives: a control group, processors, locked memory. */
#include "machine/place.h"

#include <errno.h>
#include <inttypes.h>

#include "host/facts.h"

/* For the host itself, and for what the monitor takes beside the guest's memory. */
#define SPARE_BYTES (256 * MIB)

/* What can be known before anything is taken. */
static int check_promise(const struct place_wish *wish, const cpu_set_t *cpus, unsigned vcpus, uint64_t memory,
			 struct error *e)
{
	uint64_t available = host_fact(HOST_MEMORY, "MemAvailable") * KIB;
	unsigned count = wish->group.cpus ? (unsigned)CPU_COUNT(cpus) : 0;

	if (count < vcpus)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "a dedicated machine needs a processor of its own for each of its %u vCPUs, and is given %u; "
				 "name them with --cpuset, best with one more for devices",
				 vcpus, count);
	if (available < memory + SPARE_BYTES)
		return error_set(e, ERROR_STATE, -ENOMEM,
				 "a dedicated machine of %" PRIu64 "M is never overcommitted, and the host has %" PRIu64
				 "M to give away; give it less memory",
				 memory / MIB, available > SPARE_BYTES ? (available - SPARE_BYTES) / MIB : 0);
	return 0;
}

static int enter_group(const struct place_wish *wish, const char *name, struct error *e)
{
	struct cgroup_wish group = wish->group;
	struct cgroup_place place;
	char path[CGROUP_PATH];
	int r;

	group.partition = wish->dedicated;
	/* Staying on processors needs no group, and no privilege. */
	if (!wish->dedicated)
		group.cpus = NULL;
	if (!group.cpu_weight && !group.io_weight && !group.cpu_max_percent && !wish->dedicated)
		return 0;
	r = cgroup_find(&place, "/proc/self/mountinfo", "/proc/self/cgroup", e);
	return r < 0 ? r : cgroup_enter(&place, name, &group, path, e);
}

int place_enter(const struct place_wish *wish, const char *name, unsigned vcpus, uint64_t memory, struct error *e)
{
	cpu_set_t cpus;
	int r = wish->group.cpus ? cpus_parse(wish->group.cpus, &cpus, e) : 0;

	if (r == 0 && wish->dedicated)
		r = check_promise(wish, &cpus, vcpus, memory, e);
	if (r == 0)
		r = enter_group(wish, name, e);
	if (r == 0 && wish->group.cpus)
		r = cpus_stay_on(&cpus, e);
	return r;
}

int place_keep(const struct place_wish *wish, struct crew *crew, struct memory *memory, struct error *e)
{
	cpu_set_t cpus;
	int r;

	if (!wish->dedicated)
		return 0;
	r = cpus_parse(wish->group.cpus, &cpus, e);
	if (r == 0)
		r = crew_pin(crew, &cpus, e);
	return r < 0 ? r : memory_lock(memory, e);
}
