#include "machine/budget.h"

#include "base/types.h"

/* How long a rest fills it, and what it holds at most whatever the share: this much may be used at once. */
#define FILL_MS 20
#define MOST_MS 8
/* Of shares of many processors: less than this much time for each of them is not worth a stop. */
#define LEAST_FILL_MS 2
#define SELDOM_NS     UINT64_C(1000000000)

static void set_share(struct budget *budget, double share)
{
	double full = share * FILL_MS;

	if (full > MOST_MS)
		full = MOST_MS;
	if (full < share * LEAST_FILL_MS)
		full = share * LEAST_FILL_MS;
	budget->share = share;
	budget->full = full * (double)NS_PER_MS;
	budget->worthwhile = budget->full / 2;
	if (share <= 0)
		budget->spent = false;
}

void budget_init(struct budget *budget, double share, uint64_t now_ns, uint64_t used_ns)
{
	*budget = (struct budget){.at_ns = now_ns, .used_ns = used_ns};
	set_share(budget, share);
	budget->level = budget->full;
}

void budget_set(struct budget *budget, double share, uint64_t now_ns, uint64_t used_ns)
{
	if (budget->share <= 0) {
		budget_init(budget, share, now_ns, used_ns);
		return;
	}
	budget_look(budget, now_ns, used_ns);
	set_share(budget, share);
	budget_look(budget, now_ns, used_ns);
}

void budget_look(struct budget *budget, uint64_t now_ns, uint64_t used_ns)
{
	double least = -budget->share * (double)BUDGET_DEBT_NS, level = budget->level;

	if (now_ns > budget->at_ns) {
		level += (double)(now_ns - budget->at_ns) * budget->share;
		budget->at_ns = now_ns;
	}
	if (used_ns > budget->used_ns)
		level -= (double)(used_ns - budget->used_ns);
	budget->used_ns = used_ns;
	level = level < budget->full ? level : budget->full;
	budget->level = level > least ? level : least;
	if (budget->share <= 0)
		return;
	if (budget->level <= 0)
		budget->spent = true;
	else if (budget->level >= budget->worthwhile)
		budget->spent = false;
}

uint64_t budget_next(const struct budget *budget, double speed)
{
	double way = budget->spent ? budget->worthwhile - budget->level : budget->level;
	double pace = budget->spent ? budget->share : speed - budget->share;

	if (budget->share <= 0 || way >= pace * (double)SELDOM_NS)
		return SELDOM_NS;
	return way > 0 ? (uint64_t)(way / pace) + 1 : 1;
}
