/*
 * riscv/float.h against another implementation altogether: float-oracle executes the instructions under
 * qemu-riscv64, in every rounding mode, and its registers and fflags are compared with ours.
 * DOPPEL_FLOAT_ORACLE names the riscv64 program; without it, or without the emulator, the test counts as
 * skipped.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "float_cases.h"

struct oracle {
	FILE *cases;
	FILE *outcomes;
	unsigned long asked;
	unsigned long compared;
	unsigned long differences;
};

static FILE *scratch_file(void)
{
	char name[] = "/tmp/doppel-float-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(name);
	FILE *file = fdopen(fd, "w+");
	assert_non_null(file);
	return file;
}

static void ask(const struct float_case *c, void *context)
{
	struct oracle *oracle = context;
	assert_int_equal(fwrite(c, sizeof *c, 1, oracle->cases), 1);
	oracle->asked++;
}

/* Whether the emulator could be started on these files; *status is then how it ended, as waitpid tells. */
static bool run_oracle(const char *program, FILE *in, FILE *out, int *status)
{
	char *const arguments[] = { "qemu-riscv64", "-cpu", "rv64,Zfh=true", (char *)(uintptr_t)program, NULL };
	char *const no_environment[] = { NULL };
	posix_spawn_file_actions_t files;
	pid_t child;

	rewind(in);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fileno(in), STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, fileno(out), STDOUT_FILENO);
	int error = posix_spawnp(&child, arguments[0], &files, NULL, arguments, no_environment);
	posix_spawn_file_actions_destroy(&files);
	if (error)
		return false;
	assert_int_equal(waitpid(child, status, 0), child);
	rewind(out);
	return true;
}

static void check(struct oracle *oracle, const struct float_case *c, struct float_outcome expected,
		  struct float_outcome actual)
{
	if (expected.value == actual.value && expected.flags == actual.flags)
		return;
	if (oracle->differences++ < 20)
		float_case_print(c, expected, actual);
}

static void compare(struct oracle *oracle)
{
	struct float_case c;
	struct float_outcome expected;

	rewind(oracle->cases);
	while (fread(&c, sizeof c, 1, oracle->cases) == 1) {
		oracle->compared++;
		assert_int_equal(fread(&expected, sizeof expected, 1, oracle->outcomes), 1);
		struct float_outcome actual = float_perform(&c, 0);
		struct float_outcome soft = float_perform_soft(&c, 0);
		check(oracle, &c, expected, actual);
		check(oracle, &c, expected, soft);
	}
}

static void agrees_with_the_oracle(int bits)
{
	const char *program = getenv("DOPPEL_FLOAT_ORACLE");
	struct oracle oracle = { 0 };

	if (!program || access(program, R_OK) != 0) {
		print_message("skipped: no riscv64 cross compiler built float-oracle\n");
		skip();
	}
	oracle.cases = scratch_file();
	oracle.outcomes = scratch_file();
	for (enum float_operation i = 0; i < FLOAT_OPERATION_COUNT; i++) {
		if (float_operations[i].bits == bits)
			float_cases_of(i, 1000, ask, &oracle);
	}
	int status = 0;
	bool ran = run_oracle(program, oracle.cases, oracle.outcomes, &status);
	if (ran && status == 0)
		compare(&oracle);
	fclose(oracle.cases);
	fclose(oracle.outcomes);
	if (!ran) {
		print_message("skipped: qemu-riscv64 can not be started\n");
		skip();
	}
	assert_int_equal(status, 0);
	assert_int_equal(oracle.differences, 0);
	assert_int_equal(oracle.compared, oracle.asked);
	assert_true(oracle.asked > 10000);
}

static void half_agrees(void **state)
{
	(void)state;
	agrees_with_the_oracle(16);
}

static void single_agrees(void **state)
{
	(void)state;
	agrees_with_the_oracle(32);
}

static void double_agrees(void **state)
{
	(void)state;
	agrees_with_the_oracle(64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_agrees),
		cmocka_unit_test(single_agrees),
		cmocka_unit_test(double_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
