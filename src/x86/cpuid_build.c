/* What the CPUs of a machine see, made of what the host has and what a model shows of it; and whether a host can give that. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "x86/feature_words.h"

/* Functions that are not handed on: counters of events, tracing, enclaves, resources, encryption, nesting, and frequencies, which
 * another host has otherwise. */
static const uint32_t left_out[] = {0x5, 0x9, 0xa, 0xb, 0xf, 0x10, 0x12, 0x14, 0x15, 0x16, 0x1b, 0x1c, 0x1f, 0x23, 0x24, 0x8000000a,
				    0x8000001b, 0x8000001c, 0x8000001f, 0x80000020, 0x80000022};

static bool is_left_out(uint32_t function)
{
	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
		if (left_out[i] == function)
			return true;
	return false;
}

static struct x86_cpuid_entry *add(struct x86_cpuid *cpuid, const struct x86_cpuid_entry *entry)
{
	if (cpuid->count == X86_CPUID_MAX)
		return NULL;
	cpuid->entries[cpuid->count] = *entry;
	return &cpuid->entries[cpuid->count++];
}

/* The entry, made of zeros if there is none; NULL: no room. */
static struct x86_cpuid_entry *get(struct x86_cpuid *cpuid, uint32_t function, uint32_t index, bool indexed)
{
	const struct x86_cpuid_entry *old = x86_cpuid_find(cpuid, function, index);
	const struct x86_cpuid_entry fresh = {.function = function, .index = index, .indexed = indexed};

	return old ? &cpuid->entries[old - cpuid->entries] : add(cpuid, &fresh);
}

static void copy(struct x86_cpuid *out, const struct x86_cpuid *host)
{
	out->count = 0;
	for (uint32_t i = 0; i < host->count; i++)
		if (!is_left_out(host->entries[i].function))
			(void)add(out, &host->entries[i]);
}

/* `shown`: a word of bits for each of the feature words. */
static void show_features(struct x86_cpuid *out, const uint32_t shown[X86_FEATURE_WORDS])
{
	for (unsigned word = 0; word < X86_FEATURE_WORDS; word++) {
		const struct x86_feature_word *w = &x86_feature_words[word];
		uint32_t keep = shown[word];

		/* Twins of leaf 1's on AMD's processors follow those. */
		if (w->function == 0x80000001 && w->reg == CPUID_EDX)
			keep |= 0x0183f3ffu;
		for (uint32_t i = 0; i < out->count; i++)
			if (out->entries[i].function == w->function &&
			    (!out->entries[i].indexed || out->entries[i].index == w->index))
				out->entries[i].registers[w->reg] &= keep;
	}
}

/* What of the host's features the model shows, where all is there that each takes. */
static int choose_features(uint32_t shown[X86_FEATURE_WORDS], const struct x86_cpuid *host, const struct x86_model *model,
			   struct error *e)
{
	struct x86_feature_list list = {.count = 0};
	uint32_t given[X86_FEATURE_WORDS], wanted[X86_FEATURE_WORDS];

	for (unsigned word = 0; word < X86_FEATURE_WORDS; word++)
		given[word] = x86_feature_get(host, word) | x86_feature_words[word].dynamic;
	memcpy(wanted, model->shown, sizeof wanted);
	x86_feature_prune(given);
	x86_feature_prune(wanted);
	for (unsigned word = 0; word < X86_FEATURE_WORDS; word++) {
		x86_feature_list_add_bits(&list, word, model->needed[word] & wanted[word] & ~given[word]);
		shown[word] = given[word] & wanted[word];
	}
	if (!list.count)
		return 0;
	return error_set(e, ERROR_USAGE, -EOPNOTSUPP, "this host can not give the CPU model %s: it lacks %s", model->name,
			 x86_feature_list_text(&list));
}

/* Parts of the extended state, the feature that each belongs to (SDM 1, 13.1). */
static const struct {
	uint64_t bits;
	const char *feature;
} components[] = {
	{1u << 2, "avx"}, {3u << 3, "mpx"}, {7u << 5, "avx512f"}, {1u << 9, "pku"}, {3u << 11, "shstk"}, {3u << 17, "amx_tile"},
};

static bool has(const struct x86_cpuid *cpuid, const char *name)
{
	unsigned word, bit;

	return x86_feature_find(name, strlen(name), &word, &bit) && (x86_feature_get(cpuid, word) >> bit & 1);
}

static uint64_t hidden_components(const struct x86_cpuid *cpuid)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < ARRAY_SIZE(components); i++)
		if (!has(cpuid, components[i].feature))
			bits |= components[i].bits;
	return has(cpuid, "xsave") ? bits : UINT64_MAX;
}

#define XSAVE_LEGACY 576u

/* Leaf 0xd: sizes are those of what is shown. */
static void trim_extended_state(struct x86_cpuid *cpuid)
{
	uint64_t hidden = hidden_components(cpuid);
	uint32_t size = XSAVE_LEGACY, kept = 0;

	for (uint32_t i = 0; i < cpuid->count; i++) {
		struct x86_cpuid_entry *entry = &cpuid->entries[i];

		if (entry->function == 0xd && entry->index >= 2 && (entry->index >= 64 || hidden >> entry->index & 1))
			continue;
		if (entry->function == 0xd && entry->index >= 2 && !(entry->registers[CPUID_ECX] & 1) &&
		    entry->registers[CPUID_EAX] + entry->registers[CPUID_EBX] > size)
			size = entry->registers[CPUID_EAX] + entry->registers[CPUID_EBX];
		cpuid->entries[kept++] = *entry;
	}
	cpuid->count = kept;
	for (uint32_t i = 0; i < cpuid->count; i++) {
		struct x86_cpuid_entry *entry = &cpuid->entries[i];
		bool supervisor = entry->index == 1;

		if (entry->function != 0xd || entry->index > 1)
			continue;
		entry->registers[supervisor ? CPUID_ECX : CPUID_EAX] &= ~(uint32_t)hidden;
		entry->registers[CPUID_EDX] &= ~(uint32_t)(hidden >> 32);
		if (entry->index == 0)
			entry->registers[CPUID_EBX] = entry->registers[CPUID_ECX] = hidden == UINT64_MAX ? 0 : size;
	}
}

/* The least power of two that is not less, as its exponent. */
static uint32_t id_bits(unsigned cpus)
{
	uint32_t bits = 0;

	while (1u << bits < cpus)
		bits++;
	return bits;
}

/* One package of so many cores, a thread each; of the caches only the last is shared. */
static void tell_caches(struct x86_cpuid *cpuid, unsigned cpus)
{
	for (uint32_t i = 0; i < cpuid->count; i++) {
		struct x86_cpuid_entry *entry = &cpuid->entries[i];
		uint32_t level = entry->registers[CPUID_EAX] >> 5 & 7, sharing = level >= 3 ? cpus - 1 : 0;

		if (entry->function != 4 && entry->function != 0x8000001d)
			continue;
		entry->registers[CPUID_EAX] = (entry->registers[CPUID_EAX] & 0x3fff) | sharing << 14;
		if (entry->function == 4)
			entry->registers[CPUID_EAX] |= (cpus - 1 < 63 ? cpus - 1 : 63) << 26;
	}
}

static void tell_cores(struct x86_cpuid *cpuid, unsigned cpus)
{
	const struct x86_cpuid_entry thread = {
		.function = 0xb, .indexed = true, .registers = {0, 1, 0x100}};
	const struct x86_cpuid_entry core = {
		.function = 0xb, .index = 1, .indexed = true, .registers = {id_bits(cpus), cpus, 0x201}};
	struct x86_cpuid_entry *leaf1 = get(cpuid, 1, 0, false), *sizes = get(cpuid, 0x80000008, 0, false);
	struct x86_cpuid_entry *ids = get(cpuid, 0x8000001e, 0, false);

	(void)add(cpuid, &thread);
	(void)add(cpuid, &core);
	if (leaf1) {
		leaf1->registers[CPUID_EBX] = (leaf1->registers[CPUID_EBX] & 0xff00) | (cpus & 0xff) << 16;
		leaf1->registers[CPUID_EDX] &= ~(1u << 28);
		leaf1->registers[CPUID_EDX] |= cpus > 1 ? 1u << 28 : 0;
	}
	if (sizes)
		sizes->registers[CPUID_ECX] = id_bits(cpus) << 12 | (cpus - 1);
	if (ids)
		memset(ids->registers, 0, sizeof ids->registers);
}

#define HYPERVISOR_FIRST 0x40000000u
#define HYPERVISOR_TIME  0x40000010u
#define APIC_BUS_KHZ     1000000u

static void tell_hypervisor(struct x86_cpuid *cpuid, uint32_t tsc_khz)
{
	const struct x86_cpuid_entry rates = {.function = HYPERVISOR_TIME, .registers = {tsc_khz, APIC_BUS_KHZ}};
	struct x86_cpuid_entry *first = get(cpuid, HYPERVISOR_FIRST, 0, false);

	if (!first || !tsc_khz)
		return;
	first->registers[CPUID_EAX] = HYPERVISOR_TIME;
	(void)add(cpuid, &rates);
}

/* The name of a processor that is one of a level, or of a host that tells none. */
static void tell_name(struct x86_cpuid *cpuid, const struct x86_model *model)
{
	char name[48] = "Doppel x86-64";
	bool level = model->name[0] == 'v';

	if (!level && x86_cpuid_find(cpuid, 0x80000002, 0))
		return;
	if (level)
		memcpy(name + strlen(name), (const char[]){'-', model->name[0], model->name[1], '\0'}, 4);
	for (uint32_t i = 0; i < 3; i++) {
		struct x86_cpuid_entry *part = get(cpuid, 0x80000002 + i, 0, false);

		if (part)
			memcpy(part->registers, name + i * 16, 16);
	}
}

int x86_cpuid_build(struct x86_cpuid *out, const struct x86_cpuid *host, const struct x86_model *model,
		    const struct x86_topology *topology, struct error *e)
{
	uint32_t shown[X86_FEATURE_WORDS];
	struct x86_cpuid own;
	struct x86_cpuid_entry *basic;
	int r = choose_features(shown, host, model, e);

	if (r < 0)
		return r;
	memset(&own, 0, sizeof own);
	copy(&own, host);
	show_features(&own, shown);
	trim_extended_state(&own);
	tell_caches(&own, topology->cpus);
	tell_cores(&own, topology->cpus);
	tell_hypervisor(&own, topology->tsc_khz);
	tell_name(&own, model);
	basic = get(&own, 0, 0, false);
	if (own.count == X86_CPUID_MAX || !basic)
		return error_set(e, ERROR_FAILED, -E2BIG, "this host's CPUID has more than %u entries", X86_CPUID_MAX);
	/* Leaf 0xb is there now. */
	if (basic->registers[CPUID_EAX] < 0xb)
		basic->registers[CPUID_EAX] = 0xb;
	*out = own;
	return 0;
}

static int check_vendor(const struct x86_cpuid *guest, const struct x86_cpuid *host, struct error *e)
{
	const struct x86_cpuid_entry *theirs = x86_cpuid_find(guest, 0, 0), *ours = x86_cpuid_find(host, 0, 0);

	if (theirs && ours && memcmp(theirs->registers + 1, ours->registers + 1, 3 * sizeof(uint32_t)) == 0)
		return 0;
	return error_set(e, ERROR_FAILED, -EOPNOTSUPP,
			 "the guest's processor is of another maker than this host's; load it on a host like its own");
}

static bool is_safe(const struct x86_cpuid *guest)
{
	for (uint32_t i = 0; i < guest->count; i++)
		if (guest->entries[i].function != 0xb && is_left_out(guest->entries[i].function))
			return false;
	return true;
}

static void check_words(const struct x86_cpuid *guest, const struct x86_cpuid *host, struct x86_feature_list *list)
{
	for (unsigned word = 0; word < X86_FEATURE_WORDS; word++) {
		const struct x86_feature_word *w = &x86_feature_words[word];
		uint32_t offered = x86_feature_get(host, word) | w->dynamic;

		/* Told of leaf 1 too, where that is checked. */
		if (w->function == 0x80000001 && w->reg == CPUID_EDX)
			offered |= 0x0183f3ffu;
		x86_feature_list_add_bits(list, word, x86_feature_get(guest, word) & ~offered);
	}
}

static void check_extended_state(const struct x86_cpuid *guest, const struct x86_cpuid *host,
				 struct x86_feature_list *list)
{
	const struct x86_cpuid_entry *theirs = x86_cpuid_find(guest, 0xd, 0), *ours = x86_cpuid_find(host, 0xd, 0);

	if (theirs && (theirs->registers[CPUID_EAX] & ~(ours ? ours->registers[CPUID_EAX] : 0)))
		x86_feature_list_add(list, "parts of the extended state");
}

int x86_cpuid_check(const struct x86_cpuid *guest, const struct x86_cpuid *host, struct error *e)
{
	struct x86_feature_list list = {.count = 0};
	int r = check_vendor(guest, host, e);

	if (r < 0)
		return r;
	check_words(guest, host, &list);
	check_extended_state(guest, host, &list);
	if (!is_safe(guest))
		x86_feature_list_add(&list, "functions that no guest is shown");
	if (x86_cpuid_physical_bits(guest) > x86_cpuid_physical_bits(host))
		x86_feature_list_add(&list, "bits of physical addresses");
	if (!list.count)
		return 0;
	return error_set(e, ERROR_FAILED, -EOPNOTSUPP, "this host lacks what the guest's processor has: %s; load it on a host "
			 "that has it", x86_feature_list_text(&list));
}
