/* The device tree as a guest reads it, and as dtc judges it. */
#include "board_bench.h"

#include <libfdt.h>

static struct board_bench bench;

/* The tree in the RAM of a board that was reset. */
static const void *tree_of(struct board *board)
{
	const void *tree = memory_host(&board->memory, gpa(virt_of(board)->boot->fdt_address), PAYLOAD_FDT_SPACE);

	assert_non_null(tree);
	assert_int_equal(fdt_check_full(tree, PAYLOAD_FDT_SPACE), 0);
	return tree;
}

static int node(const void *tree, const char *path)
{
	int offset = fdt_path_offset(tree, path);

	if (offset < 0)
		fail_msg("no node %s: %s", path, fdt_strerror(offset));
	return offset;
}

static const char *text(const void *tree, const char *path, const char *property)
{
	int length;
	const char *value = fdt_getprop(tree, node(tree, path), property, &length);

	if (!value || length < 1 || value[length - 1])
		fail_msg("%s has no text %s", path, property);
	return value;
}

static uint64_t number(const void *tree, const char *path, const char *property)
{
	int length;
	const void *value = fdt_getprop(tree, node(tree, path), property, &length);

	if (!value || (length != 4 && length != 8))
		fail_msg("%s has no number %s", path, property);
	return length == 8 ? fdt64_ld(value) : fdt32_ld(value);
}

static void test_chosen_and_memory(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	const void *tree = tree_of(board), *reg, *seed;
	uint64_t start = number(tree, "/chosen", "linux,initrd-start");
	int length;

	(void)state;
	assert_string_equal(text(tree, "/", "compatible"), "riscv-virtio");
	assert_string_equal(text(tree, "/chosen", "bootargs"), "console=ttyS0 quiet");
	assert_int_equal(start, virt_of(board)->boot->initrd_address);
	assert_int_equal(number(tree, "/chosen", "linux,initrd-end"), start + 7777);
	reg = fdt_getprop(tree, node(tree, "/memory@80000000"), "reg", &length);
	assert_int_equal(length, 16);
	assert_int_equal(fdt64_ld(reg), 0x80000000);
	assert_int_equal(fdt64_ld((const fdt64_t *)reg + 1), 32 * MIB);
	seed = fdt_getprop(tree, node(tree, "/chosen"), "rng-seed", &length);
	assert_non_null(seed);
	assert_int_equal(length, 32);
	board_free(board);
}

static void test_serial_is_found(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	const void *tree = tree_of(board);
	const char *path = text(tree, "/chosen", "stdout-path");

	(void)state;
	assert_string_equal(fdt_get_alias(tree, "serial0"), path);
	assert_int_equal(fdt_node_check_compatible(tree, node(tree, path), "ns16550a"), 0);
	assert_int_equal(number(tree, path, "interrupts"), 10);
	board_free(board);
}

/* Differs from one reset to the next. */
static void test_seed_is_fresh(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	const void *tree = tree_of(board);
	uint8_t before[32];
	struct error e;

	(void)state;
	memcpy(before, fdt_getprop(tree, node(tree, "/chosen"), "rng-seed", NULL), sizeof before);
	assert_int_equal(board_reset(board, &e), 0);
	assert_memory_not_equal(fdt_getprop(tree, node(tree, "/chosen"), "rng-seed", NULL), before, sizeof before);
	board_free(board);
}

static bool lists(const void *tree, const char *path, const char *extension)
{
	return fdt_stringlist_search(tree, node(tree, path), "riscv,isa-extensions", extension) >= 0;
}

static void check_cpu(const void *tree, unsigned id)
{
	char path[32], intc[64], isa[400], *mark;
	const char *name;
	int at = 0;

	snprintf(path, sizeof path, "/cpus/cpu@%x", id);
	snprintf(intc, sizeof intc, "%s/interrupt-controller", path);
	assert_int_equal(number(tree, path, "reg"), id);
	assert_string_equal(text(tree, path, "mmu-type"), "riscv,sv57");
	assert_int_equal(number(tree, path, "riscv,cboz-block-size"), 64);
	assert_int_equal(number(tree, intc, "phandle"), 1 + id);
	/* Every extension of the string is in the list too, in the same order, and no other. */
	snprintf(isa, sizeof isa, "%s", text(tree, path, "riscv,isa"));
	assert_memory_equal(isa, "rv64imafdc_", 11);
	for (const char *letter = "imafdc"; *letter; letter++) {
		name = fdt_stringlist_get(tree, node(tree, path), "riscv,isa-extensions", at++, NULL);
		assert_int_equal(name[0], *letter);
		assert_int_equal(name[1], '\0');
	}
	for (char *part = strtok_r(isa + 11, "_", &mark); part; part = strtok_r(NULL, "_", &mark)) {
		name = fdt_stringlist_get(tree, node(tree, path), "riscv,isa-extensions", at++, NULL);
		assert_non_null(name);
		assert_string_equal(name, part);
	}
	assert_int_equal(fdt_stringlist_count(tree, node(tree, path), "riscv,isa-extensions"), at);
}

static void test_cpus(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	const void *tree = tree_of(board);

	(void)state;
	assert_int_equal(number(tree, "/cpus", "timebase-frequency"), 10000000);
	for (unsigned id = 0; id < 3; id++)
		check_cpu(tree, id);
	assert_int_equal(fdt_path_offset(tree, "/cpus/cpu@3"), -FDT_ERR_NOTFOUND);
	board_free(board);
}

/* Who updates A and D bits: the monitor's SBI has switched the hart to it, firmware may or may not. */
static void test_svadu(void **state)
{
	struct board_bench other;
	struct board *board = make_reset_board(&bench.config), *firmware;

	(void)state;
	board_bench_init(&other, true);
	firmware = make_reset_board(&other.config);
	assert_true(lists(tree_of(board), "/cpus/cpu@0", "svadu"));
	assert_false(lists(tree_of(board), "/cpus/cpu@0", "svade"));
	assert_true(lists(tree_of(firmware), "/cpus/cpu@0", "svadu"));
	assert_true(lists(tree_of(firmware), "/cpus/cpu@0", "svade"));
	check_cpu(tree_of(firmware), 1);
	board_free(board);
	board_free(firmware);
	board_bench_finish(&other);
}

static void test_nothing_optional(void **state)
{
	struct board_config config = bench.config;
	struct board *board;
	const void *tree;

	(void)state;
	config.initrd = config.append = NULL;
	board = make_reset_board(&config);
	tree = tree_of(board);
	assert_null(fdt_getprop(tree, node(tree, "/chosen"), "bootargs", NULL));
	assert_null(fdt_getprop(tree, node(tree, "/chosen"), "linux,initrd-start", NULL));
	board_free(board);
}

/* The largest machine's tree still fits, and dtc finds nothing to complain of. */
static void test_dtc(void **state)
{
	struct board_config config = bench.config;
	char line[256], append[PAYLOAD_APPEND_MAX + 1];
	struct board *board;
	struct blob blob;
	FILE *dtc;

	(void)state;
	if (access("/usr/bin/dtc", X_OK) < 0)
		skip();
	memset(append, 'a', sizeof append - 1);
	append[sizeof append - 1] = '\0';
	config.append = append;
	config.cpus = RISCV_HARTS_MAX;
	board = make_reset_board(&config);
	blob = (struct blob){.bytes = malloc(PAYLOAD_FDT_SPACE), .length = PAYLOAD_FDT_SPACE};
	memcpy(blob.bytes, tree_of(board), blob.length);
	blob.length = fdt_totalsize(blob.bytes);
	/* Its nodes without registers are children of a bus that Linux walks: found there, not misplaced. */
	snprintf(line, sizeof line, "dtc -I dtb -O dts -o /dev/null -Wno-simple_bus_reg %s 2>&1",
		 directory_add(&bench.directory, "tree", &blob));
	dtc = popen(line, "re");
	assert_non_null(dtc);
	if (fgets(line, sizeof line, dtc))
		fail_msg("dtc says: %s", line);
	assert_int_equal(pclose(dtc), 0);
	board_free(board);
}

static int set_up(void **state)
{
	(void)state;
	board_bench_init(&bench, false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	board_bench_finish(&bench);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chosen_and_memory),
		cmocka_unit_test(test_serial_is_found),
		cmocka_unit_test(test_seed_is_fresh),
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_svadu),
		cmocka_unit_test(test_nothing_optional),
		cmocka_unit_test(test_dtc),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
