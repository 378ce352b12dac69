#include "cli/check.h"

#include <stdarg.h>
#include <stdio.h>

const struct check checks[] = {
	{"cpu", false, check_cpu},
	{"cores", false, check_cores},
	{"kvm", false, check_kvm},
	{"memory", true, check_memory},
	{"huge pages", false, check_huge_pages},
	{"userfaultfd", false, check_userfaultfd},
	{"memfd", true, check_memfd},
	{"io_uring", false, check_io_uring},
	{"seccomp", false, check_seccomp},
	{"landlock", false, check_landlock},
	{"user namespaces", false, check_user_namespaces},
	{"tun", false, check_tun},
	{"vhost-vsock", false, check_vsock},
	{"apt", false, check_apt},
	{"keyring", false, check_keyring},
	{"cache", false, check_cache},
	{"terminal", false, check_terminal},
	{NULL, false, NULL},
};

void finding_set(struct finding *out, enum finding_level level, const char *remedy, const char *format, ...)
{
	va_list arguments;

	out->level = level;
	snprintf(out->remedy, sizeof out->remedy, "%s", remedy ? remedy : "");
	va_start(arguments, format);
	vsnprintf(out->text, sizeof out->text, format, arguments);
	va_end(arguments);
}
