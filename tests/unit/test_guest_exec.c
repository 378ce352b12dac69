/* Commands through both sides: streams, signals, ends. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>

#include <cmocka.h>

#include "guest_bench.h"

#define OUTPUT_MAX ((size_t)16 << 20)

struct ran {
	int status, code;
	bool refused;
	struct error e;
	char *out, *err; /* free() */
	size_t out_length, err_length;
};

static int memory_file(const void *bytes, size_t length)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static char *slurp(int fd, size_t *length)
{
	char *bytes = malloc(OUTPUT_MAX + 1);
	ssize_t count = pread(fd, bytes, OUTPUT_MAX, 0);

	assert_true(count >= 0);
	bytes[count] = '\0';
	*length = (size_t)count;
	close(fd);
	return bytes;
}

static void execute(const struct guest_command *command, const void *input, size_t length, struct ran *ran)
{
	struct guest_bench bench;
	struct guest_run run = {.command = command, .in = -1, .signals = -1};

	*ran = (struct ran){.status = -1};
	guest_bench_open(&bench);
	run.in = input ? memory_file(input, length) : -1;
	run.out = memory_file("", 0);
	run.err = memory_file("", 0);
	ran->code = guest_execute(&bench.wire, &run, &ran->status, &ran->refused, &ran->e);
	ran->out = slurp(run.out, &ran->out_length);
	ran->err = slurp(run.err, &ran->err_length);
	if (run.in >= 0)
		close(run.in);
	(void)guest_bench_close(&bench);
}

static void run_shell(const char *text, const void *input, size_t length, struct ran *ran)
{
	static const char *const none[] = {NULL};
	const char *const words[] = {"sh", "-c", text, NULL};
	const struct guest_command command = {
		.directory = "/", .user = "", .arguments = words, .environment = none};

	execute(&command, input, length, ran);
	if (ran->code < 0)
		print_message("%s\n", ran->e.message);
}

static void finish(struct ran *ran)
{
	free(ran->out);
	free(ran->err);
}

static void streams_stay_apart(void **state)
{
	struct ran ran;

	(void)state;
	run_shell("echo out; echo err >&2; exit 7", NULL, 0, &ran);
	assert_int_equal(ran.code, 0);
	assert_int_equal(ran.status, 7);
	assert_string_equal(ran.out, "out\n");
	assert_string_equal(ran.err, "err\n");
	finish(&ran);
}

static void statuses(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {{"exit 0", 0}, {"exit 255", 255}, {"kill -9 $$", 137}, {"kill -TERM $$", 143}, {"kill -SEGV $$", 139}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ran ran;

		run_shell(cases[i].text, NULL, 0, &ran);
		assert_int_equal(ran.code, 0);
		assert_int_equal(ran.status, cases[i].status);
		finish(&ran);
	}
}

static void what_can_not_be_run(void **state)
{
	static const struct {
		const char *word, *directory, *user;
		int code;
	} cases[] = {{"/no/such/program", "", "", -ENOENT},
		     {"no-such-program", "", "", -ENOENT},
		     {"/", "", "", -EACCES},
		     {"true", "/no/such/folder", "", -EINVAL},
		     {"true", "", "nobody-of-this-name", -EINVAL}};
	static const char *const none[] = {NULL}, *const bad[] = {"=x", NULL};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) + 1; i++) {
		bool variable = i == ARRAY_SIZE(cases);
		const char *const words[] = {variable ? "true" : cases[i].word, NULL};
		const struct guest_command command = {.directory = variable ? "" : cases[i].directory,
						      .user = variable ? "" : cases[i].user,
						      .arguments = words,
						      .environment = variable ? bad : none};
		struct ran ran;

		execute(&command, NULL, 0, &ran);
		assert_int_equal(ran.code, variable ? -EINVAL : cases[i].code);
		assert_true(ran.refused);
		finish(&ran);
	}
}

static void ten_megabytes_both_ways(void **state)
{
	size_t length = 10 << 20;
	uint32_t *bytes = malloc(length), seed = 1;
	struct ran ran;

	(void)state;
	for (size_t i = 0; i < length / sizeof *bytes; i++)
		bytes[i] = seed = seed * 1664525 + 1013904223;
	run_shell("cat", bytes, length, &ran);
	assert_int_equal(ran.status, 0);
	assert_int_equal(ran.out_length, length);
	assert_true(memcmp(ran.out, bytes, length) == 0);
	finish(&ran);
	/* To the other stream, and a reader that stops before the end. */
	run_shell("head -c 3000000 >&2", bytes, length, &ran);
	assert_int_equal(ran.status, 0);
	assert_int_equal(ran.err_length, 3000000);
	assert_true(memcmp(ran.err, bytes, 3000000) == 0);
	assert_int_equal(ran.out_length, 0);
	finish(&ran);
	free(bytes);
}

static void the_environment(void **state)
{
	static const char *const words[] = {"sh", "-c", "echo $A $HOME $B; pwd; test -z \"$OUTER\"", NULL};
	static const char *const variables[] = {"A=b c", "HOME=/somewhere", "B==", NULL};
	const struct guest_command command = {
		.directory = "/usr", .user = "", .arguments = words, .environment = variables};
	struct ran ran;

	(void)state;
	setenv("OUTER", "of the program", 1);
	execute(&command, NULL, 0, &ran);
	assert_int_equal(ran.status, 0);
	assert_string_equal(ran.out, "b c /somewhere =\n/usr\n");
	finish(&ran);
}

static void another_user(void **state)
{
	static const char *const words[] = {"sh", "-c", "id -u; id -g; touch /root/x", NULL};
	static const char *const none[] = {NULL};
	const struct guest_command command = {.directory = "", .user = "nobody", .arguments = words, .environment = none};
	struct ran ran;

	(void)state;
	if (geteuid() != 0)
		skip();
	execute(&command, NULL, 0, &ran);
	assert_int_equal(ran.code, 0);
	assert_string_equal(ran.out, "65534\n65534\n");
	assert_int_not_equal(ran.status, 0);
	finish(&ran);
}

/* In a terminal what is typed is echoed, lines end with CR, and there is a size. */
static void a_terminal(void **state)
{
	static const char *const words[] = {"sh", "-c", "tty >/dev/null && stty size && cat", NULL};
	static const char *const none[] = {NULL};
	const struct guest_command command = {
		.tty = true, .rows = 31, .columns = 99, .directory = "/", .user = "", .arguments = words, .environment = none};
	struct ran ran;

	(void)state;
	execute(&command, "typed\n", 6, &ran);
	assert_int_equal(ran.code, 0);
	assert_int_equal(ran.status, 0);
	assert_non_null(strstr(ran.out, "31 99\r\n"));
	assert_non_null(strstr(ran.out, "typed\r\n"));
	assert_int_equal(ran.err_length, 0);
	finish(&ran);
}

/* The command asks for the signal when it is ready for it. */
static void signals_are_passed_on(void **state)
{
	char text[200];
	const char *const words[] = {"sh", "-c", text, NULL}, *const none[] = {NULL};
	const struct guest_command command = {.directory = "/", .user = "", .arguments = words, .environment = none};
	struct guest_run run = {.command = &command, .in = -1};
	struct guest_bench bench;
	struct ran ran = {.status = -1};
	sigset_t set, before;

	(void)state;
	snprintf(text, sizeof text, "trap 'echo got it; exit 3' TERM; kill -TERM %d; while :; do sleep 0.02; done", getpid());
	guest_bench_open(&bench);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	run.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	run.out = memory_file("", 0);
	run.err = memory_file("", 0);
	ran.code = guest_execute(&bench.wire, &run, &ran.status, &ran.refused, &ran.e);
	sigprocmask(SIG_SETMASK, &before, NULL);
	ran.out = slurp(run.out, &ran.out_length);
	ran.err = slurp(run.err, &ran.err_length);
	assert_int_equal(ran.code, 0);
	assert_int_equal(ran.status, 3);
	assert_string_equal(ran.out, "got it\n");
	finish(&ran);
	close(run.signals);
	(void)guest_bench_close(&bench);
}

/* Reads frames by itself, so that it can be as slow as it likes. */
static void begin_command(struct guest_bench *bench, const char *text)
{
	static const char *const none[] = {NULL};
	const char *const words[] = {"sh", "-c", text, NULL};
	const struct guest_command command = {.directory = "/", .user = "", .arguments = words, .environment = none};
	struct wire_frame frame;
	struct error e;
	uint8_t *bytes;
	size_t length;

	guest_bench_open(bench);
	assert_int_equal(guest_command_encode(&command, &bytes, &length), 0);
	assert_int_equal(wire_put(&bench->wire, GUEST_EXEC, 0, bytes, length), 0);
	free(bytes);
	assert_int_equal(wire_receive(&bench->wire, &frame, 20000, &e), 0);
	assert_int_equal(frame.type, GUEST_STARTED);
}

static void a_slow_reader_gets_no_more_than_the_window(void **state)
{
	struct guest_bench bench;
	struct wire_frame frame;
	struct error e;
	size_t got = 0;
	bool other = false;

	(void)state;
	begin_command(&bench, "yes & sleep 0.3; echo there >&2; wait");
	/* Without credit stdout stands still, and stderr comes all the same. */
	while (got < GUEST_WINDOW || !other) {
		assert_int_equal(wire_receive(&bench.wire, &frame, 20000, &e), 0);
		assert_int_equal(frame.type, GUEST_DATA);
		got += frame.stream == GUEST_STDOUT ? frame.length : 0;
		other |= frame.stream == GUEST_STDERR;
	}
	assert_int_equal(got, GUEST_WINDOW);
	assert_int_equal(wire_receive(&bench.wire, &frame, 300, &e), -ETIMEDOUT);
	assert_int_equal(wire_put_number(&bench.wire, GUEST_CREDIT, GUEST_STDOUT, 5000), 0);
	for (got = 0; got < 5000; got += frame.length)
		assert_int_equal(wire_receive(&bench.wire, &frame, 20000, &e), 0);
	assert_int_equal(got, 5000);
	/* Its reader has gone: the writer hears of it. */
	assert_int_equal(wire_put(&bench.wire, GUEST_END, GUEST_STDOUT, NULL, 0), 0);
	do
		assert_int_equal(wire_receive(&bench.wire, &frame, 20000, &e), 0);
	while (frame.type != GUEST_EXITED);
	(void)guest_bench_close(&bench);
}

static void nothing_is_left_of_a_broken_session(void **state)
{
	enum { PROCESSES = 5 };
	char text[1000] = "";
	int pids[PROCESSES];
	struct guest_bench bench;
	struct wire_frame frame;
	struct error e;

	(void)state;
	/* In the background, in sessions of their own, orphans, ignoring what can be. */
	begin_command(&bench, "trap '' HUP TERM INT; sleep 999 & echo $!; (setsid sh -c 'echo $$; exec sleep 999' &)\n"
			      "setsid sh -c 'echo $$; sleep 999 & echo $!; wait' & echo $$; wait");
	for (size_t used = 0; sscanf(text, "%d %d %d %d %d", &pids[0], &pids[1], &pids[2], &pids[3], &pids[4]) < PROCESSES ||
			      text[used - 1] != '\n';) {
		assert_int_equal(wire_receive(&bench.wire, &frame, 20000, &e), 0);
		assert_true(used + frame.length < sizeof text);
		memcpy(text + used, frame.bytes, frame.length);
		used += frame.length;
		text[used] = '\0';
	}
	for (size_t i = 0; i < PROCESSES; i++)
		assert_int_equal(kill(pids[i], 0), 0);
	assert_int_equal(guest_bench_close(&bench), 0x100);
	for (size_t i = 0; i < PROCESSES; i++) {
		assert_int_equal(kill(pids[i], 0), -1);
		assert_int_equal(errno, ESRCH);
	}
}

static void what_runs_on_in_the_background_stays(void **state)
{
	struct ran ran;
	int pid;

	(void)state;
	run_shell("sleep 999 & echo $!", NULL, 0, &ran);
	assert_int_equal(ran.status, 0);
	assert_int_equal(sscanf(ran.out, "%d", &pid), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	finish(&ran);
}

static void nonsense_ends_a_session(void **state)
{
	static const enum guest_type types[] = {GUEST_DATA, GUEST_EXITED, GUEST_HELLO, GUEST_POWER_OFF, (enum guest_type)99};
	struct guest_bench bench;
	struct wire_frame frame;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		guest_bench_open(&bench);
		assert_int_equal(wire_put(&bench.wire, types[i], 0, NULL, 0), 0);
		assert_int_equal(wire_receive(&bench.wire, &frame, 20000, &e), 0);
		assert_int_equal(frame.type, GUEST_FAILED);
		assert_int_equal(guest_bench_close(&bench), 0x100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_stay_apart),
		cmocka_unit_test(statuses),
		cmocka_unit_test(what_can_not_be_run),
		cmocka_unit_test(ten_megabytes_both_ways),
		cmocka_unit_test(the_environment),
		cmocka_unit_test(another_user),
		cmocka_unit_test(a_terminal),
		cmocka_unit_test(signals_are_passed_on),
		cmocka_unit_test(a_slow_reader_gets_no_more_than_the_window),
		cmocka_unit_test(nothing_is_left_of_a_broken_session),
		cmocka_unit_test(what_runs_on_in_the_background_stays),
		cmocka_unit_test(nonsense_ends_a_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
