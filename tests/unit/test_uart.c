#include "device_bench.h"

#define BASE 0x10000000

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR IIR

static struct {
	struct bench bench;
	struct probe wire;
	struct device *uart;
	uint8_t sent[256];
	size_t sent_count;
	unsigned rooms;
} t;

static void sink_write(void *console, const uint8_t *bytes, size_t length)
{
	assert_ptr_equal(console, &t);
	assert_true(t.sent_count + length <= sizeof t.sent);
	memcpy(t.sent + t.sent_count, bytes, length);
	t.sent_count += length;
}

static void count_room(void *opaque)
{
	assert_ptr_equal(opaque, &t);
	t.rooms++;
}

static struct device *new_uart(const char *name, uint64_t base, struct probe *wire)
{
	struct serial_sink sink = {.write = sink_write, .console = &t};
	struct device *uart;
	struct error e;

	assert_int_equal(uart16550_new(&uart, name, gpa(base), probe_line(wire), sink, &e), 0);
	uart16550_on_room(uart, count_room, &t);
	return uart;
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	t.uart = new_uart("uart0", BASE, &t.wire);
	bench_add(&t.bench, t.uart);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_free(t.uart);
	return 0;
}

static unsigned in(unsigned reg)
{
	return (unsigned)bench_read(&t.bench, BASE + reg, 1);
}

static void out(unsigned reg, unsigned value)
{
	bench_write(&t.bench, BASE + reg, value, 1);
}

static void type(const char *text)
{
	assert_int_equal(uart16550_receive(t.uart, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void registers_after_reset(void **state)
{
	static const unsigned expected[] = {0, 0, 0x01, 0, 0, 0x60, 0xb0, 0};

	(void)state;
	for (unsigned reg = 0; reg < ARRAY_SIZE(expected); reg++)
		assert_int_equal(in(reg), expected[reg]);
	assert_int_equal(in(8), 0);
	assert_int_equal(in(0xff), 0);
	assert_false(t.wire.level);
}

static void writable_bits(void **state)
{
	static const struct {
		unsigned reg, written, kept;
	} registers[] = {{IER, 0xff, 0x0f}, {LCR, 0x7f, 0x7f}, {MCR, 0xff, 0x1f}, {SCR, 0xff, 0xff}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		out(registers[i].reg, registers[i].written);
		assert_int_equal(in(registers[i].reg), registers[i].kept);
	}
	out(LSR, 0xff);
	assert_int_equal(in(LSR), 0x60);
}

static void divisor_latch_hides_data_and_interrupt_enable(void **state)
{
	(void)state;
	out(LCR, 0x83);
	out(RBR, 0x34);
	out(IER, 0x12);
	assert_int_equal(in(RBR), 0x34);
	assert_int_equal(in(IER), 0x12);
	out(LCR, 0x03);
	assert_int_equal(in(RBR), 0);
	assert_int_equal(in(IER), 0);
	assert_int_equal(t.sent_count, 0);
}

static void transmits_at_once(void **state)
{
	(void)state;
	out(RBR, 'o');
	out(RBR, 'k');
	assert_int_equal(t.sent_count, 2);
	assert_memory_equal(t.sent, "ok", 2);
	assert_int_equal(in(LSR), 0x60);
}

/* What 8250 drivers rely on: enabling the interrupt with an empty transmitter raises it, each time. */
static void transmitter_interrupt(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		out(IER, 0x02);
		assert_true(t.wire.level);
		assert_int_equal(in(IIR), 0x02);
		assert_false(t.wire.level);
		assert_int_equal(in(IIR), 0x01);
		out(IER, 0x00);
	}
	out(IER, 0x02);
	assert_int_equal(in(IIR), 0x02);
	out(IER, 0x02);
	assert_int_equal(in(IIR), 0x01);
	out(RBR, 'x');
	assert_true(t.wire.level);
	out(IER, 0x00);
	assert_false(t.wire.level);
}

static void receives_without_fifos(void **state)
{
	(void)state;
	out(IER, 0x01);
	type("ab");
	assert_true(t.wire.level);
	assert_int_equal(in(IIR), 0x04);
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(RBR), 'a');
	assert_true(t.wire.level);
	assert_int_equal(in(RBR), 'b');
	assert_false(t.wire.level);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0x01);
}

static void trigger_levels_and_timeout(void **state)
{
	static const unsigned levels[] = {1, 4, 8, 14};

	(void)state;
	out(IER, 0x01);
	for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
		out(FCR, i << 6 | 0x03);
		assert_int_equal(in(IIR), 0xc1);
		for (unsigned n = 1; n <= 16; n++) {
			type("x");
			assert_int_equal(in(IIR), n < levels[i] ? 0xcc : 0xc4);
			assert_true(t.wire.level);
		}
		for (unsigned n = 16; n-- > 0;) {
			in(RBR);
			assert_int_equal(in(IIR), n == 0 ? 0xc1 : n < levels[i] ? 0xcc : 0xc4);
		}
		assert_false(t.wire.level);
	}
}

static void fifo_control(void **state)
{
	(void)state;
	out(FCR, 0x01);
	type("abc");
	out(FCR, 0x03);
	assert_int_equal(in(LSR), 0x60);
	type("abc");
	out(FCR, 0x00);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0x01);
	out(FCR, 0xc0);
	assert_int_equal(in(IIR), 0x01);
	out(FCR, 0xc1);
	assert_int_equal(in(IIR), 0xc1);
}

static void loopback_modem_lines(void **state)
{
	static const struct {
		unsigned mcr, msr;
	} lines[] = {{0x11, 0x20}, {0x12, 0x10}, {0x14, 0x40}, {0x18, 0x80}, {0x1a, 0x90}, {0x10, 0x00}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		out(MCR, lines[i].mcr);
		in(MSR);
		assert_int_equal(in(MSR), lines[i].msr);
	}
	out(MCR, 0x14);
	assert_int_equal(in(MSR), 0x40);
	out(MCR, 0x10);
	assert_int_equal(in(MSR), 0x04);
	out(MCR, 0x1b);
	assert_int_equal(in(MSR), 0xbb);
	out(MCR, 0x00);
	assert_int_equal(in(MSR), 0xb0);
}

static void loopback_data_and_overrun(void **state)
{
	(void)state;
	out(MCR, 0x10);
	out(RBR, 'a');
	assert_int_equal(in(LSR), 0x61);
	out(RBR, 'b');
	assert_int_equal(in(LSR), 0x63);
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(RBR), 'b');
	out(FCR, 0x01);
	for (unsigned i = 0; i < 17; i++)
		out(RBR, 'A' + i);
	assert_int_equal(in(LSR), 0x63);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(RBR), 'A' + i);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(t.sent_count, 0);
}

static void input_waits_while_in_loopback(void **state)
{
	(void)state;
	out(FCR, 0x01);
	out(MCR, 0x10);
	type("in");
	assert_int_equal(in(LSR), 0x60);
	out(MCR, 0x00);
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(RBR), 'i');
	assert_int_equal(in(RBR), 'n');
}

/* Line status, received data, transmitter empty, modem status: one hides the next until it is served. */
static void interrupt_priorities(void **state)
{
	(void)state;
	out(IER, 0x0f);
	out(MCR, 0x10);
	out(RBR, 'a');
	out(RBR, 'b');
	assert_int_equal(in(IIR), 0x06);
	assert_int_equal(in(IIR), 0x06);
	in(LSR);
	assert_int_equal(in(IIR), 0x04);
	in(RBR);
	assert_int_equal(in(IIR), 0x02);
	assert_int_equal(in(IIR), 0x00);
	assert_true(t.wire.level);
	in(MSR);
	assert_int_equal(in(IIR), 0x01);
	assert_false(t.wire.level);
}

static void input_is_kept_and_offered_again(void **state)
{
	uint8_t text[600], got;
	size_t offered = 0;

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)(i * 7);
	out(FCR, 0xc1);
	offered = uart16550_receive(t.uart, text, sizeof text);
	assert_int_equal(offered, UART16550_INPUT_MAX);
	for (size_t i = 0; i < sizeof text; i++) {
		unsigned rooms = t.rooms;

		assert_int_equal(in(LSR), 0x61);
		got = (uint8_t)in(RBR);
		assert_int_equal(got, text[i]);
		if (t.rooms != rooms)
			offered += uart16550_receive(t.uart, text + offered, sizeof text - offered);
	}
	assert_int_equal(offered, sizeof text);
	assert_int_equal(in(LSR), 0x60);
	assert_in_range(t.rooms, 2, 4);
}

static void polled_input(void **state)
{
	uint8_t bytes[8];

	(void)state;
	assert_int_equal(uart16550_take_input(t.uart, bytes, sizeof bytes), 0);
	type("hello, world");
	assert_int_equal(uart16550_take_input(t.uart, bytes, 5), 5);
	assert_memory_equal(bytes, "hello", 5);
	assert_int_equal(in(RBR), ',');
	assert_int_equal(uart16550_take_input(t.uart, bytes, sizeof bytes), 6);
	assert_memory_equal(bytes, " world", 6);
	assert_int_equal(in(LSR), 0x60);
}

static void wide_accesses_reach_one_register(void **state)
{
	(void)state;
	bench_write(&t.bench, BASE, 0x41424344, 4);
	assert_int_equal(t.sent_count, 1);
	assert_int_equal(t.sent[0], 0x44);
	assert_int_equal(bench_read(&t.bench, BASE + 4, 4), 0);
	assert_int_equal(bench_read(&t.bench, BASE, 8), 0);
}

static void state_moves_in_mid_activity(void **state)
{
	struct probe wire = {0};
	struct device *copy = new_uart("uart0", BASE + 0x1000, &wire);
	struct saved saved;

	(void)state;
	out(LCR, 0x80);
	out(RBR, 0x11);
	out(LCR, 0x03);
	out(FCR, 0x81);
	out(IER, 0x03);
	out(SCR, 0x5a);
	type("the quick brown fox jumps");
	in(RBR);
	saved = bench_save(t.uart);
	bench_add(&t.bench, copy);
	assert_false(wire.level);
	bench_load(copy, &saved);
	assert_true(wire.level);
	for (unsigned i = 1; i < 25; i++)
		assert_int_equal(bench_read(&t.bench, BASE + 0x1000, 1), "the quick brown fox jumps"[i]);
	assert_int_equal(bench_read(&t.bench, BASE + 0x1000 + IIR, 1), 0xc2);
	assert_int_equal(bench_read(&t.bench, BASE + 0x1000 + SCR, 1), 0x5a);
	assert_false(wire.level);
	free(saved.payload);
	device_free(copy);
}

static void impossible_state_is_refused(void **state)
{
	(void)state;
	type("a");
	bench_refuses(t.uart, "fifo_count", 0, 2);
	bench_refuses(t.uart, "wire_count", 0, UART16550_INPUT_MAX + 1);
	out(FCR, 0x01);
	bench_refuses(t.uart, "fifo_count", 0, 17);
	bench_refuses(t.uart, "fifo_count", 0, 0xffff);
	bench_refuses(t.uart, "ier", 0, 0x10);
	bench_refuses(t.uart, "mcr", 0, 0x20);
	bench_refuses(t.uart, "fcr", 0, 0x80);
	bench_refuses(t.uart, "overrun", 0, 0x01);
	bench_refuses(t.uart, "msr_deltas", 0, 0x10);
}

static void reset_forgets_everything(void **state)
{
	uint8_t text[300] = {0};

	out(IER, 0x03);
	out(SCR, 0x77);
	assert_int_equal(uart16550_receive(t.uart, text, sizeof text), UART16550_INPUT_MAX);
	assert_true(t.wire.level);
	device_reset(t.uart);
	assert_int_equal(t.rooms, 1);
	registers_after_reset(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers_after_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(writable_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(divisor_latch_hides_data_and_interrupt_enable, setup, teardown),
		cmocka_unit_test_setup_teardown(transmits_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(transmitter_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(receives_without_fifos, setup, teardown),
		cmocka_unit_test_setup_teardown(trigger_levels_and_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_control, setup, teardown),
		cmocka_unit_test_setup_teardown(loopback_modem_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(loopback_data_and_overrun, setup, teardown),
		cmocka_unit_test_setup_teardown(input_waits_while_in_loopback, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupt_priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(input_is_kept_and_offered_again, setup, teardown),
		cmocka_unit_test_setup_teardown(polled_input, setup, teardown),
		cmocka_unit_test_setup_teardown(wide_accesses_reach_one_register, setup, teardown),
		cmocka_unit_test_setup_teardown(state_moves_in_mid_activity, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_state_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_forgets_everything, setup, teardown),
	};

	return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
