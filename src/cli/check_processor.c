#include "cli/check.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "base/types.h"
#include "engine/kvm/probe.h"

#ifdef __x86_64__

/* The brand string: three leaves of sixteen bytes, with spaces around it on some processors. */
static void model_name(char out[64])
{
	unsigned words[12] = {0};
	char brand[sizeof words + 1];
	const char *start = brand;
	size_t length;

	for (unsigned i = 0; i < 3; i++)
		__get_cpuid(0x80000002U + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
			    &words[4 * i + 3]);
	memcpy(brand, words, sizeof words);
	brand[sizeof words] = '\0';
	start += strspn(start, " ");
	length = strlen(start);
	while (length > 0 && start[length - 1] == ' ')
		length--;
	snprintf(out, 64, "%.*s", (int)length, length ? start : "");
}

void check_cpu(struct finding *out)
{
	const struct {
		const char *name;
		bool present;
	} features[] = {
		{"FMA", __builtin_cpu_supports("fma")},
		{"BMI2", __builtin_cpu_supports("bmi2")},
		{"AVX2", __builtin_cpu_supports("avx2")},
	};
	char model[64], have[32] = "", lack[32] = "";

	model_name(model);
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		char *list = features[i].present ? have : lack;
		size_t used = strlen(list);

		snprintf(list + used, sizeof have - used, "%s%s", used ? " " : "", features[i].name);
	}
	if (*lack)
		finding_set(out, FINDING_WARN,
			    "guests run, more slowly; a hypervisor below this host may hide them", "%s without %s",
			    *model ? model : "x86-64 processor", lack);
	else
		finding_set(out, FINDING_OK, NULL, "%s with %s", *model ? model : "x86-64 processor", have);
}

#else

void check_cpu(struct finding *out)
{
	struct utsname name;

	finding_set(out, FINDING_WARN, "use an x86-64 host for full speed", "%s processor",
		    uname(&name) == 0 ? name.machine : "unknown");
}

#endif

void check_cores(struct finding *out)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;
	int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)online;

	if (usable < online)
		finding_set(out, FINDING_WARN, "widen the affinity of this process (taskset, cpuset)",
			    "%d of %ld processors may be used", usable, online);
	else
		finding_set(out, FINDING_OK, NULL, "%d processors", usable);
}

static void kvm_speed(struct finding *out, const struct kvm_probe *probe)
{
	char rate[KVM_RATE_SIZE];

	kvm_probe_rate_text(probe, rate);
	if (probe->verdict == KVM_WORKS)
		finding_set(out, FINDING_OK, NULL, "/dev/kvm runs guests in hardware (%s)", rate);
	else
		finding_set(out, FINDING_WARN,
			    "x86-64 guests at speed need a host with nested or real virtualization; "
			    "riscv64 guests do not use it",
			    "/dev/kvm runs supervisor code by emulation, at %s: far too slow", rate);
}

void check_kvm(struct finding *out)
{
	struct kvm_probe probe;

	kvm_probe(&probe);
	if (probe.verdict == KVM_WORKS || probe.verdict == KVM_EMULATES)
		kvm_speed(out, &probe);
	else if (probe.verdict == KVM_DENIED)
		finding_set(out, FINDING_WARN, "add this user to the group kvm, then log in again",
			    "/dev/kvm may not be opened");
	else if (probe.verdict == KVM_BROKEN)
		finding_set(out, FINDING_WARN, "see the kernel log; riscv64 guests do not use it",
			    "/dev/kvm does not work: %s: %s", probe.step, strerror(-probe.error));
	else
		finding_set(out, FINDING_MISSING,
			    "enable virtualization in the host's firmware, load kvm_intel or kvm_amd; "
			    "riscv64 guests do not use it",
			    "no /dev/kvm");
}
