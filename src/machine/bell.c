#include "machine/bell.h"

static void answer(void *arg)
{
	struct bell *bell = arg;

	/* Before the call: what happens during it rings again. */
	atomic_store(&bell->rung, false);
	bell->fn(bell->arg);
}

void bell_ring(struct bell *bell)
{
	if (atomic_exchange(&bell->rung, true))
		return;
	if (loop_post(bell->loop, answer, bell) < 0)
		atomic_store(&bell->rung, false);
}
