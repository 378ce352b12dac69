/* The console: keys, and input's way from pipes, files and terminals to the UART. */
#include "console_bench.h"

#include <sys/stat.h>
#include <termios.h>
#include <time.h>

#include "machine/console.h"
#include "machine/keys.h"

#define UART UINT64_C(0x10000000)

static struct loop *loop;
static struct bus bus;
static struct device *uart;
static struct console *console;
static int input[2], output[2]; /* pipes; the console has input[0] and output[1] */
static int leaves;

static void leave(void *opaque)
{
	(void)opaque;
	leaves++;
	loop_quit(loop);
}

static void serial(void *opaque, const uint8_t *bytes, size_t length)
{
	(void)opaque;
	(void)console_write(console, bytes, length);
}

static int setup(void **state)
{
	struct error e;

	(void)state;
	leaves = 0;
	console = NULL;
	make_pipe(input);
	make_pipe(output);
	bus_init(&bus);
	assert_int_equal(loop_new(&loop, &e), 0);
	assert_int_equal(uart16550_new(&uart, "uart0", gpa(UART), (struct irq_line){NULL, NULL, 0},
				       (struct serial_sink){serial, NULL}, &e),
			 0);
	assert_int_equal(device_attach(uart, &bus, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	console_free(console);
	device_free(uart);
	loop_free(loop);
	for (unsigned i = 0; i < 2; i++) {
		if (input[i] >= 0)
			close(input[i]);
		if (output[i] >= 0)
			close(output[i]);
	}
	return 0;
}

static struct console_config config_of(enum machine_console kind)
{
	return (struct console_config){
		.kind = kind,
		.input = input[0],
		.output = output[1],
		.loop = loop,
		.hooks = {.leave = leave},
	};
}

static size_t receive(void *line, const uint8_t *bytes, size_t length)
{
	return uart16550_receive(line, bytes, length);
}

static void on_room(void *line, void (*room)(void *opaque), void *opaque)
{
	uart16550_on_room(line, room, opaque);
}

static int start(struct console *started, struct error *e)
{
	return console_start(started, &(struct console_line){receive, on_room, uart}, e);
}

static void open_console(const struct console_config *config)
{
	struct error e;

	if (console_new(&console, config, &e) < 0)
		fail_msg("console: %s", e.message);
	if (start(console, &e) < 0)
		fail_msg("start: %s", e.message);
	console_hold(console, false);
}

static void open_stdio(void)
{
	struct console_config config = config_of(CONSOLE_STDIO);

	open_console(&config);
}

/* What the guest's polling driver reads: `expected` bytes, however long they take, and what else comes within 20
 * ms. */
static size_t guest_reads(uint8_t *bytes, size_t room, size_t expected)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;
	unsigned idle = 0;
	size_t have = 0;

	while (have < room && idle < 20 && clock_host_ns() < end) {
		uint64_t status = 0, byte = 0;

		assert_int_equal(bus_read(&bus, gpa(UART + 5), 1, &status), 0);
		if (!(status & 1)) {
			(void)!loop_run(loop, 1);
			idle += have >= expected;
			continue;
		}
		assert_int_equal(bus_read(&bus, gpa(UART), 1, &byte), 0);
		bytes[have++] = (uint8_t)byte;
	}
	return have;
}

static void guest_gets(const char *text, size_t length)
{
	char got[512] = "";
	size_t have = guest_reads((uint8_t *)got, sizeof got - 1, length);

	assert_int_equal(have, length);
	assert_memory_equal(got, text, length);
}

static void guest_writes(const char *text)
{
	for (; *text; text++)
		assert_int_equal(bus_write(&bus, gpa(UART), 1, (uint8_t)*text), 0);
}

static void meaning(struct keys *keys, uint8_t byte, enum keys_meaning expected, uint8_t becomes)
{
	assert_int_equal(keys_next(keys, &byte), expected);
	if (expected == KEYS_GUEST)
		assert_int_equal(byte, becomes);
}

static void test_keys(void **state)
{
	struct keys keys = {0};

	(void)state;
	for (unsigned byte = 0; byte < 256; byte++)
		if (byte != 1)
			meaning(&keys, (uint8_t)byte, KEYS_GUEST, (uint8_t)byte);
	meaning(&keys, 1, KEYS_EATEN, 0);
	meaning(&keys, 'x', KEYS_LEAVE, 0);
	meaning(&keys, 'x', KEYS_GUEST, 'x');
	meaning(&keys, 1, KEYS_EATEN, 0);
	meaning(&keys, 'h', KEYS_HELP, 0);
	meaning(&keys, 1, KEYS_EATEN, 0);
	meaning(&keys, 1, KEYS_GUEST, 1);
	meaning(&keys, 'x', KEYS_GUEST, 'x');
	meaning(&keys, 1, KEYS_EATEN, 0);
	meaning(&keys, 'a', KEYS_GUEST, 1);
	meaning(&keys, 1, KEYS_EATEN, 0);
	meaning(&keys, 'q', KEYS_EATEN, 0);
	meaning(&keys, 'q', KEYS_GUEST, 'q');
}

/* No terminal: every byte is the guest's, Ctrl-A included, and the end just ends the input. */
static void test_pipe(void **state)
{
	(void)state;
	open_stdio();
	send_bytes(input[1], "a\1x\1h\0\377b", 8);
	guest_gets("a\1x\1h\0\377b", 8);
	send_text(input[1], "last");
	close(input[1]);
	input[1] = -1;
	guest_gets("last", 4);
	guest_writes("still here\n");
	expect(output[0], "still here\n");
	assert_int_equal(leaves, 0);
}

/* More than all queues hold: the pipe waits for the guest, and no byte is lost or doubled. */
static void test_back_pressure(void **state)
{
	static uint8_t sent[48 * 1024], got[sizeof sent + 16];

	(void)state;
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 11 + (i >> 8));
	open_stdio();
	send_bytes(input[1], sent, sizeof sent);
	assert_int_equal(loop_run(loop, 50), -ETIMEDOUT);
	assert_int_equal(guest_reads(got, sizeof got, sizeof sent), sizeof sent);
	assert_memory_equal(got, sent, sizeof sent);
}

static void test_hold(void **state)
{
	uint64_t status = 0;

	(void)state;
	open_stdio();
	console_hold(console, true);
	send_text(input[1], "later");
	assert_int_equal(loop_run(loop, 30), -ETIMEDOUT);
	assert_int_equal(bus_read(&bus, gpa(UART + 5), 1, &status), 0);
	assert_int_equal(status & 1, 0);
	console_hold(console, false);
	guest_gets("later", 5);
}

/* A regular file can not be waited for. */
static void test_file_as_input(void **state)
{
	struct console_config config = config_of(CONSOLE_STDIO);
	FILE *file = tmpfile();
	uint8_t got[1200];

	(void)state;
	assert_non_null(file);
	for (unsigned i = 0; i < 1000; i++)
		fputc('a' + (int)(i % 26), file);
	rewind(file);
	config.input = fileno(file);
	open_console(&config);
	assert_int_equal(guest_reads(got, sizeof got, 1000), 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(got[i], 'a' + i % 26);
	fclose(file);
}

static void test_closed_input(void **state)
{
	struct console_config config = config_of(CONSOLE_STDIO);

	(void)state;
	close(input[0]);
	config.input = input[0];
	input[0] = -1;
	open_console(&config);
	guest_writes("fine");
	expect(output[0], "fine");
}

static void open_typed(int *master, int *slave)
{
	struct console_config config = config_of(CONSOLE_STDIO);

	make_terminal(master, slave);
	config.input = *slave;
	open_console(&config);
}

static void close_typed(int master, int slave)
{
	console_free(console);
	console = NULL;
	close(master);
	close(slave);
}

static void test_terminal(void **state)
{
	int master, slave;
	struct termios before, during, after;

	(void)state;
	make_terminal(&master, &slave);
	assert_int_equal(tcgetattr(slave, &before), 0);
	close(master);
	close(slave);
	open_typed(&master, &slave);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (tcflag_t)(ICANON | ECHO | ISIG), 0);
	send_bytes(master, "\3\32\r\177", 4); /* Ctrl-C, Ctrl-Z, Enter and Delete are the guest's */
	guest_gets("\3\32\r\177", 4);
	send_bytes(master, "\1\1x\1ay\1qz", 9);
	guest_gets("\1x\1yz", 5);
	send_text(master, "\1hk"); /* once the guest has the k, help was given */
	guest_gets("k", 1);
	expect(master, keys_help_here);
	expect_nothing(output[0]);
	send_text(master, "ls\1x");
	assert_int_equal(loop_run(loop, LONG_MS), 0);
	assert_int_equal(leaves, 1);
	guest_gets("ls", 2);
	console_free(console);
	console = NULL;
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	assert_int_equal(after.c_oflag, before.c_oflag);
	close(master);
	close(slave);
}

/* A guest on a terminal both ways: what the monitor says comes after what the guest said. */
static void test_help_in_order(void **state)
{
	struct console_config config = config_of(CONSOLE_STDIO);
	int master, slave;

	(void)state;
	make_terminal(&master, &slave);
	config.input = config.output = slave;
	open_console(&config);
	guest_writes("guest ");
	send_text(master, "\1hk"); /* once the guest has the k, help was given */
	guest_gets("k", 1);
	expect(master, "guest ");
	expect(master, keys_help_here);
	close_typed(master, slave);
}

/* Types until the console has read `length` bytes or a little less: what is in the terminal's own buffers. */
static void type_much(int master, size_t length)
{
	static char typed[3000];
	uint64_t end = clock_host_ns() + LONG_MS * MS;

	memset(typed, 'k', sizeof typed);
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	for (size_t done = 0; done < length;) {
		ssize_t n = write(master, typed, sizeof typed);

		if (n > 0)
			done += (size_t)n;
		assert_int_equal(loop_run(loop, 1), -ETIMEDOUT);
		if (clock_host_ns() > end)
			fail_msg("the console took only %zu bytes", done);
	}
}

static void type_byte(int master, char byte)
{
	while (write(master, &byte, 1) != 1)
		(void)!loop_run(loop, 1);
}

/* A guest that takes nothing must not keep its user from leaving. */
static void test_leaves_a_deaf_guest(void **state)
{
	int master, slave;

	(void)state;
	open_typed(&master, &slave);
	type_much(master, CONSOLE_TYPED + 32 * KIB);
	type_byte(master, 1);
	type_byte(master, 'x');
	if (!leaves)
		assert_int_equal(loop_run(loop, LONG_MS), 0);
	assert_int_equal(leaves, 1);
	close_typed(master, slave);
}

static void test_leaves_while_held(void **state)
{
	int master, slave;

	(void)state;
	open_typed(&master, &slave);
	console_hold(console, true);
	send_text(master, "abc\1x");
	assert_int_equal(loop_run(loop, LONG_MS), 0);
	assert_int_equal(leaves, 1);
	console_hold(console, false);
	guest_gets("abc", 3);
	close_typed(master, slave);
}

static void test_one_terminal(void **state)
{
	struct console_config config = config_of(CONSOLE_STDIO);
	struct console *second;
	int master, slave;
	struct error e;

	(void)state;
	open_typed(&master, &slave);
	config.input = slave;
	assert_int_equal(loop_new(&config.loop, &e), 0);
	assert_int_equal(console_new(&second, &config, &e), 0);
	assert_int_equal(start(second, &e), -EBUSY);
	console_free(second);
	loop_free(config.loop);
	send_text(master, "ok");
	guest_gets("ok", 2);
	close_typed(master, slave);
}

static int open_slave(void)
{
	int slave = open(console_path(console), O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(slave >= 0);
	return slave;
}

static void test_pty(void **state)
{
	struct console_config config = config_of(CONSOLE_PTY);
	int slave;

	(void)state;
	open_console(&config);
	assert_non_null(console_path(console));
	guest_writes("unheard");
	assert_int_equal(loop_run(loop, 50), -ETIMEDOUT);
	for (unsigned round = 0; round < 3; round++) {
		slave = open_slave();
		send_bytes(slave, "in\1x\r", 5);
		guest_gets("in\1x\r", 5);
		guest_writes("out\n");
		expect(slave, "out\n");
		guest_gets("", 0); /* nothing is echoed */
		close(slave);
		assert_int_equal(loop_run(loop, 5), -ETIMEDOUT);
	}
	assert_int_equal(leaves, 0);
}

/* With nobody at the other end, the loop sleeps. */
static void test_pty_is_quiet(void **state)
{
	struct console_config config = config_of(CONSOLE_PTY);
	struct timespec before, after;
	int slave;

	(void)state;
	open_console(&config);
	slave = open_slave();
	close(slave);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	assert_int_equal(loop_run(loop, 300), -ETIMEDOUT);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	assert_in_range((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 0,
			100);
}

static void test_file(void **state)
{
	struct console_config config = config_of(CONSOLE_FILE);
	char path[] = "/tmp/doppel-console-XXXXXX", got[64] = "";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	send_text(fd, "before\n");
	config.path = path;
	open_console(&config);
	assert_null(console_path(console));
	guest_writes("guest\n");
	console_free(console);
	console = NULL;
	assert_true(pread(fd, got, sizeof got - 1, 0) > 0);
	assert_string_equal(got, "before\nguest\n");
	close(fd);
	unlink(path);
}

static void test_bad_files(void **state)
{
	struct console_config config = config_of(CONSOLE_FILE);
	char path[] = "/tmp/doppel-console-XXXXXX";
	struct error e;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	config.path = path;
	assert_int_equal(console_new(&console, &config, &e), -ENXIO);
	assert_non_null(strstr(e.message, "nobody reads"));
	unlink(path);
	config.path = "/tmp";
	assert_int_equal(console_new(&console, &config, &e), -EISDIR);
	assert_non_null(strstr(e.message, "console /tmp"));
	assert_null(console);
}

static void test_none(void **state)
{
	struct console_config config = config_of(CONSOLE_NONE);

	(void)state;
	open_console(&config);
	guest_writes("into the void");
	assert_true(console_drained(console));
	assert_false(console_crowded(console));
	expect_nothing(output[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		TEST(test_pipe),
		TEST(test_back_pressure),
		TEST(test_hold),
		TEST(test_file_as_input),
		TEST(test_closed_input),
		TEST(test_terminal),
		TEST(test_help_in_order),
		TEST(test_leaves_a_deaf_guest),
		TEST(test_leaves_while_held),
		TEST(test_one_terminal),
		TEST(test_pty),
		TEST(test_pty_is_quiet),
		TEST(test_file),
		TEST(test_bad_files),
		TEST(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
