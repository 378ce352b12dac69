#include "block/throttle.h"

#include "base/clock.h"

static void set_limits(struct throttle *throttle, const struct block_limits *limits)
{
	uint64_t now = clock_host_ns();

	/* At least one sector and one operation, else nothing would ever pass. */
	limit_set(&throttle->bytes, limits->bytes_per_second, limits->burst_seconds, BLOCK_SECTOR, now);
	limit_set(&throttle->operations, limits->operations_per_second, limits->burst_seconds, 1, now);
}

/* Nanoseconds to wait, or 0: paid. */
static uint64_t pay(struct throttle *throttle, struct throttled *entry, uint64_t now)
{
	uint64_t wait = entry->operation_paid ? 0 : limit_take(&throttle->operations, 1, now);

	if (wait)
		return wait;
	entry->operation_paid = true;
	return entry->bytes ? limit_take(&throttle->bytes, entry->bytes, now) : 0;
}

static void pass_due(void *arg)
{
	struct throttle *throttle = arg;
	struct throttled *entry;

	/* What is let through may end at once and bring the next. */
	if (throttle->passing)
		return;
	throttle->passing = true;
	while ((entry = throttle->first)) {
		uint64_t now = clock_host_ns(), wait = pay(throttle, entry, now);

		if (wait) {
			loop_timer_set(throttle->loop, &throttle->timer, now + wait);
			break;
		}
		throttle->first = entry->next;
		if (!throttle->first)
			throttle->last = &throttle->first;
		throttle->pass(throttle->owner, entry, now - entry->since_ns);
	}
	throttle->passing = false;
}

void throttle_init(struct throttle *throttle, const struct block_limits *limits, throttle_fn *pass, void *owner)
{
	*throttle = (struct throttle){.pass = pass, .owner = owner};
	throttle->last = &throttle->first;
	throttle->timer = (struct loop_timer){.fn = pass_due, .arg = throttle};
	set_limits(throttle, limits);
}

void throttle_attach(struct throttle *throttle, struct loop *loop)
{
	throttle->loop = loop;
}

void throttle_finish(struct throttle *throttle)
{
	if (throttle->loop && throttle->timer.armed)
		loop_timer_cancel(throttle->loop, &throttle->timer);
}

void throttle_set(struct throttle *throttle, const struct block_limits *limits)
{
	set_limits(throttle, limits);
	if (throttle->loop)
		pass_due(throttle);
}

void throttle_submit(struct throttle *throttle, struct throttled *entry, uint64_t bytes)
{
	bool limited = throttle->bytes.rate || throttle->operations.rate;

	entry->next = NULL;
	entry->bytes = bytes;
	entry->operation_paid = false;
	if (!limited && !throttle->first) {
		throttle->pass(throttle->owner, entry, 0);
		return;
	}
	entry->since_ns = clock_host_ns();
	*throttle->last = entry;
	throttle->last = &entry->next;
	if (throttle->first == entry)
		pass_due(throttle);
}
