/* Models of processors: which features a guest is shown, by word, by level, or by a file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "x86/feature_words.h"

/* What no guest is shown: state that is not saved, or the host's own affairs. */
static const char *const never[] = {
	"vmx", "svm", "smx", "sgx", "sgx_lc", "intel_pt", "dtes64", "ds_cpl", "est", "tm2", "pdcm", "xtpr", "monitor", "mwaitx",
	"dts", "acpi", "tm", "pbe", "ss", "pconfig", "arch_lbr", "skinit", "ibs", "wdt", "lwp", "extapic", "core_capabilities", NULL,
};

/* The x86-64 psABI, 3.1.1: of each level what it has beyond the one before, and what else every processor of that level has that
 * hypervisors run on (Nehalem and Opteron G4; Haswell and EPYC; Skylake-SP and EPYC of the fourth generation). */
static const char *const level1[] = {
	"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "sep", "mtrr", "pge", "mca", "cmov", "pat", "pse36",
	"clflush", "mmx", "fxsr", "sse", "sse2", "syscall", "nx", "lm", "hypervisor", "x2apic", "tsc_deadline_timer", NULL,
};
static const char *const level2[] = {
	"pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "cx16", "lahf_lm", "rdtscp", NULL,
};
static const char *const level3[] = {
	"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", "xsaveopt", "aes", "pclmulqdq", "rdrand",
	"fsgsbase", "smep", "pdpe1gb", NULL,
};
static const char *const level4[] = {
	"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "rdseed", "adx", "smap", "clflushopt", "clwb", "xsavec",
	"xgetbv1", "3dnowprefetch", NULL,
};
/* Where the host has them: what keeps one program's secrets from another's, and what KVM itself offers, whatever the
 * processor. */
static const char *const welcome[] = {
	"md_clear", "spec_ctrl", "intel_stibp", "flush_l1d", "arch_capabilities", "spec_ctrl_ssbd", "intel_psfd", "ibpb", "ibrs",
	"stibp", "ibrs_always_on", "stibp_always_on", "ibrs_same_mode", "amd_ssbd", "virt_ssbd", "amd_ssb_no", "amd_psfd", "btc_no",
	"lfence_rdtsc", "null_sel_clr_base", "autoibrs", "sbpb", "ibpb_brtype", "srso_no", "arat", "ht", "apic", "osxsave",
	"tsc_adjust", "kvm_clock_old", "kvm_nopiodelay", "kvm_clock", "kvm_async_pf", "kvm_steal_time", "kvm_pv_eoi",
	"kvm_pv_unhalt", "kvm_pv_tlb_flush", "kvm_pv_ipi", "kvm_poll_control", "kvm_pv_sched_yield", "kvm_async_pf_int",
	"kvm_clock_stable", "cmp_legacy", "topoext", NULL,
};

static void pick(uint32_t words[X86_FEATURE_WORDS], const char *const *names, bool on)
{
	for (; *names; names++) {
		unsigned word, bit;

		if (!x86_feature_find(*names, strlen(*names), &word, &bit))
			continue;
		words[word] = on ? words[word] | 1u << bit : words[word] & ~(1u << bit);
	}
}

static void choose_host(struct x86_model *model)
{
	memset(model->shown, 0xff, sizeof model->shown);
	memset(model->needed, 0, sizeof model->needed);
	pick(model->shown, never, false);
}

static void choose_level(struct x86_model *model, unsigned level)
{
	static const char *const *const levels[] = {level1, level2, level3, level4};

	memset(model->needed, 0, sizeof model->needed);
	for (unsigned i = 0; i < level; i++)
		pick(model->needed, levels[i], true);
	memcpy(model->shown, model->needed, sizeof model->shown);
	pick(model->shown, welcome, true);
}

static bool choose(struct x86_model *model, const char *name)
{
	if (strcmp(name, "host") == 0)
		choose_host(model);
	else if (name[0] == 'v' && name[1] >= '2' && name[1] <= '4' && !name[2])
		choose_level(model, (unsigned)(name[1] - '0'));
	else
		return false;
	snprintf(model->name, sizeof model->name, "%s", name);
	return true;
}

static int bad_line(const char *path, unsigned number, const char *why, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "%s, line %u: %s; lines are `base MODEL` (host, v2, v3, v4), `+FEATURE` and `-FEATURE`, named as in "
			 "/proc/cpuinfo", path, number, why);
}

static bool is_among(const char *const *names, unsigned word, unsigned bit)
{
	unsigned w, b;

	for (; *names; names++)
		if (x86_feature_find(*names, strlen(*names), &w, &b) && w == word && b == bit)
			return true;
	return false;
}

static int take_line(struct x86_model *model, char *line, const char *path, unsigned number, struct error *e)
{
	char base[16], junk;
	unsigned word, bit;
	size_t length;

	line[strcspn(line, "#\r")] = '\0';
	line += strspn(line, " \t");
	length = strcspn(line, " \t");
	if (length == 0)
		return 0;
	if (sscanf(line, "base %15s %c", base, &junk) == 1)
		return choose(model, base) ? 0 : bad_line(path, number, "there is no such model", e);
	if (line[0] != '+' && line[0] != '-')
		return bad_line(path, number, "this says nothing", e);
	if (line[length + strspn(line + length, " \t")])
		return bad_line(path, number, "one feature a line", e);
	if (!x86_feature_find(line + 1, length - 1, &word, &bit))
		return bad_line(path, number, "there is no such feature", e);
	if (line[0] == '+' && is_among(never, word, bit))
		return bad_line(path, number, "no guest is given this feature", e);
	model->shown[word] &= ~(1u << bit);
	model->needed[word] &= ~(1u << bit);
	if (line[0] == '+') {
		model->shown[word] |= 1u << bit;
		model->needed[word] |= 1u << bit;
	}
	return 0;
}

#define FILE_MAX (64 * KIB)

static int read_model(struct x86_model *model, const char *path, struct error *e)
{
	size_t length;
	uint8_t *text;
	char *line;
	unsigned number = 0;
	int r = file_read(path, FILE_MAX, &text, &length, e);

	if (r < 0)
		return r;
	choose_host(model);
	for (char *rest = (char *)text; r == 0 && (line = strsep(&rest, "\n"));)
		r = take_line(model, line, path, ++number, e);
	free(text);
	snprintf(model->name, sizeof model->name, "custom");
	return r;
}

int x86_model_parse(struct x86_model *model, const char *text, struct error *e)
{
	struct x86_model own = {.name = ""};
	int r = 0;

	if (!choose(&own, text))
		r = read_model(&own, text, e);
	if (r == -ENOENT)
		r = error_set(e, ERROR_USAGE, -EINVAL,
			      "there is no CPU model \"%s\" and no file of that name; give host, v2, v3, v4 or a file", text);
	if (r == 0)
		*model = own;
	return r;
}
