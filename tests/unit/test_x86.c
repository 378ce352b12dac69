/* What x86-64 CPUs are told of themselves: models, levels, files, and whether a host can give what a guest saw. No KVM needed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "x86/feature_words.h"
#include "x86/platform.h"

static void put(struct x86_cpuid *c, uint32_t function, uint32_t index, bool indexed, uint32_t a, uint32_t b, uint32_t x,
		uint32_t d)
{
	c->entries[c->count++] = (struct x86_cpuid_entry){function, index, indexed, {a, b, x, d}};
}

static void give(struct x86_cpuid *c, const char *name, bool on)
{
	unsigned word, bit;

	if (!x86_feature_find(name, strlen(name), &word, &bit))
		fail_msg("there is no feature %s", name);
	for (uint32_t i = 0; i < c->count; i++) {
		const struct x86_feature_word *w = &x86_feature_words[word];
		uint32_t *reg = &c->entries[i].registers[w->reg];

		if (c->entries[i].function == w->function && c->entries[i].index == w->index)
			*reg = on ? *reg | 1u << bit : *reg & ~(1u << bit);
	}
}

/* A host that has everything. */
static void make_host(struct x86_cpuid *c)
{
	memset(c, 0, sizeof *c);
	put(c, 0, 0, false, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);
	put(c, 1, 0, false, 0x50654, 0x00200800, UINT32_MAX, UINT32_MAX);
	put(c, 4, 0, true, 0x1c004121, 0x01c0003f, 63, 0);
	put(c, 4, 3, true, 0x1c03c163, 0x02c0003f, 0x5fff, 0);
	put(c, 6, 0, false, 4, 0, 0, 0);
	put(c, 7, 0, true, 2, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(c, 7, 1, true, UINT32_MAX, 0, 0, UINT32_MAX);
	put(c, 0xa, 0, false, 0x7300404, 0, 0, 0x603);
	put(c, 0xd, 0, true, 0x2e7, 0xa88, 0xa88, 0);
	put(c, 0xd, 1, true, 0xf, 0, 0, 0);
	put(c, 0xd, 2, true, 256, 576, 0, 0);
	put(c, 0xd, 5, true, 64, 1088, 0, 0);
	put(c, 0xd, 6, true, 512, 1152, 0, 0);
	put(c, 0xd, 7, true, 1024, 1664, 0, 0);
	put(c, 0xd, 9, true, 8, 2688, 0, 0);
	put(c, 0x80000000, 0, false, 0x80000008, 0, 0, 0);
	put(c, 0x80000001, 0, false, 0, 0, UINT32_MAX, UINT32_MAX);
	put(c, 0x80000002, 0, false, 0x74736f48, 0, 0, 0);
	put(c, 0x80000007, 0, false, 0, 0, 0, 0x100);
	put(c, 0x80000008, 0, false, 0x302e, UINT32_MAX, 0, 0);
	put(c, 0x40000000, 0, false, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(c, 0x40000001, 0, false, 0x01007efb, 0, 0, 0);
}

static bool told(const struct x86_cpuid *c, const char *name)
{
	unsigned word, bit;

	assert_true(x86_feature_find(name, strlen(name), &word, &bit));
	return x86_feature_get(c, word) >> bit & 1;
}

static int build(struct x86_cpuid *out, const struct x86_cpuid *host, const char *model, unsigned cpus, struct error *e)
{
	const struct x86_topology topology = {.cpus = cpus, .tsc_khz = 2400000};
	struct x86_model parsed;
	int r = x86_model_parse(&parsed, model, e);

	return r < 0 ? r : x86_cpuid_build(out, host, &parsed, &topology, e);
}

static void must_build(struct x86_cpuid *out, const struct x86_cpuid *host, const char *model, unsigned cpus)
{
	struct error e;

	if (build(out, host, model, cpus, &e) < 0)
		fail_msg("%s", e.message);
}

static void test_levels(void **state)
{
	static const struct {
		const char *feature;
		unsigned from; /* level */
	} table[] = {{"sse2", 2}, {"popcnt", 2}, {"cx16", 2}, {"avx", 3}, {"avx2", 3}, {"bmi2", 3}, {"avx512f", 4},
		     {"avx512vl", 4}, {"sha_ni", 9}, {"hle", 9}, {"vmx", 9}, {"svm", 9}, {"spec_ctrl", 2}, {"kvm_clock", 2},
		     {"hypervisor", 2}, {"pku", 9}, {"constant_tsc", 9}};
	struct x86_cpuid host, guest;

	(void)state;
	make_host(&host);
	for (unsigned level = 2; level <= 4; level++) {
		must_build(&guest, &host, (const char[]){'v', (char)('0' + level), '\0'}, 2);
		for (size_t i = 0; i < ARRAY_SIZE(table); i++)
			if (told(&guest, table[i].feature) != (level >= table[i].from))
				fail_msg("v%u: %s is %d", level, table[i].feature, told(&guest, table[i].feature));
	}
	must_build(&guest, &host, "host", 2);
	assert_true(told(&guest, "sha_ni") && told(&guest, "constant_tsc"));
	assert_false(told(&guest, "vmx") || told(&guest, "svm") || told(&guest, "sgx"));
	assert_null(x86_cpuid_find(&guest, 0xa, 0));
}

/* What lacks is named, and nothing is built. */
static void test_host_lacks(void **state)
{
	struct x86_cpuid host, guest;
	struct error e;

	(void)state;
	make_host(&host);
	give(&host, "avx2", false);
	give(&host, "fma", false);
	memset(&guest, 0x5a, sizeof guest);
	assert_int_equal(build(&guest, &host, "v3", 1, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.message, "v3"));
	assert_non_null(strstr(e.message, "avx2"));
	assert_non_null(strstr(e.message, "fma"));
	assert_int_equal(guest.count, 0x5a5a5a5a);
	must_build(&guest, &host, "v2", 1);
}

/* Features whose registers or state another one saves are not without it, whether the host or the model hides that. */
static void test_pruned(void **state)
{
	static const char *const gone[] = {"avx", "xsave", "xgetbv1", "xfd", "amx", "fma", "f16c", "vaes", "vpcl", "xop", "pku", "mpx",
					   "shstk", "lwp"};
	uint32_t words[X86_FEATURE_WORDS], all[X86_FEATURE_WORDS];
	unsigned word, bit;
	char name[32];

	(void)state;
	memset(all, 0xff, sizeof all);
	memcpy(words, all, sizeof words);
	x86_feature_prune(words);
	assert_memory_equal(words, all, sizeof words);
	assert_true(x86_feature_find("xsave", 5, &word, &bit));
	words[word] &= ~(1u << bit);
	x86_feature_prune(words);
	for (unsigned i = 0; i < X86_FEATURE_WORDS * 32; i++) {
		bool dependent = false;

		x86_feature_name(i / 32, i % 32, name, sizeof name);
		for (size_t g = 0; g < ARRAY_SIZE(gone); g++)
			dependent |= strncmp(name, gone[g], strlen(gone[g])) == 0;
		if ((words[i / 32] >> i % 32 & 1) == dependent)
			fail_msg("without xsave, %s is %d", name, !dependent);
	}
}

static void test_without_xsave(void **state)
{
	static const char *const takers[] = {"avx", "avx2", "fma", "pku", "xsaveopt", "avx512f", "vaes"};
	struct x86_cpuid host, guest;
	struct error e;

	(void)state;
	make_host(&host);
	give(&host, "xsave", false);
	must_build(&guest, &host, "host", 1);
	assert_true(told(&guest, "sse4_2") && told(&guest, "aes"));
	for (size_t i = 0; i < ARRAY_SIZE(takers); i++)
		if (told(&guest, takers[i]))
			fail_msg("a guest is shown %s and no xsave", takers[i]);
	assert_int_equal(build(&guest, &host, "v3", 1, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.message, "xsave"));
	assert_non_null(strstr(e.message, "avx2"));
	must_build(&guest, &host, "v2", 1);
}

/* The extended state has the parts that are shown, and their size. */
static void test_extended_state(void **state)
{
	struct x86_cpuid host, guest;

	(void)state;
	make_host(&host);
	must_build(&guest, &host, "v3", 1);
	assert_int_equal(x86_cpuid_find(&guest, 0xd, 0)->registers[CPUID_EAX], 7);
	assert_int_equal(x86_cpuid_find(&guest, 0xd, 0)->registers[CPUID_ECX], 832);
	assert_null(x86_cpuid_find(&guest, 0xd, 5));
	must_build(&guest, &host, "v4", 1);
	assert_int_equal(x86_cpuid_find(&guest, 0xd, 0)->registers[CPUID_EAX], 0xe7);
	assert_int_equal(x86_cpuid_find(&guest, 0xd, 0)->registers[CPUID_ECX], 2688);
	must_build(&guest, &host, "v2", 1);
	assert_int_equal(x86_cpuid_find(&guest, 0xd, 0)->registers[CPUID_EAX], 0);
	must_build(&guest, &host, "host", 1);
	assert_int_equal(x86_cpuid_find(&guest, 0xd, 0)->registers[CPUID_ECX], 2696);
}

static void test_topology(void **state)
{
	static const struct {
		unsigned cpus, bits;
	} table[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {64, 6}};
	struct x86_cpuid host, guest;

	(void)state;
	make_host(&host);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		unsigned cpus = table[i].cpus;

		must_build(&guest, &host, "v3", cpus);
		assert_int_equal(x86_cpuid_find(&guest, 0xb, 1)->registers[CPUID_EAX], table[i].bits);
		assert_int_equal(x86_cpuid_find(&guest, 0xb, 1)->registers[CPUID_EBX], cpus);
		assert_int_equal(x86_cpuid_find(&guest, 1, 0)->registers[CPUID_EBX] >> 16 & 0xff, cpus);
		assert_int_equal(told(&guest, "ht"), cpus > 1);
		assert_int_equal(x86_cpuid_find(&guest, 0x80000008, 0)->registers[CPUID_ECX] & 0xff, cpus - 1);
		assert_int_equal(x86_cpuid_find(&guest, 4, 3)->registers[CPUID_EAX] >> 14 & 0xfff, cpus - 1);
		assert_int_equal(x86_cpuid_find(&guest, 4, 0)->registers[CPUID_EAX] >> 14 & 0xfff, 0);
		x86_cpuid_personalize(&guest, cpus - 1);
		assert_int_equal(x86_cpuid_find(&guest, 1, 0)->registers[CPUID_EBX] >> 24, cpus - 1);
		assert_int_equal(x86_cpuid_find(&guest, 0xb, 0)->registers[CPUID_EDX], cpus - 1);
		assert_int_equal(x86_cpuid_find(&guest, 0xb, 1)->registers[CPUID_EDX], cpus - 1);
	}
	assert_int_equal(x86_cpuid_physical_bits(&guest), 0x2e);
	assert_int_equal(x86_cpuid_find(&guest, 0x40000010, 0)->registers[CPUID_EAX], 2400000);
}

static int parse_text(const char *text, struct x86_model *model, struct error *e)
{
	char path[] = "/tmp/doppel-model-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	r = x86_model_parse(model, path, e);
	unlink(path);
	return r;
}

static void test_files(void **state)
{
	static const char *const wrong[] = {"base v9\n", "base host\navx2\n", "+nothing\n", "-\n", "+avx2 fma\n", "+vmx\n",
					    "base v3 v4\n", "+avx\xff\n"};
	const struct x86_topology topology = {.cpus = 1};
	struct x86_cpuid host, guest;
	struct x86_model model;
	struct error e;

	(void)state;
	make_host(&host);
	assert_int_equal(parse_text("# ours\n  base v3   # and\n+sha_ni\n\n-spec_ctrl\r\n+7.0.ecx.29", &model, &e), 0);
	assert_int_equal(x86_cpuid_build(&guest, &host, &model, &topology, &e), 0);
	assert_true(told(&guest, "sha_ni") && told(&guest, "avx2"));
	assert_false(told(&guest, "spec_ctrl") || told(&guest, "avx512f"));
	assert_int_equal(x86_cpuid_find(&guest, 7, 0)->registers[CPUID_ECX], 1u << 29);
	give(&host, "sha_ni", false);
	assert_int_equal(x86_cpuid_build(&guest, &host, &model, &topology, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.message, "sha_ni"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (parse_text(wrong[i], &model, &e) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
	assert_int_equal(x86_model_parse(&model, "v5", &e), -EINVAL);
	assert_int_equal(x86_model_parse(&model, "/", &e), -EISDIR);
}

static void refused(const struct x86_cpuid *guest, const struct x86_cpuid *host, const char *what)
{
	struct error e;

	assert_int_equal(x86_cpuid_check(guest, host, &e), -EOPNOTSUPP);
	if (!strstr(e.message, what))
		fail_msg("\"%s\" is not in: %s", what, e.message);
}

/* A guest of each model goes on where it began, and is refused where something of it lacks. */
static void test_check(void **state)
{
	static const char *const models[] = {"host", "v2", "v3", "v4"};
	struct x86_cpuid host, other, guest;
	struct error e;

	(void)state;
	make_host(&host);
	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		must_build(&guest, &host, models[i], 4);
		x86_cpuid_personalize(&guest, 3);
		if (x86_cpuid_check(&guest, &host, &e) < 0)
			fail_msg("%s: %s", models[i], e.message);
	}
	must_build(&guest, &host, "v3", 4);
	other = host;
	give(&other, "avx512f", false);
	assert_int_equal(x86_cpuid_check(&guest, &other, &e), 0);
	give(&other, "bmi2", false);
	refused(&guest, &other, "bmi2");
	other = host;
	other.entries[0].registers[CPUID_EBX]++;
	refused(&guest, &other, "another maker");
	other = guest;
	other.entries[other.count++] = (struct x86_cpuid_entry){.function = 0x8000000a};
	refused(&other, &host, "no guest is shown");
}

/* Names are found by what they are called, and no two bits share one. */
static void test_names(void **state)
{
	(void)state;
	for (unsigned word = 0; word < X86_FEATURE_WORDS; word++)
		for (unsigned bit = 0; bit < 32; bit++) {
			unsigned found_word = 99, found_bit = 99;
			char name[32];

			x86_feature_name(word, bit, name, sizeof name);
			assert_true(x86_feature_find(name, strlen(name), &found_word, &found_bit));
			if (found_word != word || found_bit != bit)
				fail_msg("%s: word %u bit %u and word %u bit %u", name, word, bit, found_word, found_bit);
		}
}

static void test_cpu(void **state)
{
	struct clock clock;
	struct x86_platform platform = {.clock = &clock, .cpus_most = 2};
	struct x86_cpu *first, *second;
	uint64_t value;

	(void)state;
	clock_init(&clock);
	first = x86_cpu_new(&platform);
	second = x86_cpu_new(&platform);
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(first->power, X86_RUNNING);
	assert_int_equal(second->power, X86_WAITS_FOR_INIT);
	assert_int_equal(first->segments[X86_CS].base + first->rip, 0xfffffff0);
	assert_int_equal(second->lapic[0x23], 1);
	x86_cpu_set_msr(first, 0x300, 3);
	x86_cpu_set_msr(first, 0x100, 1);
	x86_cpu_set_msr(first, 0x300, 4);
	assert_int_equal(first->msr_count, 3);
	assert_true(x86_cpu_get_msr(first, 0x300, &value));
	assert_int_equal(value, 4);
	assert_false(x86_cpu_get_msr(first, 0x200, &value));
	x86_cpu_reset(first);
	assert_int_equal(first->msr_count, 1);
	x86_cpu_free(first);
	x86_cpu_free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels), cmocka_unit_test(test_host_lacks), cmocka_unit_test(test_pruned),
		cmocka_unit_test(test_without_xsave), cmocka_unit_test(test_extended_state),
		cmocka_unit_test(test_topology), cmocka_unit_test(test_files), cmocka_unit_test(test_check),
		cmocka_unit_test(test_names), cmocka_unit_test(test_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
