/* The engine kvm: interrupts by line and by message, doorbells, and which pages a guest writes. */
#include "kvm_bench.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "kvm_guests.h"

static void pause_ms(unsigned ms)
{
	const struct timespec time = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&time, NULL);
}

struct runner {
	struct bench *b;
	pthread_t thread;
	struct engine_exit out;
};

static void *run_thread(void *arg)
{
	struct runner *r = arg;

	r->out = bench_run_one(r->b, 0);
	return NULL;
}

static void begin(struct runner *r, struct bench *b)
{
	*r = (struct runner){.b = b};
	assert_int_equal(pthread_create(&r->thread, NULL, run_thread, r), 0);
}

static void end(struct runner *r)
{
	engine_kvm.stop(r->b->vcpus[0]);
	pthread_join(r->thread, NULL);
	if (r->out.reason != ENGINE_EXIT_KICKED)
		fail_msg("exit %d: %s", r->out.reason, r->out.message);
}

static void wait_told(struct bench *b, unsigned count)
{
	while (atomic_load(&b->told_count) < count)
		pause_ms(1);
}

/* Takes interrupts 0x40 and 0x41, telling 1 and 2, and ends them at the APIC. */
GUEST(listen, ".code64\n"
	      "mov $0xfee00000, %ebx\n"
	      "movl $0x1ff, 0xf0(%rbx)\n"
	      "mov $0, %al\n"
	      "out %al, $0xe9\n"
	      "1: sti\n"
	      "hlt\n"
	      "jmp 1b\n"
	      "guest_listen_first:\n"
	      "mov $1, %al\n"
	      "out %al, $0xe9\n"
	      "movl $0, 0xb0(%rbx)\n"
	      "iretq\n"
	      "guest_listen_second:\n"
	      "mov $2, %al\n"
	      "out %al, $0xe9\n"
	      "movl $0, 0xb0(%rbx)\n"
	      "iretq\n");
extern const char guest_listen_first[], guest_listen_second[];

static void start_listening(struct bench *b, struct runner *r)
{
	bench_init(b, 1, 0);
	bench_code(b, guest_listen, guest_listen_end);
	bench_long(b);
	bench_gate(b, 0x40, CODE_AT + (uint64_t)(guest_listen_first - guest_listen));
	bench_gate(b, 0x41, CODE_AT + (uint64_t)(guest_listen_second - guest_listen));
	bench_load(b);
	begin(r, b);
	wait_told(b, 1);
}

static struct msi_route *make_route(struct bench *b)
{
	struct msi_route *route;
	struct error e;

	if (b->platform->msi->route_new(b->platform->msi->controller, &route, &e) < 0)
		fail_msg("%s", e.message);
	return route;
}

/* Each message is the one that its route was told last; one that leads nowhere is lost, and harms no other. */
static void test_messages(void **state)
{
	struct bench b;
	struct runner r;
	struct msi_route *first, *second, *lost;
	const struct msi_controller *msi;

	(void)state;
	start_listening(&b, &r);
	msi = b.platform->msi;
	first = make_route(&b);
	second = make_route(&b);
	lost = make_route(&b);
	msi->route_fire(msi->controller, lost);
	msi->route_set(msi->controller, lost, (struct msi_message){UINT64_MAX, UINT32_MAX});
	msi->route_set(msi->controller, first, (struct msi_message){X86_LAPIC_BASE, 0x40});
	msi->route_set(msi->controller, second, (struct msi_message){X86_LAPIC_BASE, 0x41});
	msi->route_fire(msi->controller, lost);
	msi->route_fire(msi->controller, first);
	wait_told(&b, 2);
	msi->route_fire(msi->controller, second);
	wait_told(&b, 3);
	msi->route_set(msi->controller, second, (struct msi_message){X86_LAPIC_BASE, 0x40});
	msi->route_fire(msi->controller, second);
	wait_told(&b, 4);
	msi->route_free(msi->controller, second);
	msi->route_fire(msi->controller, first);
	wait_told(&b, 5);
	end(&r);
	assert_int_equal(b.told_count, 5);
	assert_int_equal(b.told[1], 1);
	assert_int_equal(b.told[2], 2);
	assert_int_equal(b.told[3], 1);
	assert_int_equal(b.told[4], 1);
	msi->route_free(msi->controller, first);
	msi->route_free(msi->controller, lost);
	bench_finish(&b);
}

/* As many routes as there are, and no more; what is given back can be had again. */
static void test_routes_end(void **state)
{
	enum { MOST = 2000 };
	static struct msi_route *routes[MOST];
	const struct msi_controller *msi;
	unsigned count = 0;
	struct bench b;
	struct error e;
	int r = 0;

	(void)state;
	bench_init(&b, 1, 0);
	msi = b.platform->msi;
	while (count < MOST && (r = msi->route_new(msi->controller, &routes[count], &e)) == 0)
		count++;
	assert_true(r < 0);
	assert_in_range(count, 256, MOST - 1);
	msi->route_free(msi->controller, routes[--count]);
	assert_int_equal(msi->route_new(msi->controller, &routes[count], &e), 0);
	for (unsigned i = 0; i <= count; i++)
		msi->route_free(msi->controller, routes[i]);
	bench_finish(&b);
}

#define LEVEL (UINT64_C(1) << 15)

/* A line of the IOAPIC, by edge: each rise is told once. */
static void test_line(void **state)
{
	struct bench b;
	struct runner r;

	(void)state;
	start_listening(&b, &r);
	b.platform->chips.ioapic_redirection[20] = 0x40;
	b.platform->chips.ioapic_redirection[21] = 0x41 | LEVEL;
	assert_int_equal(engine_kvm.x86->platform_loaded(b.platform, NULL), 0);
	irq_set(&b.platform->lines[20], true);
	wait_told(&b, 2);
	irq_set(&b.platform->lines[20], false);
	irq_set(&b.platform->lines[20], true);
	wait_told(&b, 3);
	pause_ms(20);
	assert_int_equal(atomic_load(&b.told_count), 3);
	/* By level: told again for as long as it is high. */
	irq_set(&b.platform->lines[21], true);
	wait_told(&b, 6);
	irq_set(&b.platform->lines[21], false);
	end(&r);
	assert_int_equal(b.told[1], 1);
	assert_int_equal(b.told[2], 1);
	assert_int_equal(b.told[4], 2);
	bench_finish(&b);
}

GUEST(ring, ".code64\n"
	    "mov $0xd0000000, %eax\n"
	    "mov $5, %ecx\n"
	    "1: movw $3, 0x40(%rax)\n"
	    "dec %ecx\n"
	    "jnz 1b\n"
	    "movl $3, 0x40(%rax)\n" /* of another size */
	    "mov $1, %al\n"
	    "out %al, $0xf4\n");

static void test_doorbell(void **state)
{
	struct bench b;
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count = 0;
	const struct bus_doorbells *bells;

	(void)state;
	bench_init(&b, 1, 0);
	bells = b.bus.doorbells;
	assert_int_equal(bells->add(bells->engine, gpa(MMIO_AT + 0x40), 2, bell), 0);
	assert_true(bells->add(bells->engine, gpa(MMIO_AT + 0x40), 2, bell) < 0);
	bench_code(&b, guest_ring, guest_ring_end);
	bench_long(&b);
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(read(bell, &count, sizeof count), sizeof count);
	assert_int_equal(count, 5);
	assert_int_equal(b.told_count, 1);
	bells->remove(bells->engine, gpa(MMIO_AT + 0x40), 2, bell);
	x86_cpu_reset(b.cpus[0]);
	bench_long(&b);
	bench_load(&b);
	bench_run(&b);
	assert_true(read(bell, &count, sizeof count) < 0);
	assert_int_equal(b.told_count, 7);
	bench_finish(&b);
	close(bell);
}

/* Writes a word to every RSI-th byte, RCX times from RDI on, in ring 3 or where it is called. */
GUEST(dirty, ".code32\n"
	     "1: movl $0x5a5a5a5a, (%edi)\n"
	     "add %esi, %edi\n"
	     "dec %ecx\n"
	     "jnz 1b\n"
	     "mov $1, %al\n"
	     "out %al, $0xf4\n");

#define PAGES (BENCH_RAM / 4096)

static void write_pages(struct bench *b, uint64_t first, uint64_t step, uint64_t count)
{
	x86_cpu_reset(b->cpus[0]);
	bench_protected(b);
	b->cpus[0]->registers[X86_RDI] = first * 4096;
	b->cpus[0]->registers[X86_RSI] = step * 4096;
	b->cpus[0]->registers[X86_RCX] = count;
	bench_load(b);
	bench_run(b);
}

static bool collected(const uint64_t *bitmap, uint64_t page)
{
	return bitmap[page / 64] >> (page % 64) & 1;
}

static void expect_pages(struct bench *b, uint64_t first, uint64_t step, uint64_t count)
{
	static uint64_t bitmap[PAGES / 64];
	uint64_t got = memory_dirty_collect(&b->memory, 0, bitmap);

	for (uint64_t i = 0; i < count; i++)
		if (!collected(bitmap, first + i * step))
			fail_msg("page %lu was written and is not marked; %lu are", first + i * step, got);
	assert_int_equal(got, count);
}

/* Exactly the pages that were written since the last look, round after round, whoever keeps the books. */
static void track(unsigned without)
{
	struct bench b;
	struct error e;

	bench_init(&b, 2, without);
	bench_code(&b, guest_dirty, guest_dirty_end);
	write_pages(&b, 300, 1, 50);
	if (memory_dirty_start(&b.memory, &e) < 0)
		fail_msg("%s", e.message);
	expect_pages(&b, 0, 1, 0);
	write_pages(&b, 256, 3, 200);
	expect_pages(&b, 256, 3, 200);
	expect_pages(&b, 0, 1, 0);
	write_pages(&b, 256, 3, 10);
	assert_int_equal(memory_write(&b.memory, gpa(257 * 4096), "x", 1), 0);
	write_pages(&b, 286, 1, 1);
	assert_int_equal(memory_dirty_collect(&b.memory, 0, (uint64_t[PAGES / 64]){0}), 12);
	memory_dirty_stop(&b.memory);
	write_pages(&b, 256, 1, 20);
	assert_int_equal(memory_dirty_start(&b.memory, &e), 0);
	write_pages(&b, 700, 1, 4);
	expect_pages(&b, 700, 1, 4);
	memory_dirty_stop(&b.memory);
	bench_finish(&b);
}

static void test_dirty_ring(void **state)
{
	(void)state;
	track(X86_WITH_DIRTY_RING);
}

static void test_dirty_manual(void **state)
{
	(void)state;
	track(X86_WITHOUT_DIRTY_RING);
}

static void test_dirty_log(void **state)
{
	(void)state;
	track(X86_WITHOUT_DIRTY_RING | X86_WITHOUT_MANUAL_PROTECT);
}

/* More pages than a ring holds, every other time with a collector at work meanwhile: each page is told of at least once. */
static void full(unsigned without)
{
	static uint64_t bitmap[PAGES / 64], all[PAGES / 64];
	struct bench b;
	struct error e;
	unsigned rounds = 0;

	bench_init(&b, 1, without);
	bench_code(&b, guest_dirty, guest_dirty_end);
	assert_int_equal(memory_dirty_start(&b.memory, &e), 0);
	memset(all, 0, sizeof all);
	for (unsigned turn = 0; turn < 4; turn++) {
		struct runner r;

		x86_cpu_reset(b.cpus[0]);
		bench_protected(&b);
		b.cpus[0]->registers[X86_RDI] = 256 * 4096;
		b.cpus[0]->registers[X86_RSI] = 4096;
		b.cpus[0]->registers[X86_RCX] = PAGES - 256;
		bench_load(&b);
		atomic_store(&b.done, 0);
		begin(&r, &b);
		while ((turn & 1) && !atomic_load(&b.done)) {
			(void)memory_dirty_collect(&b.memory, 0, bitmap);
			for (unsigned w = 0; w < PAGES / 64; w++)
				all[w] |= bitmap[w];
			rounds++;
		}
		pthread_join(r.thread, NULL);
		assert_int_equal(r.out.reason, ENGINE_EXIT_KICKED);
		(void)memory_dirty_collect(&b.memory, 0, bitmap);
		for (unsigned w = 0; w < PAGES / 64; w++)
			all[w] |= bitmap[w];
		for (uint64_t page = 256; page < PAGES; page++)
			if (!collected(all, page))
				fail_msg("turn %u, round %u: page %lu was written and was never marked", turn, rounds, page);
		memset(all, 0, sizeof all);
	}
	memory_dirty_stop(&b.memory);
	bench_finish(&b);
}

static void test_collect_amid(void **state)
{
	(void)state;
	full(0);
	full(X86_WITHOUT_DIRTY_RING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),   cmocka_unit_test(test_routes_end),	cmocka_unit_test(test_line),
		cmocka_unit_test(test_doorbell),   cmocka_unit_test(test_dirty_ring),	cmocka_unit_test(test_dirty_manual),
		cmocka_unit_test(test_dirty_log),  cmocka_unit_test(test_collect_amid),
	};

	if (!bench_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
