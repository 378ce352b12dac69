#include "machine/rest.h"

#define IDLE_PART 100 /* of the time, at most one */

void rest_begin(struct rest *rest, uint64_t now_ns, uint64_t used_ns)
{
	*rest = (struct rest){.since_ns = now_ns, .used_ns = used_ns, .span_ns = REST_FIRST_NS};
}

bool rest_is_due(struct rest *rest, uint64_t now_ns, uint64_t used_ns)
{
	uint64_t passed = now_ns - rest->since_ns, span = rest->span_ns;
	bool idle = (used_ns - rest->used_ns) * IDLE_PART < passed;

	if (passed < span)
		return false;
	rest_begin(rest, now_ns, used_ns);
	if (idle)
		rest->span_ns = 2 * span < REST_RAREST_NS ? 2 * span : REST_RAREST_NS;
	return idle;
}
