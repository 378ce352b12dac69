/* The whole board: what a reset leaves, what its windows answer, saving and loading. */
#include "board_bench.h"

#include <errno.h>

#include "board/virt_map.h"

#define BASE UINT64_C(0x80000000)

static struct board_bench bench;

static void config_refused(struct board_config config, enum error_kind kind, const char *part)
{
	struct board *board = (void *)1;
	struct error e = {0};

	assert_true(board_new(&board, &config, &e) < 0);
	assert_contains(e.message, part);
	assert_int_equal(e.kind, kind);
	assert_ptr_equal(board, (void *)1);
}

static void test_config(void **state)
{
	struct board_config config = bench.config;

	(void)state;
	config.cpus = 0;
	config_refused(config, ERROR_USAGE, "--cpus takes 1 to 32");
	config.cpus = 33;
	config_refused(config, ERROR_USAGE, "33 CPUs");
	config = bench.config;
	config.memory_bytes = 16 * MIB - 4096;
	config_refused(config, ERROR_USAGE, "16M or more");
	config.memory_bytes = 16 * MIB + 1;
	config_refused(config, ERROR_USAGE, "multiple of 4096");
	config = bench.config;
	config.kernel = "/nowhere";
	config_refused(config, ERROR_NOT_FOUND, "kernel /nowhere");
	config.kernel = NULL;
	config.initrd = NULL;
	config_refused(config, ERROR_USAGE, "give --kernel or --firmware");
}

static void test_reset_with_sbi(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	struct hart *const *harts = board->harts->harts;

	(void)state;
	assert_non_null(virt_of(board)->sbi);
	assert_ptr_equal(board->harts->sbi, virt_of(board)->sbi);
	assert_int_equal(harts[0]->pc, BASE + 0x200000);
	assert_int_equal(harts[0]->priv, PRIV_S);
	assert_int_equal(harts[0]->x[10], 0);
	assert_int_equal(harts[0]->x[11], virt_of(board)->boot->fdt_address);
	assert_int_equal(harts[0]->satp, 0);
	assert_int_equal(harts[0]->menvcfg & ENVCFG_ADUE, ENVCFG_ADUE);
	assert_int_equal(harts[0]->power, HART_STARTED);
	assert_int_equal(harts[1]->power, HART_STOPPED);
	assert_int_equal(harts[2]->power, HART_STOPPED);
	assert_true(board->clock.stopped);
	assert_int_equal(clock_ticks(&board->clock), 0);
	board_free(board);
}

static uint64_t read_bus(struct board *board, uint64_t address, unsigned size)
{
	uint64_t value = 0;
	int r = bus_read(&board->bus, gpa(address), size, &value);

	if (r < 0)
		fail_msg("nothing answers %u bytes at 0x%llx", size, (unsigned long long)address);
	return value;
}

static void test_reset_with_firmware(void **state)
{
	static const uint64_t info[] = {0x4942534f, 2, BASE + 0x200000, 1, 0, 0};
	struct board_bench other;
	struct board *board;

	(void)state;
	board_bench_init(&other, true);
	board = make_reset_board(&other.config);
	assert_null(virt_of(board)->sbi);
	for (unsigned i = 0; i < 3; i++) {
		const struct hart *hart = board->harts->harts[i];

		assert_int_equal(hart->pc, BASE);
		assert_int_equal(hart->priv, PRIV_M);
		assert_int_equal(hart->power, HART_STARTED);
		assert_int_equal(hart->x[10], i);
		assert_int_equal(hart->x[11], virt_of(board)->boot->fdt_address);
		for (unsigned word = 0; word < ARRAY_SIZE(info); word++)
			assert_int_equal(read_bus(board, hart->x[12] + word * 8, 8), info[word]);
	}
	assert_int_equal(read_bus(board, 0x1004, 1), 0);
	assert_int_equal(read_bus(board, 0x1008, 4), 2);
	assert_int_equal(read_bus(board, 0x1ff8, 8), 0);
	assert_int_equal(bus_write(&board->bus, gpa(0x1008), 8, 9), 0);
	assert_int_equal(read_bus(board, 0x1008, 8), 2);
	board_free(board);
	board_bench_finish(&other);
}

/* A second reset is like the first, whatever the guest did in between. */
static void test_reset_again(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	struct hart *hart = board->harts->harts[1];
	uint8_t *kernel = memory_host(&board->memory, gpa(BASE + 0x200000), 100000);
	uint8_t *unused = memory_host(&board->memory, gpa(BASE + 0x5000), 4096);
	uint8_t first = kernel[99999];
	struct error e;

	(void)state;
	memset(kernel, 0xee, 100000);
	memset(unused, 0xee, 4096);
	hart->x[5] = hart->satp = 77;
	hart->power = HART_STARTED;
	clock_set(&board->clock, 1000);
	assert_int_equal(memory_dirty_start(&board->memory, &e), 0);
	assert_int_equal(board_reset(board, &e), 0);
	assert_int_equal(kernel[99999], first);
	assert_int_equal(unused[0] | unused[4095], 0);
	assert_int_equal(hart->x[5] | hart->satp, 0);
	assert_int_equal(hart->power, HART_STOPPED);
	assert_int_equal(clock_ticks(&board->clock), 0);
	board_free(board);
}

/* Every window lies where the map says, and none of them overlaps another. */
static void test_map(void **state)
{
	struct board *board = make_board(&bench.config);
	static const enum virt_place attached[] = {VIRT_FINISHER, VIRT_RTC,  VIRT_GENERATION, VIRT_CLINT,
						   VIRT_SSWI,     VIRT_PLIC, VIRT_UART};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(attached); i++) {
		const struct virt_window *window = &virt_map[attached[i]];
		const struct device *device = NULL;

		for (unsigned d = 0; d < board->device_count; d++)
			if (strcmp(board->devices[d]->name, window->name) == 0)
				device = board->devices[d];
		if (!device)
			fail_msg("no device %s", window->name);
		assert_int_equal(device->base.value, window->base);
		assert_in_range(device->size, 1, window->size);
	}
	for (unsigned i = 0; i + 1 < VIRT_PLACES; i++)
		assert_true(virt_map[i].base + virt_map[i].size <= virt_map[i + 1].base);
	assert_int_equal(board->device_count, ARRAY_SIZE(attached));
	board_free(board);
}

/* SBI's console and the UART are one. */
static void test_console(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	struct hart *hart = board->harts->harts[0];

	(void)state;
	bench.output_length = 0;
	assert_int_equal(bus_write(&board->bus, gpa(0x10000000), 1, 'a'), 0);
	hart->x[10] = 'b';
	hart->x[16] = 2;
	hart->x[17] = 0x4442434e; /* DBCN, write byte */
	sbi_call(virt_of(board)->sbi, hart);
	assert_int_equal(hart->x[10], 0);
	assert_int_equal(bench.output_length, 2);
	assert_memory_equal(bench.output, "ab", 2);
	board_free(board);
}

static void save(struct board *board, struct state_writer *w)
{
	state_writer_init(w);
	board_save(board, w);
	assert_int_equal(w->failed, 0);
}

static void load(struct board *board, const struct state_writer *w)
{
	struct state_reader r;
	struct error e;

	state_reader_init(&r, w->bytes, w->length);
	if (board_load(board, &r, &e) < 0)
		fail_msg("load: %s", e.message);
}

/* Changes something in every part of the machine. */
static void scramble(struct board *board)
{
	for (unsigned i = 0; i < 3; i++) {
		struct hart *hart = board->harts->harts[i];

		for (unsigned x = 1; x < 32; x++)
			hart->x[x] = i * 1000 + x;
		hart->pc = BASE + 0x200100 + i * 4;
		hart->sepc = 0x1234 + i;
		hart->power = HART_SUSPENDED;
	}
	clock_set(&board->clock, 123456789);
	assert_int_equal(bus_write(&board->bus, gpa(0xc000000 + 4 * 10), 4, 5), 0);
	assert_int_equal(bus_write(&board->bus, gpa(0x10000007), 1, 0x5a), 0);
	assert_int_equal(memory_write(&board->memory, gpa(BASE + 0x1000), "first", 5), 0);
	assert_int_equal(memory_write(&board->memory, gpa(BASE + 32 * MIB - 4), "last", 4), 0);
	memset(memory_host(&board->memory, gpa(BASE + 8 * MIB), 3 * MIB), 0x77, 3 * MIB);
}

static void test_round_trip(void **state)
{
	struct board *from = make_reset_board(&bench.config), *to = make_reset_board(&bench.config);
	struct state_writer first, second;

	(void)state;
	scramble(from);
	assert_int_equal(memory_write(&to->memory, gpa(BASE + 20 * MIB), "stale", 5), 0);
	save(from, &first);
	load(to, &first);
	assert_memory_equal(memory_host(&from->memory, gpa(BASE), 32 * MIB),
			    memory_host(&to->memory, gpa(BASE), 32 * MIB), 32 * MIB);
	assert_int_equal(clock_ticks(&to->clock), 123456789);
	assert_int_equal(to->harts->harts[2]->pc, BASE + 0x200108);
	assert_int_equal(to->harts->harts[2]->power, HART_SUSPENDED);
	assert_int_equal(read_bus(to, 0xc000000 + 4 * 10, 4), 5);
	assert_int_equal(read_bus(to, 0x10000007, 1), 0x5a);
	save(to, &second);
	assert_int_equal(first.length, second.length);
	assert_memory_equal(first.bytes, second.bytes, first.length);
	state_writer_finish(&first);
	state_writer_finish(&second);
	board_free(from);
	board_free(to);
}

/* Into a board that was only made, never reset: as after a start from a snapshot. */
static void test_load_into_new_board(void **state)
{
	struct board *from = make_reset_board(&bench.config), *to = make_board(&bench.config);
	struct state_writer first, second;

	(void)state;
	scramble(from);
	save(from, &first);
	load(to, &first);
	save(to, &second);
	assert_int_equal(first.length, second.length);
	assert_memory_equal(first.bytes, second.bytes, first.length);
	state_writer_finish(&first);
	state_writer_finish(&second);
	board_free(from);
	board_free(to);
}

/* Copies the sections of `from`, but for what `change` says of the nth: 'o'mit, 'd'ouble, 'l'ast. */
static void rearrange(const struct state_writer *from, struct state_writer *to, unsigned nth, char change)
{
	struct state_section section;
	struct state_reader r;
	size_t held_at = 0, held_length = 0;
	struct error e;

	state_writer_init(to);
	to->bytes = malloc(from->length * 2);
	assert_non_null(to->bytes);
	to->room = from->length * 2;
	state_reader_init(&r, from->bytes, from->length);
	for (unsigned i = 0;; i++) {
		size_t at = r.at;

		if (state_next(&r, &section, &e) != 1)
			break;
		if (i == nth && change == 'l') {
			held_at = at;
			held_length = r.at - at;
		}
		for (unsigned copies = i != nth ? 1 : change == 'd' ? 2 : 0; copies; copies--) {
			memcpy(to->bytes + to->length, from->bytes + at, r.at - at);
			to->length += r.at - at;
		}
	}
	memcpy(to->bytes + to->length, from->bytes + held_at, held_length);
	to->length += held_length;
}

static unsigned count_sections(const struct state_writer *w)
{
	struct state_section section;
	struct state_reader r;
	unsigned count = 0;
	struct error e;

	state_reader_init(&r, w->bytes, w->length);
	while (state_next(&r, &section, &e) == 1)
		count++;
	return count;
}

static void load_refused(struct board *board, const void *bytes, size_t length, const char *what, unsigned nth)
{
	struct error e = {0};
	struct state_reader r;

	state_reader_init(&r, bytes, length);
	if (board_load(board, &r, &e) >= 0)
		fail_msg("loaded with section %u %s", nth, what);
	assert_true(e.message[0] != '\0');
}

/* Each section left out, given twice, or moved behind the end. */
static void test_sections_exactly_once(void **state)
{
	struct board *board = make_reset_board(&bench.config);
	struct state_writer whole, w;
	unsigned count, devices = 0;

	(void)state;
	for (unsigned i = 0; i < board->device_count; i++)
		devices += board->devices[i]->type->state != NULL;
	save(board, &whole);
	count = count_sections(&whole);
	/* Board, clock, 3 harts, devices; kernel is one run of RAM, initrd and tree are another; the end. */
	assert_int_equal(count, 1 + 1 + 3 + devices + 2 + 1);
	for (unsigned nth = 0; nth < count; nth++) {
		rearrange(&whole, &w, nth, 'o');
		load_refused(board, w.bytes, w.length, "left out", nth);
		state_writer_finish(&w);
		rearrange(&whole, &w, nth, 'd');
		load_refused(board, w.bytes, w.length, "twice", nth);
		state_writer_finish(&w);
		if (nth + 1 == count)
			break;
		rearrange(&whole, &w, nth, 'l');
		load_refused(board, w.bytes, w.length, "last", nth);
		state_writer_finish(&w);
	}
	load(board, &whole);
	load_refused(board, whole.bytes, whole.length - 1, "cut", count - 1);
	load_refused(board, whole.bytes, 0, "none", 0);
	state_writer_finish(&whole);
	board_free(board);
}

static void test_other_machine_refused(void **state)
{
	struct board_config config = bench.config;
	struct board *from = make_reset_board(&bench.config), *larger, *fewer;
	struct state_writer w;
	struct state_reader r;
	struct error e;

	(void)state;
	config.memory_bytes = 64 * MIB;
	larger = make_board(&config);
	config.memory_bytes = 32 * MIB;
	config.cpus = 2;
	fewer = make_board(&config);
	save(from, &w);
	state_reader_init(&r, w.bytes, w.length);
	assert_true(board_load(larger, &r, &e) < 0);
	assert_contains(e.message, "32 MiB of RAM, 3 CPUs and no firmware; this one has 64 MiB, 3");
	state_reader_init(&r, w.bytes, w.length);
	assert_true(board_load(fewer, &r, &e) < 0);
	assert_contains(e.message, "this one has 32 MiB, 2");
	state_writer_finish(&w);
	board_free(from);
	board_free(larger);
	board_free(fewer);
}

/* RAM sections whose checksums are right and whose content is not. */
static void test_hostile_ram(void **state)
{
	static const struct {
		const char *instance;
		size_t length;
		uint32_t version;
		const char *part;
	} table[] = {
		{"80001000", 4096, 2, "unknown version"},   {"80001000", 4095, 1, "whole pages"},
		{"80001000", 0, 1, "whole pages"},          {"80001001", 4096, 1, "whole pages"},
		{"080001000", 4096, 1, "no valid address"}, {"8000100g", 4096, 1, "no valid address"},
		{"-1000", 4096, 1, "no valid address"},     {"81fff000", 8192, 1, "outside"},
		{"7ffff000", 8192, 1, "outside"},           {"fffffffffffff000", 8192, 1, "outside"},
		{"fffffffffffff0000", 4096, 1, "no valid"}, {"0x80001000", 4096, 1, "no valid"},
	};
	struct board *board = make_reset_board(&bench.config);
	static const uint8_t zeros[8192];
	struct state_writer whole, w;
	struct state_section section;
	struct state_reader r;
	struct error e;

	(void)state;
	save(board, &whole);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		state_reader_init(&r, whole.bytes, whole.length);
		assert_int_equal(state_next(&r, &section, &e), 1);
		state_writer_init(&w);
		w.bytes = malloc(r.at);
		memcpy(w.bytes, whole.bytes, r.at);
		w.length = w.room = r.at;
		state_save_bytes(&w, "ram", table[i].instance, table[i].version, zeros, table[i].length);
		state_reader_init(&r, w.bytes, w.length);
		assert_int_equal(board_load(board, &r, &e), -EBADMSG);
		assert_contains(e.message, table[i].part);
		state_writer_finish(&w);
	}
	state_writer_finish(&whole);
	board_free(board);
}

/* All but RAM: a load finds what is there, leaves it there, and takes no RAM. */
static void test_state_without_ram(void **state)
{
	struct board *from = make_reset_board(&bench.config), *to = make_reset_board(&bench.config);
	struct state_writer w, again, whole;
	struct state_reader r;
	struct error e;

	(void)state;
	scramble(from);
	*(uint64_t *)memory_host(&to->memory, gpa(0x80700000), 8) = 4711;
	state_writer_init(&w);
	board_save_state(from, &w);
	assert_int_equal(w.failed, 0);
	state_reader_init(&r, w.bytes, w.length);
	if (board_load_state(to, &r, &e) < 0)
		fail_msg("load: %s", e.message);
	assert_int_equal(*(uint64_t *)memory_host(&to->memory, gpa(0x80700000), 8), 4711);
	state_writer_init(&again);
	board_save_state(to, &again);
	assert_int_equal(again.length, w.length);
	assert_memory_equal(again.bytes, w.bytes, w.length);
	save(from, &whole);
	state_reader_init(&r, whole.bytes, whole.length);
	assert_int_equal(board_load_state(to, &r, &e), -EBADMSG);
	assert_contains(e.message, "without RAM");
	state_writer_finish(&whole);
	state_writer_finish(&again);
	state_writer_finish(&w);
	board_free(from);
	board_free(to);
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
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_reset_with_sbi),
		cmocka_unit_test(test_reset_with_firmware),
		cmocka_unit_test(test_reset_again),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_load_into_new_board),
		cmocka_unit_test(test_sections_exactly_once),
		cmocka_unit_test(test_other_machine_refused),
		cmocka_unit_test(test_hostile_ram),
		cmocka_unit_test(test_state_without_ram),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
