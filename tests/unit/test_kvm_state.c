/* The engine kvm: the state of a machine out of one and into another, and states that nobody honest saved. */
#include "kvm_bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/threads.h"
#include "kvm_guests.h"
#include "wall/self.h"

/* Something in every register that a program can reach; then it waits to be stopped, and tells a sum of them. */
GUEST(fill, ".code64\n"
	    "mov %cr4, %rax\n"
	    "or $0x600, %eax\n" /* SSE */
	    "mov %rax, %cr4\n"
	    /* Floats and vectors in ring 3, where every KVM runs them. */
	    "push $0x2b\n"
	    "push $0x7000\n"
	    "push $2\n"
	    "push $0x23\n"
	    "lea 1f(%rip), %rax\n"
	    "push %rax\n"
	    "iretq\n"
	    "1: fninit\n"
	    "fldpi\n"
	    "fld1\n"
	    "mov $0x1122334455667788, %rax\n"
	    "movq %rax, %xmm0\n"
	    "movq %rsp, %xmm15\n"
	    "ud2\n"
	    "guest_fill_handler:\n"
	    "mov $0xc0000082, %ecx\n" /* LSTAR */
	    "mov $0x12345678, %eax\n"
	    "mov $0x7fff, %edx\n"
	    "wrmsr\n"
	    "mov $0xc0000102, %ecx\n" /* KERNEL_GS_BASE */
	    "mov $0x9000, %eax\n"
	    "xor %edx, %edx\n"
	    "wrmsr\n"
	    "mov $0x277, %ecx\n" /* PAT */
	    "mov $0x00070406, %eax\n"
	    "mov $0x00070406, %edx\n"
	    "wrmsr\n"
	    "mov $0x123000, %rax\n"
	    "mov %rax, %dr0\n"
	    "mov $0x456000, %rax\n"
	    "mov %rax, %dr3\n"
	    "mov $0xabc000, %rax\n"
	    "mov %rax, %cr2\n"
	    "mov $5, %eax\n"
	    "mov %rax, %cr8\n"
	    "mov $0xfee00000, %ebx\n"
	    "movl $0x1ff, 0xf0(%rbx)\n"
	    "movl $0x10040, 0x320(%rbx)\n"
	    "mov $0xb6, %al\n" /* the channel that interrupts nobody */
	    "out %al, $0x43\n"
	    "mov $0x12, %al\n"
	    "out %al, $0x42\n"
	    "out %al, $0x42\n"
	    "mov $0xfb, %al\n"
	    "out %al, $0x21\n"
	    "mov $1, %ecx\n"
	    "mov $2, %edx\n"
	    "mov $3, %ebx\n"
	    "mov $4, %esi\n"
	    "mov $5, %edi\n"
	    "mov $6, %ebp\n"
	    "mov $7, %r8d\n"
	    "mov $15, %r15d\n"
	    "std\n"
	    "mov $9, %al\n"
	    "out %al, $0xf4\n"
	    "mov $0x100000, %eax\n"
	    "movdqu %xmm0, (%rax)\n"
	    "mov (%rax), %rax\n"
	    "add %r15, %rax\n"
	    "add %rsi, %rax\n"
	    "out %eax, $0xf4\n");
extern const char guest_fill_handler[];

#define UNDEFINED_OPCODE 6
#define SUM (0x55667788u + 15 + 4)

static void fill(struct bench *b)
{
	bench_code(b, guest_fill, guest_fill_end);
	bench_long(b);
	bench_gate(b, UNDEFINED_OPCODE, CODE_AT + (uint64_t)(guest_fill_handler - guest_fill));
	bench_load(b);
	bench_run(b);
	assert_int_equal((uint32_t)b->done, 9);
}

static void run_fill(struct bench *b, unsigned without)
{
	bench_init(b, 2, without);
	fill(b);
}

static void load_sections(struct bench *b, const struct state_writer *w)
{
	struct state_reader r;
	struct state_section section;
	struct error e;

	state_reader_init(&r, w->bytes, w->length);
	for (unsigned i = 0; i < b->count; i++) {
		assert_int_equal(state_next(&r, &section, &e), 1);
		if (state_load(&section, &x86_cpu_state, b->cpus[i], &e) < 0)
			fail_msg("%s", e.message);
	}
	assert_int_equal(state_next(&r, &section, &e), 1);
	if (state_load(&section, &x86_chips_state, &b->platform->chips, &e) < 0)
		fail_msg("%s", e.message);
	if (engine_kvm.x86->platform_loaded(b->platform, &e) < 0)
		fail_msg("%s", e.message);
	bench_load(b);
}

static void copy_memory(struct bench *to, const struct bench *from)
{
	memcpy(to->memory.regions[0].host, from->memory.regions[0].host, BENCH_RAM);
}

static void compare_cpus(const struct x86_cpu *a, const struct x86_cpu *b)
{
	assert_memory_equal(a->registers, b->registers, sizeof a->registers);
	assert_int_equal(a->rip, b->rip);
	assert_int_equal(a->rflags, b->rflags);
	for (unsigned i = 0; i < X86_SEGMENTS; i++) {
		assert_int_equal(a->segments[i].base, b->segments[i].base);
		assert_int_equal(a->segments[i].limit, b->segments[i].limit);
		assert_int_equal(a->segments[i].selector, b->segments[i].selector);
		assert_int_equal(a->segments[i].attributes, b->segments[i].attributes);
	}
	assert_int_equal(a->msr_count, b->msr_count);
	for (uint32_t i = 0; i < a->msr_count; i++)
		if (a->msrs[i].index != b->msrs[i].index || a->msrs[i].value != b->msrs[i].value)
			fail_msg("MSR 0x%x = 0x%lx, and 0x%x = 0x%lx", a->msrs[i].index, a->msrs[i].value,
				 b->msrs[i].index, b->msrs[i].value);
	assert_memory_equal(a->xsave, b->xsave, sizeof a->xsave);
	assert_memory_equal(a->lapic, b->lapic, sizeof a->lapic);
}

/* What is saved, loaded elsewhere and saved again there is the same to the byte, and the guest goes on. */
static void move(unsigned without)
{
	struct bench a, b;
	struct state_writer first, second;
	const struct x86_cpu *cpu;
	uint64_t lstar;

	run_fill(&a, without);
	state_writer_init(&first);
	state_writer_init(&second);
	bench_save(&a, &first);
	bench_init(&b, 2, without);
	copy_memory(&b, &a);
	load_sections(&b, &first);
	bench_save(&b, &second);
	cpu = b.cpus[0];
	for (unsigned i = 0; i < 2; i++)
		compare_cpus(a.cpus[i], b.cpus[i]);
	assert_int_equal(first.length, second.length);
	assert_memory_equal(first.bytes, second.bytes, first.length);
	assert_int_equal(cpu->registers[X86_R15], 15);
	assert_int_equal(cpu->dr[3], 0x456000);
	assert_int_equal(cpu->cr2, 0xabc000);
	assert_int_equal(cpu->cr8, 5);
	assert_true(x86_cpu_get_msr(cpu, 0xc0000082, &lstar));
	assert_int_equal(lstar, 0x7fff12345678);
	assert_int_equal(cpu->power, X86_RUNNING);
	assert_int_equal(b.cpus[1]->power, X86_WAITS_FOR_INIT);
	assert_int_equal(b.platform->chips.pit[2].count, 0x1212);
	assert_int_equal(b.platform->chips.pics[0].imr, 0xfb);
	bench_run(&b);
	assert_int_equal((uint32_t)b.done, SUM);
	state_writer_finish(&first);
	state_writer_finish(&second);
	bench_finish(&a);
	bench_finish(&b);
}

static void test_move(void **state)
{
	(void)state;
	move(0);
	move(X86_WITHOUT_TSC_OFFSET);
}

/* After a reset nothing of what the guest did is left. */
static void test_reset(void **state)
{
	struct bench b;
	struct state_writer before, after;
	struct error e;

	(void)state;
	bench_init(&b, 2, 0);
	state_writer_init(&before);
	state_writer_init(&after);
	bench_load(&b);
	bench_save(&b, &before);
	fill(&b);
	engine_kvm.x86->platform_reset(b.platform);
	for (unsigned i = 0; i < b.count; i++)
		x86_cpu_reset(b.cpus[i]);
	assert_int_equal(engine_kvm.x86->platform_loaded(b.platform, &e), 0);
	bench_load(&b);
	bench_save(&b, &after);
	assert_int_equal(before.length, after.length);
	assert_memory_equal(before.bytes, after.bytes, before.length);
	state_writer_finish(&before);
	state_writer_finish(&after);
	bench_finish(&b);
}

static void sleep_ms(unsigned ms)
{
	const struct timespec time = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&time, NULL);
}

GUEST(tsc, ".code64\n1: rdtsc\nmov $1, %al\nout %al, $0xf4\njmp 1b\n");

/* How long the guest ran, at most: a thousandth and a tenth of a millisecond more, for clocks that do not agree. */
static uint64_t run_a_while(struct bench *b)
{
	uint64_t begin = clock_host_ns();

	clock_start(&b->clock);
	bench_run(b);
	clock_stop(&b->clock);
	return (clock_host_ns() - begin) * 1001 / 1000 + 100000;
}

/* Counters and clock stand while the machine's clock does. The bounds are what the host's own clock says. */
static void stand(unsigned without)
{
	struct bench b;
	uint64_t tsc, ns, went;

	bench_init(&b, 1, without);
	bench_code(&b, guest_tsc, guest_tsc_end);
	bench_long(&b);
	bench_load(&b);
	went = run_a_while(&b);
	tsc = b.cpus[0]->tsc;
	ns = b.platform->chips.clock_ns;
	assert_in_range(ns, 1, went);
	sleep_ms(100);
	went = run_a_while(&b);
	assert_in_range(b.platform->chips.clock_ns, ns, ns + went);
	/* A value that is written within a second of another is taken for the same one, a little later: KVM's way to make CPUs
	 * agree. */
	if (without & X86_WITHOUT_TSC_OFFSET)
		assert_true(b.cpus[0]->tsc > tsc);
	/* Some KVMs take any offset and give the host's counter all the same. */
	else if (tsc > went * 1000)
		print_message("[  SKIPPED ] the counter: this host's KVM does not offset it\n");
	else
		assert_in_range(b.cpus[0]->tsc, tsc, tsc + went * (b.platform->tsc_khz + 1) / 1000000);
	bench_finish(&b);
}

static void test_time_stands(void **state)
{
	(void)state;
	stand(0);
	stand(X86_WITHOUT_TSC_OFFSET);
}

static void expect_refusal(struct bench *b, const char *what)
{
	struct error e;

	assert_true(engine_kvm.state_loaded(b->vcpus[0], &e) < 0);
	if (!strstr(e.message, what))
		fail_msg("\"%s\" is not in: %s", what, e.message);
}

/* What this host can not give is named. */
static void test_refusals(void **state)
{
	struct bench b;
	struct x86_cpuid own;
	struct x86_cpuid_entry *entry;
	struct error e;

	(void)state;
	bench_init(&b, 1, 0);
	own = b.cpus[0]->cpuid;
	b.cpus[0]->cpuid.entries[x86_cpuid_find(&own, 7, 0) - own.entries].registers[CPUID_EDX] |= 1u << 18;
	expect_refusal(&b, "pconfig");
	b.cpus[0]->cpuid = own;
	entry = &b.cpus[0]->cpuid.entries[x86_cpuid_find(&own, 0, 0) - own.entries];
	entry->registers[CPUID_EBX] ^= 1;
	expect_refusal(&b, "another maker");
	b.cpus[0]->cpuid = own;
	x86_cpu_set_msr(b.cpus[0], 0x12345, 7);
	expect_refusal(&b, "0x12345 = 0x7");
	x86_cpu_set_msr(b.cpus[0], 0x12345, 0);
	bench_load(&b);
	b.cpus[0]->cr4 = ~UINT64_C(0);
	expect_refusal(&b, "control registers");
	b.cpus[0]->cr4 = 0;
	b.cpus[0]->xsave[X86_XSAVE_SIZE - 1] = 1;
	expect_refusal(&b, "XSAVE");
	x86_cpu_reset(b.cpus[0]);
	bench_code(&b, guest_tsc, guest_tsc_end);
	bench_long(&b);
	bench_load(&b);
	bench_run(&b);
	/* It has run: what its guest saw can not change any more. */
	b.cpus[0]->cpuid.entries[0].registers[CPUID_EAX]--;
	expect_refusal(&b, "new machine");
	bench_finish(&b);
	assert_int_equal(bench_try(&b, 1, 0, "v9", &e), -EINVAL);
	bench_finish(&b);
}

static uint32_t draw(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Some of the state's bytes are anything. */
static void spoil(struct bench *b, uint32_t *seed)
{
	uint8_t *bytes = (uint8_t *)b->cpus[0];
	uint8_t *chips = (uint8_t *)&b->platform->chips;

	for (unsigned i = draw(seed) % 8; i > 0; i--)
		bytes[draw(seed) % offsetof(struct x86_cpu, xsave)] = (uint8_t)draw(seed);
	for (unsigned i = draw(seed) % 4; i > 0; i--)
		bytes[offsetof(struct x86_cpu, xsave) + draw(seed) % 600] = (uint8_t)draw(seed);
	for (unsigned i = draw(seed) % 8; i > 0; i--)
		bytes[offsetof(struct x86_cpu, msrs) + draw(seed) % (offsetof(struct x86_cpu, cpuid) - offsetof(struct x86_cpu, msrs))] =
			(uint8_t)draw(seed);
	for (unsigned i = draw(seed) % 8; i > 0; i--)
		chips[draw(seed) % sizeof b->platform->chips] = (uint8_t)draw(seed);
}

struct stopper {
	struct bench *b;
	atomic_bool over;
};

static void *stop_soon(void *arg)
{
	struct stopper *s = arg;

	while (!atomic_load(&s->over)) {
		sleep_ms(2);
		engine_kvm.stop(s->b->vcpus[0]);
	}
	return NULL;
}

/* Saved with a checksum by whoever has the key: any bytes may come. They are refused, or run, and nothing of ours breaks. */
static void try_spoiled(struct bench *b, uint32_t *seed, unsigned *refused)
{
	struct state_writer w;
	struct state_reader r;
	struct state_section section;
	struct error e;
	int code;

	x86_cpu_reset(b->cpus[0]);
	bench_long(b);
	x86_chips_reset(&b->platform->chips);
	x86_cpu_set_msr(b->cpus[0], 0x277, UINT64_C(0x0007040600070406));
	spoil(b, seed);
	state_writer_init(&w);
	state_save(&w, &x86_cpu_state, "cpu", b->cpus[0]);
	state_save(&w, &x86_chips_state, "chips", &b->platform->chips);
	x86_cpu_reset(b->cpus[0]);
	x86_chips_reset(&b->platform->chips);
	state_reader_init(&r, w.bytes, w.length);
	assert_int_equal(state_next(&r, &section, &e), 1);
	code = state_load(&section, &x86_cpu_state, b->cpus[0], &e);
	assert_int_equal(state_next(&r, &section, &e), 1);
	if (code == 0)
		code = state_load(&section, &x86_chips_state, &b->platform->chips, &e);
	if (code == 0)
		code = engine_kvm.x86->platform_loaded(b->platform, &e);
	if (code == 0)
		code = engine_kvm.state_loaded(b->vcpus[0], &e);
	state_writer_finish(&w);
	if (code == 0)
		(void)bench_run_one(b, 0);
	else
		++*refused;
}

static void test_hostile(void **state)
{
	uint32_t seed = (uint32_t)time(NULL);
	struct bench b;
	struct stopper s = {.b = &b};
	pthread_t thread;
	unsigned refused = 0;

	(void)state;
	print_message("seed %u\n", seed);
	log_set_level(LOG_ERROR);
	bench_init(&b, 1, 0);
	bench_code(&b, guest_tsc, guest_tsc_end);
	pthread_create(&thread, NULL, stop_soon, &s);
	for (unsigned i = 0; i < 150; i++)
		try_spoiled(&b, &seed, &refused);
	atomic_store(&s.over, true);
	pthread_join(thread, NULL);
	print_message("%u of 150 refused\n", refused);
	/* The same machine still runs what is honest. */
	x86_cpu_reset(b.cpus[0]);
	x86_chips_reset(&b.platform->chips);
	bench_code(&b, guest_tsc, guest_tsc_end);
	bench_long(&b);
	assert_int_equal(engine_kvm.x86->platform_loaded(b.platform, NULL), 0);
	bench_load(&b);
	atomic_store(&b.done, 0);
	while (!atomic_load(&b.done))
		assert_int_equal(bench_run_one(&b, 0).reason, ENGINE_EXIT_KICKED);
	bench_finish(&b);
}

/* Behind the walls of a monitor: a vCPU's thread runs guest code, the main one does all that the owner does. */
static pthread_barrier_t walls_are_up;

static void *walled_vcpu(void *arg)
{
	struct bench *b = arg;
	struct msi_route *route;

	pthread_barrier_wait(&walls_are_up);
	if (bench_run_one(b, 0).reason != ENGINE_EXIT_KICKED)
		_exit(3);
	if (b->platform->msi->route_new(b->platform->msi->controller, &route, NULL) < 0)
		_exit(4);
	b->platform->msi->route_set(b->platform->msi->controller, route, (struct msi_message){X86_LAPIC_BASE, 0x40});
	b->platform->msi->route_fire(b->platform->msi->controller, route);
	b->platform->msi->route_free(b->platform->msi->controller, route);
	irq_set(&b->platform->lines[4], true);
	return NULL;
}

static void live_behind_walls(void)
{
	static uint64_t bitmap[BENCH_RAM / 4096 / 64];
	struct bench b;
	struct error e;
	pthread_t thread;
	struct state_writer w;

	bench_init(&b, 1, 0);
	bench_code(&b, guest_tsc, guest_tsc_end);
	bench_long(&b);
	pthread_barrier_init(&walls_are_up, NULL, 2);
	if (thread_start(&thread, THREAD_VCPU, "vcpu0", walled_vcpu, &b) < 0 || wall_self_put_up(-1, NULL, &e) < 0)
		_exit(2);
	bench_load(&b);
	clock_start(&b.clock);
	pthread_barrier_wait(&walls_are_up);
	pthread_join(thread, NULL);
	clock_stop(&b.clock);
	state_writer_init(&w);
	bench_save(&b, &w);
	if (memory_dirty_start(&b.memory, &e) < 0)
		_exit(5);
	(void)memory_dirty_collect(&b.memory, 0, bitmap);
	memory_dirty_stop(&b.memory);
	if (engine_kvm.x86->platform_loaded(b.platform, &e) < 0)
		_exit(6);
	bench_load(&b);
	_exit(0);
}

static void test_walls(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		live_behind_walls();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walls),	 cmocka_unit_test(test_move),	  cmocka_unit_test(test_reset),
		cmocka_unit_test(test_time_stands), cmocka_unit_test(test_refusals), cmocka_unit_test(test_hostile),
	};

	if (!bench_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
