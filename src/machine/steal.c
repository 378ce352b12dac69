#include "machine/steal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

/* The second number: time spent runnable on a queue (Linux, sched-stats). */
static uint64_t read_waited(const struct steal *steal)
{
	unsigned long long waited;
	char text[96];
	ssize_t n = steal->fd < 0 ? 0 : pread(steal->fd, text, sizeof text - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%*u %llu", &waited) == 1 ? waited : 0;
}

void steal_begin(struct steal *steal)
{
	*steal = (struct steal){.fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)};
	steal->waited_ns = read_waited(steal);
}

void steal_tell(struct steal *steal, struct cpu *cpu)
{
	uint64_t now, waited;

	if (!cpu->type->stolen)
		return;
	now = clock_host_ns();
	if (now < steal->next_ns)
		return;
	steal->next_ns = now + STEAL_EVERY_NS;
	waited = steal->held_ns + (cpu->type->waits_are_told ? 0 : read_waited(steal));
	if (waited > steal->waited_ns && cpu->type->stolen(cpu, waited - steal->waited_ns))
		steal->waited_ns = waited;
}

void steal_end(struct steal *steal)
{
	if (steal->fd >= 0)
		close(steal->fd);
}
