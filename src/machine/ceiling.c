#include "machine/ceiling.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/resource.h>

#include "host/facts.h"

#define STACK_BYTES MIB
#define PAGE        UINT64_C(4096)

static uint64_t in_mib(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB;
}

static int too_small(uint64_t most, uint64_t needed, uint64_t memory, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "a machine of %" PRIu64 "M can not be kept within %" PRIu64 "M: it may come to use %" PRIu64
			 "M; give it that much, or less memory, CPUs or code cache",
			 in_mib(memory), most / MIB, in_mib(needed));
}

int ceiling_plan(struct ceiling *ceiling, uint64_t most, uint64_t memory, unsigned cpus, const struct engine *engine,
		 uint64_t *code_cache, struct error *e)
{
	uint64_t fixed = memory + cpus * engine->vcpu_bytes + CEILING_BASE + CEILING_GROWTH;
	uint64_t copies = engine->cache_copies, cache = *code_cache ? *code_cache : CEILING_CACHE_MIN, fits;
	pthread_attr_t small;

	if (most < fixed + copies * cache)
		return too_small(most, fixed + copies * cache, memory, e);
	if (*code_cache == 0 && copies > 0) {
		fits = (most - fixed) / copies / PAGE * PAGE;
		cache = fits < CEILING_CACHE_MAX ? fits : CEILING_CACHE_MAX;
		*code_cache = cache;
	}
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	pthread_setattr_default_np(&small);
	pthread_attr_destroy(&small);
	*ceiling = (struct ceiling){.most = most, .growth = most - fixed - copies * cache + CEILING_GROWTH};
	return 0;
}

int ceiling_impose(const struct ceiling *ceiling, struct error *e)
{
	/* What the limit counts: private mappings that can be written to, touched or not. */
	uint64_t now = host_fact(HOST_SELF, "VmData") * KIB;
	struct rlimit limit;

	if (now == 0)
		return error_set(e, ERROR_FAILED, -ENOENT,
				 "the machine's memory can not be limited: /proc does not tell what it uses");
	if (getrlimit(RLIMIT_DATA, &limit) < 0)
		return error_errno(e, -errno, "the limit of the machine's memory is not known");
	if (limit.rlim_max > now + ceiling->growth)
		limit.rlim_max = now + ceiling->growth;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_DATA, &limit) < 0)
		return error_errno(e, -errno, "the machine's memory can not be limited");
	return 0;
}
