/* The code cache: two views of one memory, of which one is written and the other runs. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/translate/cache.h"

#define SIZE (UINT64_C(1) << 20)

static struct code_cache *new_cache(uint64_t size)
{
	struct error e = {0};
	struct code_cache *cache = code_cache_new(size, &e);

	if (!cache)
		fail_msg("code_cache_new(%llu): %s", (unsigned long long)size, e.message);
	return cache;
}

typedef int code_fn(void);

static int run(const uint8_t *executable)
{
	code_fn *code;

	memcpy(&code, &executable, sizeof(code));
	return code();
}

/* mov eax, value; ret */
static size_t write_answer(uint8_t *writable, uint8_t value)
{
	const uint8_t code[] = {0xb8, value, 0, 0, 0, 0xc3};

	memcpy(writable, code, sizeof(code));
	return sizeof(code);
}

static void test_written_code_runs(void **state)
{
	struct code_cache *cache = new_cache(SIZE);
	const uint8_t *executable;
	uint8_t *writable;
	(void)state;

	assert_true(code_cache_begin(cache, 64, &writable, &executable));
	assert_ptr_not_equal(writable, executable);
	code_cache_end(cache, write_answer(writable, 42));
#ifdef __x86_64__
	assert_int_equal(run(executable), 42);
	write_answer(writable, 43);
	assert_int_equal(run(executable), 43);
#endif
	assert_memory_equal(writable, executable, 6);
	code_cache_free(cache);
}

/* The signal that a child dies of when it stores to, or calls, an address of the cache. */
static int signal_of_store(uint8_t *to)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		prctl(PR_SET_DUMPABLE, 0);
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)to = 0xcc;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static int signal_of_call(const uint8_t *code)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		prctl(PR_SET_DUMPABLE, 0);
		signal(SIGSEGV, SIG_DFL);
		run(code);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_no_address_is_both(void **state)
{
	struct code_cache *cache = new_cache(SIZE);
	const uint8_t *executable;
	uint8_t *writable;
	(void)state;

	assert_true(code_cache_begin(cache, SIZE, &writable, &executable));
	for (size_t at = 0; at < SIZE; at += SIZE - 4096) {
		write_answer(writable + at, 7);
		assert_int_equal(signal_of_store((uint8_t *)(uintptr_t)executable + at), SIGSEGV);
		assert_int_equal(signal_of_store(writable + at + 64), 0);
		assert_int_equal(signal_of_call(writable + at), SIGSEGV);
	}
	code_cache_free(cache);
}

/* What the kernel says of every mapping of the cache: none is both writable and executable. */
static void test_kernel_agrees(void **state)
{
	struct code_cache *cache = new_cache(SIZE);
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int views = 0;
	char line[512];
	(void)state;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "doppel-code"))
			continue;
		const char *rights = strchr(line, ' ') + 1;

		views++;
		if (rights[1] == 'w' && rights[2] == 'x')
			fail_msg("writable and executable: %s", line);
	}
	fclose(maps);
	assert_int_equal(views, 2);
	code_cache_free(cache);
}

static void test_space_is_bumped(void **state)
{
	struct code_cache *cache = new_cache(SIZE);
	const uint8_t *first, *second;
	uint8_t *writable, *next;
	(void)state;

	assert_true(code_cache_begin(cache, 100, &writable, &first));
	code_cache_end(cache, 33);
	assert_true(code_cache_begin(cache, 100, &next, &second));
	assert_int_equal(next - writable, 48);
	assert_int_equal(second - first, 48);
	assert_int_equal(code_cache_use(cache).used, 48);
	assert_int_equal(code_cache_use(cache).pieces, 1);
	code_cache_end(cache, 0);
	assert_int_equal(code_cache_use(cache).used, 48);
	assert_int_equal(code_cache_use(cache).pieces, 1);
	code_cache_free(cache);
}

static void test_space_ends(void **state)
{
	struct code_cache *cache = new_cache(CODE_CACHE_MIN);
	const uint8_t *executable = NULL;
	uint8_t *writable = NULL;
	(void)state;

	assert_false(code_cache_begin(cache, CODE_CACHE_MIN + 1, &writable, &executable));
	assert_false(code_cache_begin(cache, SIZE_MAX, &writable, &executable));
	assert_null(writable);
	assert_true(code_cache_begin(cache, CODE_CACHE_MIN, &writable, &executable));
	code_cache_end(cache, CODE_CACHE_MIN - 1);
	assert_int_equal(code_cache_use(cache).used, CODE_CACHE_MIN);
	assert_false(code_cache_begin(cache, 1, &writable, &executable));
	assert_int_equal(code_cache_room(cache), 0);
	code_cache_move(cache, 0, CODE_CACHE_MIN);
	assert_true(code_cache_begin(cache, CODE_CACHE_MIN, &writable, &executable));
	code_cache_free(cache);
}

static void test_moves_within_bounds(void **state)
{
	struct code_cache *cache = new_cache(SIZE);
	const uint8_t *kept, *executable, *again;
	uint8_t *writable;
	(void)state;

	assert_true(code_cache_begin(cache, 64, &writable, &kept));
	code_cache_end(cache, write_answer(writable, 11));
	assert_true(code_cache_begin(cache, 64, &writable, &executable));
	code_cache_end(cache, write_answer(writable, 12));
	code_cache_move(cache, 16, 96);
	assert_int_equal(code_cache_use(cache).used, 16);
	assert_int_equal(code_cache_room(cache), 80);
	assert_false(code_cache_begin(cache, 81, &writable, &again));
	assert_true(code_cache_begin(cache, 80, &writable, &again));
	assert_ptr_equal(again, executable);
	code_cache_end(cache, 80);
	assert_int_equal(code_cache_room(cache), 0);
	assert_int_equal(code_cache_use(cache).pieces, 3);
#ifdef __x86_64__
	assert_int_equal(run(kept), 11);
#endif
	code_cache_free(cache);
}

static void test_addresses_convert(void **state)
{
	struct code_cache *cache = new_cache(SIZE);
	const uint8_t *executable;
	uint8_t *writable;
	(void)state;

	assert_true(code_cache_begin(cache, SIZE, &writable, &executable));
	for (size_t at = 0; at <= SIZE; at += SIZE / 8) {
		assert_ptr_equal(code_cache_exec(cache, writable + at), executable + at);
		assert_ptr_equal(code_cache_write(cache, executable + at), writable + at);
		assert_ptr_equal(code_cache_at(cache, at), executable + at);
		assert_int_equal(code_cache_offset(cache, executable + at), at);
		assert_int_equal(code_cache_holds(cache, executable + at), at < SIZE);
	}
	assert_false(code_cache_holds(cache, executable - 1));
	assert_false(code_cache_holds(cache, writable));
	code_cache_free(cache);
}

static void test_size_is_checked(void **state)
{
	static const uint64_t bad[] = {0, 1, CODE_CACHE_MIN - 1, CODE_CACHE_MAX + 1, UINT64_MAX};
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error e = {0};

		assert_null(code_cache_new(bad[i], &e));
		assert_int_equal(e.kind, ERROR_USAGE);
	}
	struct code_cache *cache = new_cache(CODE_CACHE_MIN + 1);

	assert_int_equal(code_cache_use(cache).size % (uint64_t)sysconf(_SC_PAGESIZE), 0);
	assert_true(code_cache_use(cache).size > CODE_CACHE_MIN);
	code_cache_free(cache);
	cache = new_cache(CODE_CACHE_MAX);
	code_cache_free(cache);
	code_cache_free(NULL);
}

/* Too few descriptors: an error with its cause, not a crash. */
static void test_failure_is_told(void **state)
{
	struct rlimit old, none = {0};
	struct error e = {0};
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	struct code_cache *cache = code_cache_new(SIZE, &e);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_null(cache);
	assert_int_equal(e.kind, error_kind_of(-EMFILE));
	assert_non_null(strstr(e.message, "code cache"));
}

/* From here on this process may map no memory to be executed, as on a hardened host. */
static int forbid_executable_memory(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(rules) / sizeof(rules[0]), .filter = rules};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

enum { CHILD_GOOD, CHILD_NO_FILTER, CHILD_NO_ERROR, CHILD_WRONG_KIND, CHILD_NO_REMEDY };

static int status_on_hardened_host(void)
{
	struct error e = {0};

	if (forbid_executable_memory())
		return CHILD_NO_FILTER;
	if (code_cache_new(SIZE, &e))
		return CHILD_NO_ERROR;
	if (e.kind != ERROR_PERMISSION)
		return CHILD_WRONG_KIND;
	return strstr(e.message, "--engine interpret") ? CHILD_GOOD : CHILD_NO_REMEDY;
}

static void test_hardened_host(void **state)
{
	pid_t child = fork();
	int status;
	(void)state;

	if (child == 0)
		_exit(status_on_hardened_host());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_NO_FILTER)
		skip();
	assert_int_equal(WEXITSTATUS(status), CHILD_GOOD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_code_runs), cmocka_unit_test(test_no_address_is_both),
		cmocka_unit_test(test_kernel_agrees),     cmocka_unit_test(test_space_is_bumped),
		cmocka_unit_test(test_space_ends),        cmocka_unit_test(test_moves_within_bounds),
		cmocka_unit_test(test_addresses_convert), cmocka_unit_test(test_size_is_checked),
		cmocka_unit_test(test_failure_is_told),   cmocka_unit_test(test_hardened_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
