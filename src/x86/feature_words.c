#include "x86/feature_words.h"

#include <stdio.h>
#include <string.h>

/* Intel SDM 2A, CPUID; AMD APM 3, appendix E; Linux, Documentation/virt/kvm/x86/cpuid.rst. Bits of 0x80000001 EDX that repeat those
 * of leaf 1 on AMD's processors have no name of their own. */
const struct x86_feature_word x86_feature_words[X86_FEATURE_WORDS] = {
	{
		.function = 0x1, .index = 0, .reg = CPUID_ECX, .dynamic = 0x8000000,
		.names = {
			[0] = "pni", [1] = "pclmulqdq", [2] = "dtes64", [3] = "monitor", [4] = "ds_cpl",
			[5] = "vmx", [6] = "smx", [7] = "est", [8] = "tm2", [9] = "ssse3", [12] = "fma",
			[13] = "cx16", [14] = "xtpr", [15] = "pdcm", [17] = "pcid", [19] = "sse4_1",
			[20] = "sse4_2", [21] = "x2apic", [22] = "movbe", [23] = "popcnt",
			[24] = "tsc_deadline_timer", [25] = "aes", [26] = "xsave", [27] = "osxsave", [28] = "avx",
			[29] = "f16c", [30] = "rdrand", [31] = "hypervisor",
		},
	},
	{
		.function = 0x1, .index = 0, .reg = CPUID_EDX, .dynamic = 0x10000200,
		.names = {
			[0] = "fpu", [1] = "vme", [2] = "de", [3] = "pse", [4] = "tsc", [5] = "msr", [6] = "pae",
			[7] = "mce", [8] = "cx8", [9] = "apic", [11] = "sep", [12] = "mtrr", [13] = "pge",
			[14] = "mca", [15] = "cmov", [16] = "pat", [17] = "pse36", [18] = "pn", [19] = "clflush",
			[21] = "dts", [22] = "acpi", [23] = "mmx", [24] = "fxsr", [25] = "sse", [26] = "sse2",
			[27] = "ss", [28] = "ht", [29] = "tm", [31] = "pbe",
		},
	},
	{
		.function = 0x7, .index = 0, .reg = CPUID_EBX,
		.names = {
			[0] = "fsgsbase", [1] = "tsc_adjust", [2] = "sgx", [3] = "bmi1", [4] = "hle", [5] = "avx2",
			[7] = "smep", [8] = "bmi2", [9] = "erms", [10] = "invpcid", [11] = "rtm", [14] = "mpx",
			[16] = "avx512f", [17] = "avx512dq", [18] = "rdseed", [19] = "adx", [20] = "smap",
			[21] = "avx512ifma", [23] = "clflushopt", [24] = "clwb", [25] = "intel_pt",
			[26] = "avx512pf", [27] = "avx512er", [28] = "avx512cd", [29] = "sha_ni", [30] = "avx512bw",
			[31] = "avx512vl",
		},
	},
	{
		.function = 0x7, .index = 0, .reg = CPUID_ECX, .dynamic = 0x10,
		.names = {
			[1] = "avx512vbmi", [2] = "umip", [3] = "pku", [4] = "ospke", [5] = "waitpkg",
			[6] = "avx512_vbmi2", [7] = "shstk", [8] = "gfni", [9] = "vaes", [10] = "vpclmulqdq",
			[11] = "avx512_vnni", [12] = "avx512_bitalg", [14] = "avx512_vpopcntdq", [16] = "la57",
			[22] = "rdpid", [24] = "bus_lock_detect", [25] = "cldemote", [27] = "movdiri",
			[28] = "movdir64b", [30] = "sgx_lc",
		},
	},
	{
		.function = 0x7, .index = 0, .reg = CPUID_EDX,
		.names = {
			[2] = "avx512_4vnniw", [3] = "avx512_4fmaps", [4] = "fsrm", [8] = "avx512_vp2intersect",
			[10] = "md_clear", [14] = "serialize", [16] = "tsxldtrk", [18] = "pconfig",
			[19] = "arch_lbr", [20] = "ibt", [22] = "amx_bf16", [23] = "avx512_fp16", [24] = "amx_tile",
			[25] = "amx_int8", [26] = "spec_ctrl", [27] = "intel_stibp", [28] = "flush_l1d",
			[29] = "arch_capabilities", [30] = "core_capabilities", [31] = "spec_ctrl_ssbd",
		},
	},
	{
		.function = 0x7, .index = 1, .reg = CPUID_EAX,
		.names = {
			[4] = "avx_vnni", [5] = "avx512_bf16", [7] = "cmpccxadd", [10] = "fzrm", [11] = "fsrs",
			[12] = "fsrc", [21] = "amx_fp16", [23] = "avx_ifma", [26] = "lam",
		},
	},
	{
		.function = 0x7, .index = 1, .reg = CPUID_EDX,
		.names = {
			[4] = "avx_vnni_int8", [5] = "avx_ne_convert", [8] = "amx_complex", [10] = "avx_vnni_int16",
			[14] = "prefetchiti", [19] = "avx10",
		},
	},
	{
		.function = 0x7, .index = 2, .reg = CPUID_EDX,
		.names = {
			[0] = "intel_psfd", [1] = "ipred_ctrl", [2] = "rrsba_ctrl", [3] = "ddpd_u",
			[4] = "bhi_ctrl", [5] = "mcdt_no",
		},
	},
	{
		.function = 0xd, .index = 1, .reg = CPUID_EAX,
		.names = {
			[0] = "xsaveopt", [1] = "xsavec", [2] = "xgetbv1", [3] = "xsaves", [4] = "xfd",
		},
	},
	{
		.function = 0x80000001, .index = 0, .reg = CPUID_ECX, .dynamic = 0x2,
		.names = {
			[0] = "lahf_lm", [1] = "cmp_legacy", [2] = "svm", [3] = "extapic", [4] = "cr8_legacy",
			[5] = "abm", [6] = "sse4a", [7] = "misalignsse", [8] = "3dnowprefetch", [9] = "osvw",
			[10] = "ibs", [11] = "xop", [12] = "skinit", [13] = "wdt", [15] = "lwp", [16] = "fma4",
			[17] = "tce", [19] = "nodeid_msr", [21] = "tbm", [22] = "topoext", [23] = "perfctr_core",
			[24] = "perfctr_nb", [26] = "bpext", [28] = "perfctr_llc", [29] = "mwaitx",
		},
	},
	{
		.function = 0x80000001, .index = 0, .reg = CPUID_EDX, .dynamic = 0x200,
		.names = {
			[11] = "syscall", [19] = "mp", [20] = "nx", [22] = "mmxext", [25] = "fxsr_opt",
			[26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow",
		},
	},
	{
		.function = 0x80000007, .index = 0, .reg = CPUID_EDX,
		.names = {
			[8] = "constant_tsc",
		},
	},
	{
		.function = 0x80000008, .index = 0, .reg = CPUID_EBX,
		.names = {
			[0] = "clzero", [1] = "irperf", [2] = "xsaveerptr", [4] = "rdpru", [9] = "wbnoinvd",
			[12] = "ibpb", [14] = "ibrs", [15] = "stibp", [16] = "ibrs_always_on",
			[17] = "stibp_always_on", [19] = "ibrs_same_mode", [24] = "amd_ssbd", [25] = "virt_ssbd",
			[26] = "amd_ssb_no", [28] = "amd_psfd", [29] = "btc_no",
		},
	},
	{
		.function = 0x80000021, .index = 0, .reg = CPUID_EAX,
		.names = {
			[0] = "no_nested_data_bp", [1] = "fs_gs_base_ns", [2] = "lfence_rdtsc",
			[6] = "null_sel_clr_base", [8] = "autoibrs", [9] = "no_smm_ctl", [17] = "amd_fsrc",
			[27] = "sbpb", [28] = "ibpb_brtype", [29] = "srso_no",
		},
	},
	{
		.function = 0x40000001, .index = 0, .reg = CPUID_EAX,
		.names = {
			[0] = "kvm_clock_old", [1] = "kvm_nopiodelay", [3] = "kvm_clock", [4] = "kvm_async_pf",
			[5] = "kvm_steal_time", [6] = "kvm_pv_eoi", [7] = "kvm_pv_unhalt", [9] = "kvm_pv_tlb_flush",
			[10] = "kvm_async_pf_vmexit", [11] = "kvm_pv_ipi", [12] = "kvm_poll_control",
			[13] = "kvm_pv_sched_yield", [14] = "kvm_async_pf_int", [15] = "kvm_msi_ext_dest_id",
			[16] = "kvm_hc_map_gpa_range", [17] = "kvm_migration_control", [24] = "kvm_clock_stable",
		},
	},
	{
		.function = 0x6, .index = 0, .reg = CPUID_EAX,
		.names = {
			[2] = "arat",
		},
	},
};

static const char *const register_names[CPUID_REGISTERS] = {"eax", "ebx", "ecx", "edx"};

void x86_feature_name(unsigned word, unsigned bit, char *out, size_t size)
{
	const struct x86_feature_word *w = &x86_feature_words[word];

	if (w->names[bit])
		snprintf(out, size, "%s", w->names[bit]);
	else
		snprintf(out, size, "%x.%u.%s.%u", w->function, w->index, register_names[w->reg], bit);
}

static bool is_called(unsigned word, unsigned bit, const char *name, size_t length)
{
	const char *known = x86_feature_words[word].names[bit];
	char number[32];

	if (known)
		return *known == *name && strncmp(known, name, length) == 0 && !known[length];
	if (!memchr(name, '.', length))
		return false;
	x86_feature_name(word, bit, number, sizeof number);
	return strlen(number) == length && memcmp(number, name, length) == 0;
}

bool x86_feature_find(const char *name, size_t length, unsigned *word, unsigned *bit)
{
	for (unsigned w = 0; w < X86_FEATURE_WORDS; w++)
		for (unsigned b = 0; b < 32; b++) {
			if (!is_called(w, b, name, length))
				continue;
			*word = w;
			*bit = b;
			return true;
		}
	return false;
}

uint32_t x86_feature_get(const struct x86_cpuid *cpuid, unsigned word)
{
	const struct x86_feature_word *w = &x86_feature_words[word];
	const struct x86_cpuid_entry *entry = x86_cpuid_find(cpuid, w->function, w->index);

	return entry ? entry->registers[w->reg] : 0;
}

/* Whose registers or state another feature saves, or what another extends (Intel SDM 1, 13.1, 14.3, 14.7, 15.2; AMD APM 4,
 * 1.4.3). What a row takes has its own row before it. */
static const struct {
	const char *feature, *takes;
} takes[] = {
	{"xsaveopt", "xsave"}, {"xsavec", "xsave"}, {"xgetbv1", "xsave"}, {"xsaves", "xsave"}, {"xfd", "xsave"},
	{"xsaveerptr", "xsave"}, {"pku", "xsave"}, {"mpx", "xsave"}, {"shstk", "xsaves"},
	{"amx_tile", "xfd"}, {"amx_bf16", "amx_tile"}, {"amx_int8", "amx_tile"}, {"amx_fp16", "amx_tile"}, {"amx_complex", "amx_tile"},
	{"avx", "xsave"}, {"avx2", "avx"}, {"fma", "avx"}, {"f16c", "avx"}, {"xop", "avx"}, {"fma4", "avx"}, {"lwp", "xsave"},
	{"vaes", "avx"}, {"vpclmulqdq", "avx"}, {"avx_vnni", "avx2"}, {"avx_ifma", "avx2"}, {"avx_vnni_int8", "avx2"},
	{"avx_vnni_int16", "avx2"}, {"avx_ne_convert", "avx2"}, {"avx512f", "avx2"}, {"avx10", "avx2"},
	{"avx512dq", "avx512f"}, {"avx512ifma", "avx512f"}, {"avx512pf", "avx512f"}, {"avx512er", "avx512f"}, {"avx512cd", "avx512f"},
	{"avx512bw", "avx512f"}, {"avx512vl", "avx512f"}, {"avx512vbmi", "avx512bw"}, {"avx512_vbmi2", "avx512bw"},
	{"avx512_vnni", "avx512f"}, {"avx512_bitalg", "avx512bw"}, {"avx512_vpopcntdq", "avx512f"}, {"avx512_4vnniw", "avx512f"},
	{"avx512_4fmaps", "avx512f"}, {"avx512_vp2intersect", "avx512f"}, {"avx512_fp16", "avx512bw"}, {"avx512_bf16", "avx512bw"},
};

static bool is_set(const uint32_t words[X86_FEATURE_WORDS], const char *name, unsigned *word, uint32_t *mask)
{
	unsigned bit = 0;

	if (!x86_feature_find(name, strlen(name), word, &bit))
		return false;
	*mask = 1u << bit;
	return words[*word] & *mask;
}

void x86_feature_prune(uint32_t words[X86_FEATURE_WORDS])
{
	for (size_t i = 0; i < ARRAY_SIZE(takes); i++) {
		unsigned word = 0, base = 0;
		uint32_t mask = 0, base_mask;

		if (is_set(words, takes[i].feature, &word, &mask) && !is_set(words, takes[i].takes, &base, &base_mask))
			words[word] &= ~mask;
	}
}

void x86_feature_list_add(struct x86_feature_list *list, const char *name)
{
	size_t used = strlen(list->text);

	list->count++;
	/* Room for ", and 512 more". */
	if (list->hidden || used + strlen(name) + 20 > sizeof list->text)
		list->hidden++;
	else
		snprintf(list->text + used, sizeof list->text - used, "%s%s", used ? ", " : "", name);
}

void x86_feature_list_add_bits(struct x86_feature_list *list, unsigned word, uint32_t bits)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		char name[32];

		if (!(bits >> bit & 1))
			continue;
		x86_feature_name(word, bit, name, sizeof name);
		x86_feature_list_add(list, name);
	}
}

const char *x86_feature_list_text(struct x86_feature_list *list)
{
	size_t used = strlen(list->text);

	if (list->hidden)
		snprintf(list->text + used, sizeof list->text - used, " and %u more", list->hidden);
	list->hidden = 0;
	return list->text;
}
