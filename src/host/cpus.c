#include "host/cpus.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

unsigned cpus_online(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return online > 0 ? (unsigned)online : 1;
}

unsigned cpus_usable(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : cpus_online();
}

static bool read_number(const char **at, unsigned *out)
{
	char *end;
	unsigned long number;

	if (**at < '0' || **at > '9')
		return false;
	number = strtoul(*at, &end, 10);
	*at = end;
	*out = (unsigned)number;
	return number < CPU_SETSIZE;
}

/* "N" or "N-M". */
static bool read_range(const char **at, cpu_set_t *set)
{
	unsigned first, last;

	if (!read_number(at, &first))
		return false;
	last = first;
	if (**at == '-') {
		++*at;
		if (!read_number(at, &last))
			return false;
	}
	for (unsigned i = first; i <= last; i++)
		CPU_SET(i, set);
	return first <= last;
}

int cpus_parse(const char *text, cpu_set_t *out, struct error *e)
{
	const char *at = text;
	cpu_set_t set;
	bool good;

	CPU_ZERO(&set);
	good = read_range(&at, &set);
	while (good && *at == ',') {
		at++;
		good = read_range(&at, &set);
	}
	if (!good || *at)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "\"%s\" is no list of processors; give numbers and ranges, such as 0-3,8", text);
	*out = set;
	return 0;
}

unsigned cpus_nth(const cpu_set_t *set, unsigned index)
{
	unsigned cpu = 0;

	while (cpu < CPU_SETSIZE - 1 && (!CPU_ISSET(cpu, set) || index-- > 0))
		cpu++;
	return cpu;
}

int cpus_stay_on(const cpu_set_t *set, struct error *e)
{
	cpu_set_t got;

	if (sched_setaffinity(0, sizeof *set, set) == 0 && sched_getaffinity(0, sizeof got, &got) == 0 &&
	    CPU_EQUAL(&got, set))
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "not all of these processors are there for this process; see /sys/devices/system/cpu/online and "
			 "Cpus_allowed_list in /proc/self/status");
}
