/* The SBI, call by call: what each answers, and what it leaves behind, for friendly and hostile arguments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "riscv/csr.h"
#include "riscv/sbi.h"

#define HARTS    4
#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE (1 * MIB)
#define RAM_END  (RAM_BASE + RAM_SIZE)
#define NEVER    UINT64_MAX

enum { A0 = 10, A1 = 11, A7 = 17 };
enum {
	LEGACY_SET_TIMER = 0,
	LEGACY_PUTCHAR = 1,
	LEGACY_GETCHAR = 2,
	LEGACY_SHUTDOWN = 8,
	BASE = 0x10,
	TIME = 0x54494d45,
	IPI = 0x735049,
	RFENCE = 0x52464e43,
	HSM = 0x48534d,
	SRST = 0x53525354,
	DBCN = 0x4442434e,
	SUSP = 0x53555350,
	STA = 0x535441,
	PMU = 0x504d55,
};
enum {
	OK = 0,
	FAILED = -1,
	NOT_SUPPORTED = -2,
	INVALID_PARAM = -3,
	DENIED = -4,
	INVALID_ADDRESS = -5,
	ALREADY_AVAILABLE = -6,
	ALREADY_STARTED = -7,
	ALREADY_STOPPED = -8,
	NO_SHMEM = -9,
};

struct fixture {
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster;
	struct hart harts[HARTS];
	struct sbi *sbi;
	unsigned kicks[HARTS], flushes[HARTS], code_fences[HARTS];
	enum power_action action;
	unsigned action_count, code;
	uint8_t output[256 * KIB];
	size_t output_length;
	const char *input;
};

static struct fixture *the;

static void kick(struct hart *hart)
{
	the->kicks[hart->cpu.id]++;
}

static void flush_tlb(struct hart *hart, bool one_page, gva_t address, bool one_asid, uint16_t asid)
{
	(void)address;
	(void)asid;
	assert_false(one_page);
	assert_false(one_asid);
	the->flushes[hart->cpu.id]++;
}

static void fence_i(struct hart *hart)
{
	the->code_fences[hart->cpu.id]++;
}

static const struct hart_engine_ops engine = {kick, flush_tlb, fence_i};

static void console_write(void *console, const uint8_t *bytes, size_t length)
{
	struct fixture *f = console;

	assert_true(length <= sizeof(f->output) - f->output_length);
	memcpy(f->output + f->output_length, bytes, length);
	f->output_length += length;
}

static size_t console_read(void *console, uint8_t *bytes, size_t room)
{
	struct fixture *f = console;
	size_t length = strnlen(f->input, room);

	memcpy(bytes, f->input, length);
	f->input += length;
	return length;
}

static void power_request_seen(void *machine, enum power_action action, unsigned code)
{
	struct fixture *f = machine;

	f->action = action;
	f->code = code;
	f->action_count++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sbi_console console = {console_write, console_read, f};
	struct error e;

	the = f;
	memory_init(&f->memory);
	assert_int_equal(memory_add_ram(&f->memory, gpa(RAM_BASE), RAM_SIZE, "ram", &e), 0);
	clock_init(&f->clock);
	clock_set(&f->clock, 1000);
	f->cluster = (struct hart_cluster){
		.memory = &f->memory,
		.bus = &f->bus,
		.clock = &f->clock,
		.count = HARTS,
		.reset_pc = RAM_BASE,
		.power = {power_request_seen, f},
	};
	f->input = "";
	assert_int_equal(sbi_new(&f->sbi, &f->cluster, &console, &e), 0);
	f->cluster.sbi = f->sbi;
	for (unsigned i = 0; i < HARTS; i++) {
		hart_init(&f->harts[i], &f->cluster, i);
		f->cluster.harts[i] = &f->harts[i];
		f->harts[i].engine = &engine;
		sbi_boot_state(&f->harts[i]);
		atomic_store(&f->harts[i].power, i ? HART_STOPPED : HART_STARTED);
	}
	memset(f->kicks, 0, sizeof(f->kicks));
	memset(f->flushes, 0, sizeof(f->flushes));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	sbi_free(f->sbi);
	memory_finish(&f->memory);
	free(f);
	return 0;
}

struct answer {
	int64_t error;
	uint64_t value;
};

/* One call from `hart` with up to five arguments. */
static struct answer call(struct hart *hart, uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1,
			  uint64_t a2, uint64_t a3, uint64_t a4)
{
	uint64_t pc = hart->pc, arguments[] = {a0, a1, a2, a3, a4, 0, function, extension};

	for (unsigned i = 0; i < ARRAY_SIZE(arguments); i++)
		hart->x[A0 + i] = arguments[i];
	sbi_call(the->sbi, hart);
	assert_int_equal(hart->pc, pc + 4);
	for (unsigned i = 2; i < ARRAY_SIZE(arguments); i++)
		assert_int_equal(hart->x[A0 + i], arguments[i]);
	return (struct answer){(int64_t)hart->x[A0], hart->x[A1]};
}

#define CALL_5(e, f, a, b, c, d, g, ...) call(&the->harts[0], e, f, a, b, c, d, g)
#define CALL(...)                        CALL_5(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static void expect(struct answer answer, int64_t error, uint64_t value)
{
	assert_int_equal(answer.error, error);
	assert_int_equal(answer.value, value);
}

static void test_base(void **state)
{
	static const uint64_t present[] = {LEGACY_SET_TIMER,
					   LEGACY_PUTCHAR,
					   LEGACY_GETCHAR,
					   LEGACY_SHUTDOWN,
					   BASE,
					   TIME,
					   IPI,
					   RFENCE,
					   HSM,
					   SRST,
					   DBCN,
					   SUSP,
					   STA,
					   PMU};
	/* clear_ipi, send_ipi, fences (legacy); CPPC, NACL, FWFT, SSE; sign-extended and truncated forms of those
	 * that are there. */
	static const uint64_t absent[] = {3,
					  4,
					  5,
					  6,
					  7,
					  9,
					  0xf,
					  0x43505043,
					  0x4e41434c,
					  0x46574654,
					  0x535345,
					  UINT64_MAX,
					  TIME | UINT64_C(1) << 32,
					  0xffffffff00000010};

	(void)state;
	expect(CALL(BASE, 0), OK, 0x02000000);
	expect(CALL(BASE, 1), OK, SBI_IMPLEMENTATION_ID);
	expect(CALL(BASE, 2), OK, SBI_IMPLEMENTATION_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(present); i++)
		expect(CALL(BASE, 3, present[i]), OK, 1);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		expect(CALL(BASE, 3, absent[i]), OK, 0);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t id = 1;

		assert_true(csr_peek(&the->harts[0], CSR_MVENDORID + i, &id));
		expect(CALL(BASE, 4 + i), OK, id);
	}
}

static void test_unknown_calls_are_not_supported(void **state)
{
	static const struct {
		uint64_t extension, function;
	} calls[] = {
		{BASE, 7},
		{TIME, 1},
		{IPI, 1},
		{RFENCE, 3},
		{RFENCE, 6},
		{RFENCE, 7},
		{HSM, 4},
		{SRST, 1},
		{DBCN, 3},
		{SUSP, 1},
		{STA, 1},
		{PMU, 7},
		{PMU, 8},
		{0x12345678, 0},
		{UINT64_MAX, 0},
		{UINT64_MAX, UINT64_MAX},
		{BASE, UINT64_MAX},
		{HSM, UINT64_C(1) << 32},
		{HSM, UINT64_C(1) << 63},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		expect(CALL(calls[i].extension, calls[i].function), NOT_SUPPORTED, 0);
}

static void test_absent_legacy_calls_keep_a1(void **state)
{
	static const uint64_t legacy[] = {3, 4, 5, 6, 7, 9, 15};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(legacy); i++)
		expect(CALL(legacy[i], 0, 1, 0xa1), NOT_SUPPORTED, 0xa1);
}

static void timer_calls(uint64_t extension, uint64_t a1_after)
{
	struct hart *hart = &the->harts[0];

	expect(CALL(extension, 0, 1001, a1_after), OK, a1_after);
	assert_int_equal(hart->stimecmp, 1001);
	assert_false(hart_mip(hart) & IRQ_BIT(IRQ_STI));
	expect(CALL(extension, 0, 1000, a1_after), OK, a1_after);
	assert_true(hart_mip(hart) & IRQ_BIT(IRQ_STI));
	expect(CALL(extension, 0, NEVER, a1_after), OK, a1_after);
	assert_false(hart_mip(hart) & IRQ_BIT(IRQ_STI));
}

static void test_timer(void **state)
{
	(void)state;
	timer_calls(TIME, 0);
	timer_calls(LEGACY_SET_TIMER, 0xa1);
}

static unsigned harts_with_ipi(void)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < HARTS; i++) {
		if (hart_mip(&the->harts[i]) & IRQ_BIT(IRQ_SSI))
			mask |= 1u << i;
		hart_set_pending(&the->harts[i], IRQ_BIT(IRQ_SSI), false);
	}
	return mask;
}

static void start_all(void)
{
	for (unsigned i = 0; i < HARTS; i++)
		atomic_store(&the->harts[i].power, HART_STARTED);
}

static void test_ipi(void **state)
{
	static const struct {
		uint64_t mask, base;
		int error;
		unsigned harts;
	} calls[] = {
		{0x6, 0, OK, 0x6},
		{0x1, 0, OK, 0x1},
		{0x3, 2, OK, 0xc},
		{0x0, 3, OK, 0},
		{0, UINT64_MAX, OK, 0xf},
		{UINT64_MAX, UINT64_MAX, OK, 0xf},
		{0x10, 0, INVALID_PARAM, 0},
		{0x1f, 0, INVALID_PARAM, 0},
		{0x4, 2, INVALID_PARAM, 0},
		{UINT64_MAX, 0, INVALID_PARAM, 0},
		{1, 4, INVALID_PARAM, 0},
		{0, 4, INVALID_PARAM, 0},
		{1, 64, INVALID_PARAM, 0},
		{1, UINT64_MAX - 1, INVALID_PARAM, 0},
		{2, UINT64_MAX - 1, INVALID_PARAM, 0},
		{UINT64_C(1) << 63, 1, INVALID_PARAM, 0},
	};

	(void)state;
	start_all();
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		expect(CALL(IPI, 0, calls[i].mask, calls[i].base), calls[i].error, 0);
		assert_int_equal(harts_with_ipi(), calls[i].harts);
	}
	atomic_store(&the->harts[1].power, HART_STOPPED);
	atomic_store(&the->harts[2].power, HART_SUSPENDED);
	expect(CALL(IPI, 0, 0, UINT64_MAX), OK, 0);
	assert_int_equal(harts_with_ipi(), 0xd);
}

static void test_fences(void **state)
{
	(void)state;
	start_all();
	expect(CALL(RFENCE, 0, 0x5, 0), OK, 0);
	assert_int_equal(the->code_fences[0], 1);
	assert_int_equal(the->harts[2].requests, HART_REQUEST_FENCE_I);
	assert_int_equal(the->harts[1].requests, 0);
	expect(CALL(RFENCE, 1, 0x2, 0, 0x1000, 0x1000), OK, 0);
	assert_int_equal(the->harts[1].requests, HART_REQUEST_FLUSH_TLB);
	assert_int_equal(the->flushes[0], 0);
	expect(CALL(RFENCE, 2, 0, UINT64_MAX, 0, UINT64_MAX, 77), OK, 0);
	assert_int_equal(the->flushes[0], 1);
	assert_int_equal(the->harts[3].requests, HART_REQUEST_FLUSH_TLB);
	assert_int_equal(the->harts[2].requests, HART_REQUEST_FLUSH_TLB | HART_REQUEST_FENCE_I);
}

static void test_fences_refuse(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 3; f++) {
		expect(CALL(RFENCE, f, 0x10, 0), INVALID_PARAM, 0);
		expect(CALL(RFENCE, f, 1, 4), INVALID_PARAM, 0);
		expect(CALL(RFENCE, f, 1, UINT64_MAX - 1), INVALID_PARAM, 0);
	}
	expect(CALL(RFENCE, 1, 1, 0, UINT64_MAX, 2), INVALID_ADDRESS, 0);
	expect(CALL(RFENCE, 1, 1, 0, 0xfffffffffffff000, 0x1001), INVALID_ADDRESS, 0);
	assert_int_equal(the->flushes[0], 0);
	/* The last page of the address space is fine; so are the two ways to say "everything". */
	expect(CALL(RFENCE, 1, 1, 0, 0xfffffffffffff000, 0x1000), OK, 0);
	expect(CALL(RFENCE, 1, 1, 0, 0, 0), OK, 0);
	expect(CALL(RFENCE, 1, 1, 0, 0x1000, UINT64_MAX), OK, 0);
	assert_int_equal(the->flushes[0], 3);
}

static void test_hart_start(void **state)
{
	struct hart *target = &the->harts[1];

	(void)state;
	expect(CALL(HSM, 2, 1), OK, HART_STOPPED);
	expect(CALL(HSM, 0, 1, RAM_BASE + 0x1000, 0xfeed), OK, 0);
	expect(CALL(HSM, 2, 1), OK, HART_START_PENDING);
	assert_int_equal(the->kicks[1], 1);
	expect(CALL(HSM, 0, 1, RAM_BASE, 0), ALREADY_AVAILABLE, 0);
	target->satp = UINT64_MAX;
	target->mstatus |= MSTATUS_SIE;
	hart_serve_requests(target);
	expect(CALL(HSM, 2, 1), OK, HART_STARTED);
	assert_int_equal(target->pc, RAM_BASE + 0x1000);
	assert_int_equal(target->x[A0], 1);
	assert_int_equal(target->x[A1], 0xfeed);
	assert_int_equal(target->priv, PRIV_S);
	assert_int_equal(target->satp, 0);
	assert_int_equal(target->mstatus & MSTATUS_SIE, 0);
	expect(CALL(HSM, 0, 1, RAM_BASE, 0), ALREADY_AVAILABLE, 0);
	expect(CALL(HSM, 0, 0, RAM_BASE, 0), ALREADY_AVAILABLE, 0);
}

/* Physical addresses at which no hart can begin. */
static const uint64_t bad_addresses[] = {
	0,
	1,
	RAM_BASE + 1,
	RAM_BASE - 2,
	RAM_END,
	RAM_END - 1,
	0x10000000,
	UINT64_MAX,
	UINT64_MAX - 1,
	RAM_BASE | UINT64_C(1) << 56,
	RAM_BASE | UINT64_C(1) << 63,
};

static void test_hart_start_refuses(void **state)
{
	static const uint64_t bad_harts[] = {HARTS, 31, 32, 64, UINT64_C(1) << 32, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_harts); i++) {
		expect(CALL(HSM, 0, bad_harts[i], RAM_BASE, 0), INVALID_PARAM, 0);
		expect(CALL(HSM, 2, bad_harts[i]), INVALID_PARAM, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_addresses); i++)
		expect(CALL(HSM, 0, 1, bad_addresses[i], 0), INVALID_ADDRESS, 0);
	expect(CALL(HSM, 2, 1), OK, HART_STOPPED);
	assert_int_equal(the->harts[1].requests, 0);
	expect(CALL(HSM, 0, 1, RAM_END - 2, 0), OK, 0);
}

static void test_hart_stop(void **state)
{
	struct hart *hart = &the->harts[0];

	(void)state;
	hart->stimecmp = 5;
	hart->sbi_sta_address = RAM_BASE;
	hart_set_pending(hart, IRQ_BIT(IRQ_SSI), true);
	(void)CALL(HSM, 1);
	assert_int_equal(hart->power, HART_STOPPED);
	assert_int_equal(hart_mip(hart), 0);
	assert_int_equal(hart->sbi_sta_address, 0);
	expect(call(&the->harts[1], HSM, 0, 0, RAM_BASE, 7, 0, 0), OK, 0);
	hart_serve_requests(hart);
	assert_int_equal(hart->power, HART_STARTED);
	assert_int_equal(hart->x[A1], 7);
}

static void test_suspend_retentive(void **state)
{
	struct hart *hart = &the->harts[0];

	(void)state;
	assert_true(sbi_resume(hart));
	hart->x[5] = 0x1234;
	hart->satp = UINT64_C(8) << 60;
	hart->mie = IRQ_BIT(IRQ_SSI);
	/* resume_addr is not looked at; the upper half of the 32-bit type neither. */
	expect(CALL(HSM, 3, UINT64_C(0xabcd) << 32, 1, 2), OK, 0);
	expect(call(&the->harts[1], HSM, 2, 0, 0, 0, 0, 0), OK, HART_SUSPENDED);
	assert_true(hart->waiting);
	hart_set_pending(hart, IRQ_BIT(IRQ_STI), true);
	assert_false(sbi_resume(hart));
	hart_set_pending(hart, IRQ_BIT(IRQ_SSI), true);
	assert_true(sbi_resume(hart));
	assert_int_equal(hart->power, HART_STARTED);
	assert_false(hart->waiting);
	assert_int_equal(hart->x[A0], OK);
	assert_int_equal(hart->x[5], 0x1234);
	assert_int_equal(hart->satp, UINT64_C(8) << 60);
	assert_int_equal(hart->pc, RAM_BASE + 4);
}

static void resume_at(struct hart *hart, uint64_t pc, uint64_t opaque)
{
	hart->satp = UINT64_C(8) << 60;
	hart->mie = IRQ_BIT(IRQ_STI);
	hart->mstatus |= MSTATUS_SIE;
	assert_int_equal(hart->power, HART_SUSPENDED);
	assert_false(sbi_resume(hart));
	clock_set(&the->clock, 2000);
	hart_update_timers(hart, 2000);
	assert_true(sbi_resume(hart));
	assert_int_equal(hart->power, HART_STARTED);
	assert_int_equal(hart->pc, pc);
	assert_int_equal(hart->x[A0], hart->cpu.id);
	assert_int_equal(hart->x[A1], opaque);
	assert_int_equal(hart->satp, 0);
	assert_int_equal(hart->mstatus & MSTATUS_SIE, 0);
	assert_false(hart->waiting);
	/* What woke the hart is still there to be seen. */
	assert_int_equal(hart->stimecmp, 2000);
	assert_true(hart_mip(hart) & IRQ_BIT(IRQ_STI));
}

static void test_suspend_non_retentive(void **state)
{
	struct hart *hart = &the->harts[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_addresses); i++)
		expect(CALL(HSM, 3, 0x80000000, bad_addresses[i], 0), INVALID_ADDRESS, 0);
	assert_int_equal(hart->power, HART_STARTED);
	hart->stimecmp = 2000;
	/* Sign-extended, as the calling convention has it for a 32-bit argument. */
	(void)CALL(HSM, 3, 0xffffffff80000000, RAM_BASE + 0x200, 99);
	resume_at(hart, RAM_BASE + 0x200, 99);
}

static void test_suspend_types_refused(void **state)
{
	static const uint64_t types[] = {1,          0x0fffffff, 0x10000000, 0x7fffffff, 0x80000001,
					 0x8fffffff, 0x90000000, 0xffffffff, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		expect(CALL(HSM, 3, types[i], RAM_BASE, 0), INVALID_PARAM, 0);
	assert_int_equal(the->harts[0].power, HART_STARTED);
}

static void test_system_suspend(void **state)
{
	struct hart *hart = &the->harts[0];

	(void)state;
	expect(CALL(SUSP, 0, 1, RAM_BASE, 0), INVALID_PARAM, 0);
	expect(CALL(SUSP, 0, 0x80000000, RAM_BASE, 0), INVALID_PARAM, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_addresses); i++)
		expect(CALL(SUSP, 0, 0, bad_addresses[i], 0), INVALID_ADDRESS, 0);
	for (uint32_t power = HART_STARTED; power <= HART_SUSPENDED; power++) {
		if (power == HART_STOPPED)
			continue;
		atomic_store(&the->harts[3].power, power);
		expect(CALL(SUSP, 0, 0, RAM_BASE, 0), DENIED, 0);
	}
	atomic_store(&the->harts[3].power, HART_STOPPED);
	assert_int_equal(hart->power, HART_STARTED);
	hart->stimecmp = 2000;
	(void)CALL(SUSP, 0, 0, RAM_BASE + 8, UINT64_MAX);
	resume_at(hart, RAM_BASE + 8, UINT64_MAX);
}

static void test_reset(void **state)
{
	static const struct {
		uint64_t type, reason;
		enum power_action action;
		unsigned code;
	} calls[] = {
		{0, 0, POWER_OFF, 0},   {0, 1, POWER_CRASH, 1},
		{1, 0, POWER_RESET, 0}, {1, 1, POWER_RESET, 0},
		{2, 0, POWER_RESET, 0}, {UINT64_C(7) << 32, UINT64_C(9) << 32, POWER_OFF, 0},
	};
	static const uint64_t bad_types[] = {3, 0xefffffff, 0xf0000000, 0xffffffff, UINT64_MAX};
	static const uint64_t bad_reasons[] = {2, 0xdfffffff, 0xe0000000, 0xf0000000, 0xffffffff, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_types); i++)
		expect(CALL(SRST, 0, bad_types[i], 0), INVALID_PARAM, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_reasons); i++)
		expect(CALL(SRST, 0, 0, bad_reasons[i]), INVALID_PARAM, 0);
	assert_int_equal(the->action_count, 0);
	assert_false(the->harts[0].waiting);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		(void)CALL(SRST, 0, calls[i].type, calls[i].reason);
		assert_int_equal(the->action, calls[i].action);
		assert_int_equal(the->code, calls[i].code);
		assert_int_equal(the->action_count, i + 1);
		assert_true(the->harts[0].waiting);
	}
}

static void test_legacy_shutdown(void **state)
{
	(void)state;
	(void)CALL(LEGACY_SHUTDOWN, 0);
	assert_int_equal(the->action, POWER_OFF);
	assert_int_equal(the->action_count, 1);
}

static void test_console_write(void **state)
{
	static const char text[] = "through the debug console";
	size_t length = strlen(text);

	(void)state;
	assert_int_equal(memory_write(&the->memory, gpa(RAM_END - length), text, length), 0);
	expect(CALL(DBCN, 0, length, RAM_END - length, 0), OK, length);
	assert_int_equal(the->output_length, length);
	assert_memory_equal(the->output, text, length);
	expect(CALL(DBCN, 0, 0, RAM_BASE, 0), OK, 0);
	expect(CALL(DBCN, 2, 0x1121, 0xff), OK, 0);
	expect(CALL(LEGACY_PUTCHAR, 0, 0x2221, 0xa1), OK, 0xa1);
	assert_int_equal(the->output_length, length + 2);
	assert_memory_equal(the->output + length, "!!", 2);
}

static void test_console_ranges(void **state)
{
	static const struct {
		uint64_t length, low, high;
	} bad[] = {
		{1, RAM_BASE, 1},
		{1, RAM_BASE, UINT64_MAX},
		{1, RAM_END, 0},
		{2, RAM_END - 1, 0},
		{1, RAM_BASE - 1, 0},
		{1, 0, 0},
		{UINT64_MAX, RAM_BASE, 0},
		{RAM_SIZE + 1, RAM_BASE, 0},
		{1, UINT64_MAX, 0},
		{2, UINT64_MAX, 0},
		{UINT64_MAX - RAM_BASE + 2, RAM_BASE, 0},
		{UINT64_C(1) << 63, RAM_BASE, 0},
	};

	(void)state;
	the->input = "x";
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned function = 0; function < 2; function++)
			expect(CALL(DBCN, function, bad[i].length, bad[i].low, bad[i].high), INVALID_PARAM, 0);
	assert_int_equal(the->output_length, 0);
	assert_string_equal(the->input, "x");
	/* As much as a call moves at once, and no more. */
	expect(CALL(DBCN, 0, RAM_SIZE, RAM_BASE, 0), OK, 64 * KIB);
	assert_int_equal(the->output_length, 64 * KIB);
}

static void test_console_read(void **state)
{
	char got[8] = {0};

	(void)state;
	the->input = "hello";
	expect(CALL(DBCN, 1, 3, RAM_BASE + 5, 0), OK, 3);
	expect(CALL(DBCN, 1, 100, RAM_BASE + 8, 0), OK, 2);
	expect(CALL(DBCN, 1, 100, RAM_BASE + 8, 0), OK, 0);
	assert_int_equal(memory_read(&the->memory, gpa(RAM_BASE + 5), got, 7), 0);
	assert_string_equal(got, "hello");
	the->input = "\xff";
	expect(CALL(LEGACY_GETCHAR, 0, 0, 0xa1), 0xff, 0xa1);
	expect(CALL(LEGACY_GETCHAR, 0, 0, 0xa1), -1, 0xa1);
}

static void test_console_absent(void **state)
{
	struct sbi_console none = {NULL, NULL, NULL};
	struct sbi *with = the->sbi;

	(void)state;
	assert_int_equal(sbi_new(&the->sbi, &the->cluster, &none, NULL), 0);
	expect(CALL(DBCN, 0, 5, RAM_BASE, 0), OK, 5);
	expect(CALL(DBCN, 1, 5, RAM_BASE, 0), OK, 0);
	expect(CALL(LEGACY_GETCHAR, 0), -1, 0);
	sbi_free(the->sbi);
	the->sbi = with;
}

struct steal_area {
	uint32_t sequence, flags;
	uint64_t steal;
	uint8_t rest[48];
};

static struct steal_area steal_area(uint64_t address)
{
	struct steal_area area;

	assert_int_equal(memory_read(&the->memory, gpa(address), &area, sizeof(area)), 0);
	return area;
}

static void test_steal_time(void **state)
{
	uint64_t address = RAM_END - 64;
	uint8_t junk[128], zero[48] = {0};
	struct steal_area area;

	(void)state;
	memset(junk, 0xee, sizeof(junk));
	assert_int_equal(memory_write(&the->memory, gpa(address - 64), junk, sizeof(junk)), 0);
	sbi_sta_update(&the->harts[0], 1);
	assert_int_equal(steal_area(address).sequence, 0xeeeeeeee);
	expect(CALL(STA, 0, address, 0, 0), OK, 0);
	area = steal_area(address);
	assert_int_equal(area.sequence, 0);
	assert_int_equal(area.steal, 0);
	sbi_sta_update(&the->harts[0], 123456789);
	sbi_sta_update(&the->harts[0], 987654321);
	area = steal_area(address);
	assert_int_equal(area.sequence, 4);
	assert_int_equal(area.flags, 0);
	assert_int_equal(area.steal, 987654321);
	assert_memory_equal(area.rest, zero, sizeof(zero));
	assert_int_equal(steal_area(address - 64).sequence, 0xeeeeeeee);
	expect(CALL(STA, 0, UINT64_MAX, UINT64_MAX, 0), OK, 0);
	sbi_sta_update(&the->harts[0], 1);
	assert_int_equal(steal_area(address).steal, 987654321);
}

static void test_steal_time_refuses(void **state)
{
	(void)state;
	expect(CALL(STA, 0, RAM_BASE, 0, 1), INVALID_PARAM, 0);
	expect(CALL(STA, 0, UINT64_MAX, UINT64_MAX, 1), INVALID_PARAM, 0);
	expect(CALL(STA, 0, RAM_BASE + 32, 0, 0), INVALID_PARAM, 0);
	expect(CALL(STA, 0, UINT64_MAX, 0, 0), INVALID_PARAM, 0);
	expect(CALL(STA, 0, RAM_BASE, 1, 0), INVALID_ADDRESS, 0);
	expect(CALL(STA, 0, RAM_BASE, UINT64_MAX, 0), INVALID_ADDRESS, 0);
	expect(CALL(STA, 0, RAM_END, 0, 0), INVALID_ADDRESS, 0);
	expect(CALL(STA, 0, 0, 0, 0), INVALID_ADDRESS, 0);
	expect(CALL(STA, 0, UINT64_MAX - 63, 0, 0), INVALID_ADDRESS, 0);
	assert_int_equal(the->harts[0].sbi_sta_address, 0);
}

static void test_steal_time_of_odd_sequences_and_sleepers(void **state)
{
	uint32_t odd = UINT32_MAX;

	(void)state;
	expect(CALL(STA, 0, RAM_BASE, 0, 0), OK, 0);
	assert_int_equal(memory_write(&the->memory, gpa(RAM_BASE), &odd, sizeof(odd)), 0);
	sbi_sta_update(&the->harts[0], 5);
	assert_int_equal(steal_area(RAM_BASE).sequence, 0);
	assert_int_equal(steal_area(RAM_BASE).steal, 5);
	(void)CALL(HSM, 3, 0);
	sbi_sta_update(&the->harts[0], 6);
	assert_int_equal(steal_area(RAM_BASE).steal, 5);
}

static void test_counters_described(void **state)
{
	(void)state;
	expect(CALL(PMU, 0), OK, 3);
	expect(CALL(PMU, 1, 0), OK, 0xc00 | 63 << 12);
	expect(CALL(PMU, 1, 2), OK, 0xc02 | 63 << 12);
	expect(CALL(PMU, 1, 1), INVALID_PARAM, 0);
	expect(CALL(PMU, 1, 3), INVALID_PARAM, 0);
	expect(CALL(PMU, 1, 64), INVALID_PARAM, 0);
	expect(CALL(PMU, 1, UINT64_MAX), INVALID_PARAM, 0);
}

static void test_counters_matched(void **state)
{
	(void)state;
	expect(CALL(PMU, 2, 0, 5, 0, 1, 0), OK, 0);
	expect(CALL(PMU, 2, 0, 5, 0, 2, 0), OK, 2);
	expect(CALL(PMU, 2, 2, 1, 0xf8, 2, 0), OK, 2);
	/* SKIP_MATCH: the first of the set, whatever the event. */
	expect(CALL(PMU, 2, 0, 4, 1, 0x999, 0), OK, 2);
	expect(CALL(PMU, 2, 0, 1, 0, 2, 0), NOT_SUPPORTED, 0);
	expect(CALL(PMU, 2, 0, 0, 0, 1, 0), NOT_SUPPORTED, 0);
	for (uint64_t event = 0; event < 0x100000; event += event < 16 ? 1 : 0xfff)
		if (event != 1 && event != 2)
			expect(CALL(PMU, 2, 0, 5, 0, event, 0), NOT_SUPPORTED, 0);
	expect(CALL(PMU, 2, 0, 5, 0, 1, 1), NOT_SUPPORTED, 0);
	expect(CALL(PMU, 2, 0, 2, 0, 1, 0), INVALID_PARAM, 0);
	expect(CALL(PMU, 2, 0, 7, 0, 1, 0), INVALID_PARAM, 0);
	expect(CALL(PMU, 2, 3, 1, 0, 1, 0), INVALID_PARAM, 0);
	expect(CALL(PMU, 2, UINT64_MAX, 1, 0, 1, 0), INVALID_PARAM, 0);
	expect(CALL(PMU, 2, 0, UINT64_MAX, 0, 1, 0), INVALID_PARAM, 0);
	expect(CALL(PMU, 2, 0, 5, 0x100, 1, 0), INVALID_PARAM, 0);
}

static uint64_t counter(unsigned csr)
{
	uint64_t value = 0;

	assert_true(csr_peek(&the->harts[0], csr, &value));
	return value;
}

static void test_counters_run(void **state)
{
	(void)state;
	the->harts[0].instret = 5000;
	expect(CALL(PMU, 3, 0, 5, 1, 77), OK, 0);
	assert_int_equal(counter(CSR_CYCLE), 77);
	assert_int_equal(counter(CSR_INSTRET), 77);
	the->harts[0].instret += 10;
	assert_int_equal(counter(CSR_INSTRET), 87);
	/* A running counter keeps its value, and matches no event. */
	expect(CALL(PMU, 3, 0, 1, 1, 3), ALREADY_STARTED, 0);
	assert_int_equal(counter(CSR_CYCLE), 87);
	expect(CALL(PMU, 2, 0, 5, 0, 1, 0), NOT_SUPPORTED, 0);
	expect(CALL(PMU, 4, 0, 1, 0), OK, 0);
	expect(CALL(PMU, 4, 0, 5, 1), ALREADY_STOPPED, 0);
	expect(CALL(PMU, 4, 0, 5, 0), ALREADY_STOPPED, 0);
	/* CLEAR_VALUE and AUTO_START. */
	expect(CALL(PMU, 2, 0, 5, 6, 2, 0), OK, 2);
	assert_int_equal(counter(CSR_INSTRET), 0);
	expect(CALL(PMU, 3, 2, 1, 0, 0), ALREADY_STARTED, 0);
	expect(CALL(PMU, 3, 0, 1, 0, 0), OK, 0);
}

static void test_counters_refuse(void **state)
{
	(void)state;
	for (unsigned function = 3; function < 5; function++) {
		expect(CALL(PMU, function, 0, 2, 0), INVALID_PARAM, 0);
		expect(CALL(PMU, function, 0, 8, 0), INVALID_PARAM, 0);
		expect(CALL(PMU, function, 3, 1, 0), INVALID_PARAM, 0);
		expect(CALL(PMU, function, UINT64_MAX, UINT64_MAX, 0), INVALID_PARAM, 0);
		expect(CALL(PMU, function, 0, 5, 4), INVALID_PARAM, 0);
		expect(CALL(PMU, function, 0, 5, 2), NO_SHMEM, 0);
	}
	expect(CALL(PMU, 5, 0), INVALID_PARAM, 0);
	expect(CALL(PMU, 6, 0), INVALID_PARAM, 0);
	assert_int_equal(the->harts[0].sbi_pmu_started, 0);
}

static void test_boot_state(void **state)
{
	struct hart *hart = &the->harts[0];

	(void)state;
	memset(hart->pmpcfg, 0x9f, sizeof(hart->pmpcfg));
	hart->priv = PRIV_M;
	hart->mstatus = MSTATUS_SIE | MSTATUS_MPRV | MSTATUS_TVM | MSTATUS_TW | MSTATUS_TSR;
	hart->mie = UINT64_MAX;
	hart->waiting = hart->reserved = true;
	hart->x[A0] = 42;
	sbi_boot_state(hart);
	assert_int_equal(hart->priv, PRIV_S);
	assert_int_equal(hart->mstatus & ~(MSTATUS_UXL | MSTATUS_SXL | MSTATUS_FS), 0);
	assert_int_equal(hart->mie, 0);
	assert_int_equal(hart->medeleg, 0xb1ff);
	assert_int_equal(hart->mideleg, 0x222);
	assert_int_equal(hart->mcounteren, 7);
	assert_int_equal(hart->menvcfg, ENVCFG_STCE | ENVCFG_PBMTE | ENVCFG_ADUE | 0xf0);
	assert_int_equal(hart->stimecmp, NEVER);
	assert_int_equal(hart->pmpcfg[0], 0x1f);
	assert_int_equal(hart->pmpcfg[1], 0);
	assert_false(hart->pmp_active);
	assert_false(hart->waiting || hart->reserved);
	assert_int_equal(hart->x[A0], 42);
	assert_int_equal(the->flushes[0], 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_base),
		TEST(test_unknown_calls_are_not_supported),
		TEST(test_absent_legacy_calls_keep_a1),
		TEST(test_timer),
		TEST(test_ipi),
		TEST(test_fences),
		TEST(test_fences_refuse),
		TEST(test_hart_start),
		TEST(test_hart_start_refuses),
		TEST(test_hart_stop),
		TEST(test_suspend_retentive),
		TEST(test_suspend_non_retentive),
		TEST(test_suspend_types_refused),
		TEST(test_system_suspend),
		TEST(test_reset),
		TEST(test_legacy_shutdown),
		TEST(test_console_write),
		TEST(test_console_ranges),
		TEST(test_console_read),
		TEST(test_console_absent),
		TEST(test_steal_time),
		TEST(test_steal_time_refuses),
		TEST(test_steal_time_of_odd_sequences_and_sleepers),
		TEST(test_counters_described),
		TEST(test_counters_matched),
		TEST(test_counters_run),
		TEST(test_counters_refuse),
		TEST(test_boot_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
