/* Hosts whose KVM is missing, forbidden, too old or out of room: open and ioctl are this file's own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/kvm/private.h"
#include "engine/kvm/probe.h"
#include "kvm_bench.h"

static struct {
	int open_error;        /* of /dev/kvm */
	bool pretended;        /* /dev/kvm is another file, which answers as below */
	int version;
	unsigned lacks;        /* a capability */
	unsigned long refuses; /* a request of the real one, with `error` */
	int error;
	int slots;             /* of the real one; 0: as it says */
	long polling_ns;       /* that the engine asked the real one for; -1: it did not ask */
} host;

/* _FILE_OFFSET_BITS makes both names of the C library's. */
int open(const char *path, int flags, ...)
{
	const bool kvm = strcmp(path, "/dev/kvm") == 0;
	mode_t mode = 0;
	va_list rest;

	va_start(rest, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(rest, mode_t);
	va_end(rest);
	if (kvm && host.open_error) {
		errno = host.open_error;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, kvm && host.pretended ? "/dev/null" : path, flags, mode);
}

static int pretend(unsigned long request, unsigned long argument)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return host.version;
	case KVM_CHECK_EXTENSION:
		return argument != host.lacks;
	default:
		errno = ENOTTY;
		return -1;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	unsigned long argument;
	va_list rest;

	va_start(rest, request);
	argument = va_arg(rest, unsigned long);
	va_end(rest);
	if (host.refuses && request == host.refuses) {
		errno = host.error;
		return -1;
	}
	if (host.pretended && _IOC_TYPE(request) == KVMIO)
		return pretend(request, argument);
	if (host.slots && request == KVM_CHECK_EXTENSION && argument == KVM_CAP_NR_MEMSLOTS)
		return host.slots;
	if (request == KVM_ENABLE_CAP && ((struct kvm_enable_cap *)argument)->cap == KVM_CAP_HALT_POLL)
		host.polling_ns = (long)((struct kvm_enable_cap *)argument)->args[0];
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

static int reset_host(void **state)
{
	(void)state;
	memset(&host, 0, sizeof host);
	host.version = KVM_API_VERSION;
	return 0;
}

static void expect_words(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("expected '%s' in: %s", words, text);
}

/* The engine's own refusal, as the start of a machine tells it. */
static void expect_refusal(int kind, const char *words)
{
	struct error e = {.message = ""};
	struct bench b;
	int r = bench_try(&b, 1, 0, NULL, &e);

	bench_finish(&b);
	assert_true(r < 0);
	assert_int_equal(e.kind, kind);
	expect_words(e.message, words);
}

static void test_not_permitted(void **state)
{
	static const int errors[] = {EACCES, EPERM};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct engine_report report;
		struct kvm_probe probe;

		host.open_error = errors[i];
		kvm_probe(&probe);
		assert_int_equal(probe.verdict, KVM_DENIED);
		assert_int_equal(probe.error, -errors[i]);
		engine_kvm.probe(&report);
		assert_false(report.usable);
		expect_words(report.summary, "may not be opened");
		expect_words(report.remedy, "group kvm");
		engine_look(&engine_kvm, &report);
		assert_false(report.usable);
		expect_words(report.remedy, "group kvm");
		expect_refusal(ERROR_PERMISSION, "add this user to the group kvm");
	}
}

static void test_missing(void **state)
{
	static const int errors[] = {ENOENT, ENODEV, ENXIO};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct engine_report report;

		host.open_error = errors[i];
		engine_kvm.probe(&report);
		assert_false(report.usable);
		expect_words(report.summary, "no /dev/kvm");
		expect_words(report.remedy, "load kvm_intel or kvm_amd");
		engine_look(&engine_kvm, &report);
		assert_false(report.usable);
		expect_words(report.remedy, "load kvm_intel or kvm_amd");
		expect_refusal(ERROR_FAILED, "load kvm_intel or kvm_amd");
	}
}

static void test_not_kvm(void **state)
{
	struct engine_report report;

	(void)state;
	host.pretended = true;
	host.version = 11;
	engine_kvm.probe(&report);
	assert_false(report.usable);
	expect_words(report.summary, "KVM_GET_API_VERSION");
	expect_refusal(ERROR_FAILED, "no known interface: it takes Linux");
}

static void test_too_old(void **state)
{
	static const struct {
		unsigned capability;
		const char *words;
	} table[] = {
		{KVM_CAP_USER_MEMORY, "no memory slots: it takes Linux"},
		{KVM_CAP_IRQCHIP, "no interrupt controllers: it takes Linux"},
		{KVM_CAP_IRQFD, "no irqfd: it takes Linux"},
		{KVM_CAP_IOEVENTFD, "no ioeventfd: it takes Linux"},
		{KVM_CAP_X2APIC_API, "no x2APIC ids: it takes Linux"},
		{KVM_CAP_IMMEDIATE_EXIT, "no immediate exits: it takes Linux"},
	};

	(void)state;
	host.pretended = true;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		host.lacks = table[i].capability;
		expect_refusal(ERROR_FAILED, table[i].words);
	}
}

/* From here on a real one, of which one call fails. */
static void test_no_slots(void **state)
{
	static const int errors[] = {EINVAL, ENOMEM, ENOSPC};

	(void)state;
	if (!bench_can_run())
		skip();
	host.refuses = KVM_SET_USER_MEMORY_REGION;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		host.error = errors[i];
		expect_refusal(ERROR_FAILED, "KVM refuses RAM 'ram'");
	}
}

static void test_few_slots(void **state)
{
	struct error e = {.message = ""};
	struct memory memory;
	struct vm vm = {.platform.memory = &memory};

	(void)state;
	memory_init(&memory);
	assert_int_equal(memory_add_ram(&memory, gpa(0), 4096, "ram", &e), 0);
	assert_int_equal(memory_add_ram(&memory, gpa(8192), 4096, "high", &e), 0);
	if (!bench_can_run())
		skip();
	vm.fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	host.slots = 1;
	assert_int_equal(kvm_memory_check(&vm, &e), -ENOSPC);
	expect_words(e.message, "has 1 memory slots");
	close(vm.fd);
	memory_finish(&memory);
}

static void test_no_machine(void **state)
{
	static const struct {
		unsigned long request;
		const char *words;
	} table[] = {
		{KVM_CREATE_VM, "Cannot allocate memory"},
		{KVM_CREATE_IRQCHIP, "Cannot allocate memory"},
		{KVM_CREATE_PIT2, "Cannot allocate memory"},
		{KVM_CREATE_VCPU, "KVM makes no CPU 0"},
		{KVM_SET_CPUID2, "Cannot allocate memory"},
	};

	(void)state;
	if (!bench_can_run())
		skip();
	host.error = ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		host.refuses = table[i].request;
		expect_refusal(ERROR_FAILED, table[i].words);
	}
}

static long polling_of(unsigned cpus)
{
	struct error e = {.message = ""};
	struct bench b;

	host.polling_ns = -1;
	if (bench_try(&b, cpus, 0, NULL, &e) < 0)
		fail_msg("%s", e.message);
	bench_finish(&b);
	return host.polling_ns;
}

/* A processor that waits for a halted CPU is nobody else's: only where one is left for the rest. */
static void test_halt_polling(void **state)
{
	cpu_set_t all, one;
	unsigned first = 0;
	int fd;

	(void)state;
	if (!bench_can_run())
		skip();
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_has(fd, KVM_CAP_HALT_POLL) <= 0) {
		close(fd);
		skip();
	}
	close(fd);
	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	if (CPU_COUNT(&all) > 1)
		assert_int_equal(polling_of(1), 100000);
	assert_int_equal(polling_of((unsigned)CPU_COUNT(&all)), 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
	assert_int_equal(polling_of(1), 0);
	assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_not_permitted, reset_host),
		cmocka_unit_test_setup(test_missing, reset_host),
		cmocka_unit_test_setup(test_not_kvm, reset_host),
		cmocka_unit_test_setup(test_too_old, reset_host),
		cmocka_unit_test_setup(test_no_slots, reset_host),
		cmocka_unit_test_setup(test_few_slots, reset_host),
		cmocka_unit_test_setup(test_no_machine, reset_host),
		cmocka_unit_test_setup(test_halt_polling, reset_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
