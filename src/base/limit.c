#include "base/limit.h"

#include "base/types.h"

#define MOST 1e18 /* of a burst */

void limit_init(struct limit *limit, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	*limit = (struct limit){.rate = rate, .burst = burst, .level = (double)burst, .at_ns = now_ns};
}

void limit_set(struct limit *limit, uint64_t rate, double burst_seconds, uint64_t least, uint64_t now_ns)
{
	double burst = (double)rate * (burst_seconds > 0 ? burst_seconds : LIMIT_BURST_SECONDS);

	burst = burst > (double)least ? burst : (double)least;
	limit_init(limit, rate, burst < MOST ? (uint64_t)burst : (uint64_t)MOST, now_ns);
}

static void fill(struct limit *limit, uint64_t now_ns)
{
	double level = limit->level + (double)(now_ns - limit->at_ns) * (double)limit->rate / (double)NS_PER_SECOND;

	limit->level = level < (double)limit->burst ? level : (double)limit->burst;
	limit->at_ns = now_ns;
}

uint64_t limit_take(struct limit *limit, uint64_t amount, uint64_t now_ns)
{
	if (limit->rate == 0)
		return 0;
	fill(limit, now_ns);
	if (limit->level <= 0)
		return (uint64_t)(-limit->level * (double)NS_PER_SECOND / (double)limit->rate) + 1;
	limit->level -= (double)amount;
	return 0;
}

void limit_owe(struct limit *limit, uint64_t amount, uint64_t now_ns)
{
	if (limit->rate == 0)
		return;
	fill(limit, now_ns);
	limit->level -= (double)amount;
}
