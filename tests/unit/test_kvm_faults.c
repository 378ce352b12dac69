/* The engine kvm when the host's kernel or its processor fails: each is one report, with the registers in the log. */
#include "kvm_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/kvm/private.h"
#include "kvm_guests.h"

static int log_fd;

static void begin_log(void)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(log_fd >= 0);
	log_set_fd(log_fd);
}

static void end_log(char *text, size_t room)
{
	ssize_t length = pread(log_fd, text, room - 1, 0);

	log_set_fd(STDERR_FILENO);
	close(log_fd);
	assert_true(length >= 0);
	text[length] = '\0';
}

static void expect_words(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("\"%s\" is not in: %s", words, text);
}

static void expect_failure(const struct engine_exit *out, const char *words)
{
	char log[8192];

	end_log(log, sizeof log);
	assert_int_equal(out->reason, ENGINE_EXIT_FAILED);
	expect_words(out->message, words);
	expect_words(log, words);
	expect_words(log, "rip");
}

/* As the kernel would tell them, which it does too seldom to wait for. */
static void exit_page(struct kvm_run *run, uint32_t reason)
{
	run->exit_reason = reason;
	switch (reason) {
	case KVM_EXIT_FAIL_ENTRY:
		run->fail_entry.hardware_entry_failure_reason = 0x80000021;
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
		run->internal.ndata = 0xffffffff;
		break;
	case KVM_EXIT_UNKNOWN:
		run->hw.hardware_exit_reason = 0x123;
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		run->system_event.type = 0x99;
		break;
	case KVM_EXIT_IO:
		run->io.data_offset = UINT64_MAX;
		break;
	case KVM_EXIT_MMIO:
		run->mmio.len = 9;
		break;
	default:
		break;
	}
}

static void test_exits(void **state)
{
	static const struct {
		uint32_t reason;
		const char *words;
	} exits[] = {
		{KVM_EXIT_FAIL_ENTRY, "refuses the guest's state (reason 0x80000021)"},
		{KVM_EXIT_INTERNAL_ERROR, "internal error (1: it can not emulate an instruction"},
		{KVM_EXIT_SHUTDOWN, "a triple fault"},
		{KVM_EXIT_UNKNOWN, "a reason unknown to KVM (0x123)"},
		{KVM_EXIT_SYSTEM_EVENT, "unknown event 153"},
		{KVM_EXIT_IO, "beyond its page"},
		{KVM_EXIT_MMIO, "an access of 9 bytes"},
		{KVM_EXIT_HYPERV, "not served here (exit 27)"},
		{0xffffffff, "not served here (exit 4294967295)"},
	};
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		struct engine_exit out = {.reason = ENGINE_EXIT_KICKED};

		begin_log();
		exit_page(b.vcpus[0]->run, exits[i].reason);
		assert_false(kvm_serve_exit(b.vcpus[0], &out));
		expect_failure(&out, exits[i].words);
	}
	bench_finish(&b);
}

static void test_errors(void **state)
{
	static const struct {
		int code;
		const char *words;
	} errors[] = {
		{-EFAULT, "lost memory of the guest's"},
		{-ENOMEM, "KVM_RUN failed: Cannot allocate memory"},
	};
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct engine_exit out = {.reason = ENGINE_EXIT_KICKED};

		begin_log();
		kvm_report_error(b.vcpus[0], errors[i].code, &out);
		expect_failure(&out, errors[i].words);
	}
	bench_finish(&b);
}

GUEST(astray, ".code64\nmov $0xd0000000, %eax\njmp *%rax");

/* Nothing is to be executed among a device's registers: what KVM makes of it differs, but it ends, and the next guest runs. */
static void test_code_in_registers(void **state)
{
	struct engine_exit out;
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_astray, guest_astray_end);
	bench_long(&b);
	bench_load(&b);
	begin_log();
	out = bench_run_one(&b, 0);
	expect_failure(&out, "");
	bench_finish(&b);
}

static int next_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Without descriptors no machine is made, whichever is the first that is missing, and nothing is left of it. */
static void test_no_descriptors(void **state)
{
	struct rlimit before, few;
	int first = next_descriptor(), r = -1;
	unsigned refusals = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	for (unsigned room = 0; r < 0; room++) {
		struct error e = {.message = ""};
		struct bench b;

		few.rlim_cur = (rlim_t)first + room;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = bench_try(&b, 2, 0, NULL, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (r < 0) {
			refusals++;
			expect_words(e.message, "Too many open files");
		}
		bench_finish(&b);
		assert_int_equal(next_descriptor(), first);
	}
	/* /dev/kvm, the machine, and two CPUs. */
	assert_in_range(refusals, 4, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exits),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_code_in_registers),
		cmocka_unit_test(test_no_descriptors),
	};

	if (!bench_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
