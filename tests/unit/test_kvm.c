/* The engine kvm with guests of a few instructions, on this host's own /dev/kvm: modes, exits, leaving guest code. */
#include "kvm_bench.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "kvm_guests.h"

static void pause_ms(unsigned ms)
{
	const struct timespec time = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&time, NULL);
}

GUEST(real, ".code16\n"
	    "mov $0, %ax\n"
	    "mov $10, %cx\n"
	    "1: add %cx, %ax\n"
	    "loop 1b\n"
	    "mov $0xe9, %dx\n"
	    "out %al, %dx\n"
	    "in $0xe2, %al\n"
	    "out %al, %dx\n"
	    "in $0x77, %al\n" /* nothing is there */
	    "out %al, %dx\n"
	    "mov $0x2a, %al\n"
	    "out %al, $0xf4\n"
	    "hlt");

static void test_real_mode(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_real, guest_real_end);
	bench_real(&b);
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(b.told_count, 3);
	assert_int_equal(b.told[0], 55);
	assert_int_equal(b.told[1], 0x42);
	assert_int_equal(b.told[2], 0xff);
	assert_int_equal((uint32_t)b.done, 0x2a);
	bench_finish(&b);
}

GUEST(strings, ".code32\n"
	       "call 1f\n"
	       "1: pop %esi\n"
	       "add $(2f - 1b), %esi\n"
	       "mov $5, %ecx\n"
	       "mov $0xe9, %edx\n"
	       "rep outsb\n"
	       "mov $0xe0, %edx\n"
	       "mov $0x100000, %edi\n"
	       "mov $3, %ecx\n"
	       "rep insb\n"
	       "mov (0x100000), %eax\n"
	       "mov $0xe9, %edx\n"
	       "out %al, %dx\n"
	       "out %al, $0xf4\n"
	       "2: .ascii \"hello\"");

/* Also: what the last access answered has reached the registers when the run ends. */
static void test_protected_mode(void **state)
{
	struct bench b;
	struct error e;

	(void)state;
	bench_init(&b, 1, 0);
	bench_put(&b, CODE_AT, guest_strings, (size_t)(guest_strings_end - guest_strings));
	bench_protected(&b);
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(b.told_count, 6);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(b.told[i], "hello"[i]);
	assert_int_equal(b.told[5], 0x40);
	assert_int_equal(engine_kvm.store_state(b.vcpus[0], &e), 0);
	assert_int_equal(b.cpus[0]->registers[X86_RDI], 0x100003);
	assert_int_equal(b.cpus[0]->rip, CODE_AT + (uint64_t)(guest_strings_end - guest_strings) - 5);
	bench_finish(&b);
}

GUEST(mmio, ".code64\n"
	    "mov $0xd0000000, %eax\n"
	    "mov 8(%rax), %rbx\n"
	    "mov %rbx, 16(%rax)\n"
	    "movb $0x5a, 3(%rax)\n"
	    "movw $0x1234, 6(%rax)\n"
	    "movl $0x89abcdef, 0x20(%rax)\n"
	    "mov $0xd8000000, %eax\n"
	    "mov (%rax), %ecx\n"
	    "mov %rcx, %rax\n"
	    "mov $0xf4, %dx\n"
	    "out %eax, %dx\n");

#define MMIO_TOLD(size, offset, value) ((uint64_t)(value) | (uint64_t)(offset) << 48 | (uint64_t)(size) << 60)

static void test_mmio(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_mmio, guest_mmio_end);
	bench_long(&b);
	b.mmio_value = 0x112233445566;
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(b.told_count, 4);
	assert_int_equal(b.told[0], MMIO_TOLD(8, 16, 0x112233445566));
	assert_int_equal(b.told[1], MMIO_TOLD(1, 3, 0x5a));
	assert_int_equal(b.told[2], MMIO_TOLD(2, 6, 0x1234));
	assert_int_equal(b.told[3], MMIO_TOLD(4, 0x20, 0x89abcdef));
	assert_int_equal((uint32_t)b.done, 0xffffffff);
	bench_finish(&b);
}

/* Into ring 3 and back by an exception, whose handler tells the selector that it came from. (A KVM that emulates supervisor code
 * knows no software interrupts in 64-bit mode.) */
#define UNDEFINED_OPCODE 6
GUEST(ring3, ".code64\n"
	     "push $0x2b\n"
	     "push $0x7000\n"
	     "push $2\n"
	     "push $0x23\n"
	     "lea 1f(%rip), %rax\n"
	     "push %rax\n"
	     "iretq\n"
	     "1: mov $1000, %ecx\n"
	     "2: dec %ecx\n"
	     "jnz 2b\n"
	     "mov $77, %ebx\n"
	     "ud2\n"
	     "guest_ring3_handler: mov 8(%rsp), %rax\n"
	     "out %al, $0xe9\n"
	     "mov %ebx, %eax\n"
	     "out %al, $0xf4\n");
extern const char guest_ring3_handler[];

static void test_ring3(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_ring3, guest_ring3_end);
	bench_long(&b);
	bench_gate(&b, UNDEFINED_OPCODE, CODE_AT + (uint64_t)(guest_ring3_handler - guest_ring3));
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(b.told[0], 0x23);
	assert_int_equal((uint32_t)b.done, 77);
	bench_finish(&b);
}

struct runner {
	struct bench *b;
	unsigned cpu;
	pthread_t thread;
	struct engine_exit out;
	atomic_bool over;
};

static void *run_thread(void *arg)
{
	struct runner *r = arg;

	r->out = bench_run_one(r->b, r->cpu);
	atomic_store(&r->over, true);
	return NULL;
}

static void begin(struct runner *r, struct bench *b, unsigned cpu)
{
	*r = (struct runner){.b = b, .cpu = cpu};
	assert_int_equal(pthread_create(&r->thread, NULL, run_thread, r), 0);
}

static void join(struct runner *r)
{
	pthread_join(r->thread, NULL);
}

GUEST(spin, ".code32\n1: incl (0x100000)\njmp 1b");

static uint32_t counted(struct bench *b)
{
	uint32_t value;

	assert_int_equal(memory_read(&b->memory, gpa(DATA_AT), &value, sizeof value), 0);
	return value;
}

static void wait_until_counts(struct bench *b, uint32_t beyond)
{
	while (counted(b) <= beyond)
		pause_ms(1);
}

/* A guest that never leaves by itself is brought out, as often as one likes; a kick alone leaves it running. */
static void test_stop_spinning(void **state)
{
	struct bench b;
	struct runner r;
	uint32_t last = 0;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_spin, guest_spin_end);
	bench_protected(&b);
	bench_load(&b);
	for (unsigned i = 0; i < 20; i++) {
		begin(&r, &b, 0);
		wait_until_counts(&b, last);
		cpu_kick(&b.cpus[0]->cpu);
		last = counted(&b);
		wait_until_counts(&b, last);
		assert_false(atomic_load(&r.over));
		assert_false(cpu_is_asleep(&b.cpus[0]->cpu));
		engine_kvm.stop(b.vcpus[0]);
		join(&r);
		assert_int_equal(r.out.reason, ENGINE_EXIT_KICKED);
		last = counted(&b);
	}
	bench_finish(&b);
}

/* Other processes of the user may have filled the room for queued signals. */
static void test_stop_without_room(void **state)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_SIGPENDING, &before), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &none), 0);
	test_stop_spinning(state);
	assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &before), 0);
}

/* Asked for before the run: it returns at once, and that counts for one run only. */
static void test_stop_is_sticky(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_real, guest_real_end);
	bench_real(&b);
	bench_load(&b);
	engine_kvm.stop(b.vcpus[0]);
	engine_kvm.stop(b.vcpus[0]);
	assert_int_equal(bench_run_one(&b, 0).reason, ENGINE_EXIT_KICKED);
	assert_int_equal(b.told_count, 0);
	bench_run(&b);
	assert_int_equal(b.told_count, 3);
	bench_finish(&b);
}

GUEST(halt, ".code32\nmov $1, %al\nout %al, $0xe9\ncli\n1: hlt\njmp 1b");

static void test_halt(void **state)
{
	struct bench b;
	struct runner r;
	struct engine_statistics before, after;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_halt, guest_halt_end);
	bench_protected(&b);
	bench_load(&b);
	engine_kvm.statistics(b.vcpus[0], &before);
	begin(&r, &b, 0);
	while (!cpu_is_asleep(&b.cpus[0]->cpu))
		pause_ms(1);
	assert_int_equal(b.told_count, 1);
	assert_false(atomic_load(&r.over));
	engine_kvm.stop(b.vcpus[0]);
	join(&r);
	assert_int_equal(r.out.reason, ENGINE_EXIT_KICKED);
	assert_false(cpu_is_asleep(&b.cpus[0]->cpu));
	engine_kvm.statistics(b.vcpus[0], &after);
	assert_true(after.exits >= before.exits);
	bench_finish(&b);
}

GUEST(triple, ".code64\nlidt 1f(%rip)\nud2\n1: .quad 0, 0");

static void test_triple_fault(void **state)
{
	struct bench b;
	struct engine_exit out;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_triple, guest_triple_end);
	bench_long(&b);
	bench_load(&b);
	out = bench_run_one(&b, 0);
	assert_int_equal(out.reason, ENGINE_EXIT_FAILED);
	assert_non_null(strstr(out.message, "triple fault"));
	/* It can be started again. */
	x86_cpu_reset(b.cpus[0]);
	bench_code(&b, guest_real, guest_real_end);
	bench_real(&b);
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(b.told[0], 55);
	bench_finish(&b);
}

/* CPU 0 starts CPU 1 by INIT and a startup message; CPU 1 begins at 0x9000 in real mode. */
GUEST(smp, ".code64\n"
	   "mov $0xfee00000, %ebx\n"
	   "movl $0x1ff, 0xf0(%rbx)\n"
	   "movl $0x01000000, 0x310(%rbx)\n"
	   "movl $0x4500, 0x300(%rbx)\n"
	   "movl $0x01000000, 0x310(%rbx)\n"
	   "movl $0x4609, 0x300(%rbx)\n"
	   "1: pause\n"
	   "cmpl $7, (0x100000)\n"
	   "jne 1b\n"
	   "mov $1, %al\n"
	   "out %al, $0xf4\n");
GUEST(second, ".code16\n"
	      "mov $0xffff, %ax\n"
	      "mov %ax, %ds\n"
	      "movl $7, (0x10)\n" /* 0x100000 */
	      "1: hlt\n"
	      "jmp 1b\n");

static void test_second_cpu(void **state)
{
	struct bench b;
	struct runner first, second;

	(void)state;
	bench_init(&b, 2, 0);
	bench_code(&b, guest_smp, guest_smp_end);
	bench_put(&b, 0x9000, guest_second, (size_t)(guest_second_end - guest_second));
	bench_long(&b);
	bench_load(&b);
	begin(&second, &b, 1);
	while (!cpu_is_asleep(&b.cpus[1]->cpu))
		pause_ms(1);
	begin(&first, &b, 0);
	join(&first);
	join(&second);
	assert_int_equal(first.out.reason, ENGINE_EXIT_KICKED);
	assert_int_equal(second.out.reason, ENGINE_EXIT_KICKED);
	assert_int_equal((uint32_t)b.done, 1);
	assert_int_equal(counted(&b), 7);
	bench_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_mode),     cmocka_unit_test(test_protected_mode),
		cmocka_unit_test(test_mmio),	      cmocka_unit_test(test_ring3),
		cmocka_unit_test(test_stop_spinning), cmocka_unit_test(test_stop_is_sticky),
		cmocka_unit_test(test_halt),	      cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_second_cpu),
		cmocka_unit_test(test_stop_without_room),
	};

	if (!bench_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
