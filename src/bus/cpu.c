#include "bus/cpu.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

void cpu_kick(struct cpu *cpu)
{
	atomic_fetch_add(&cpu->wakeups, 1);
	cpu->type->kick(cpu);
	if (atomic_load(&cpu->sleeping))
		futex(&cpu->wakeups, FUTEX_WAKE, INT_MAX, NULL);
}

void cpu_idle(struct cpu *cpu, uint32_t ticket, uint64_t deadline)
{
	uint64_t ns = clock_ns_until(cpu->clock, deadline);
	struct timespec timeout = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};

	if (ns == 0)
		return;
	atomic_store(&cpu->sleeping, 1);
	if (atomic_load(&cpu->wakeups) == ticket)
		futex(&cpu->wakeups, FUTEX_WAIT, ticket, ns == UINT64_MAX ? NULL : &timeout);
	atomic_store(&cpu->sleeping, 0);
}
