/* The life of a machine, on an engine whose guest is a function of the test. */
#include "boot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fake_engine.h"
#include "machine/machine.h"

#define CPUS 4
#define MS   UINT64_C(1000000)
#define LONG_MS 200000 /* never reached unless something hangs */

static struct boot_directory directory;
static struct machine_config config;
static struct machine *machine;

static int make_files(void **state)
{
	struct blob image = make_image(100000, 0x200000, 200000);

	(void)state;
	directory_init(&directory);
	config = (struct machine_config){
		.name = "test",
		.memory_bytes = 16 * MIB,
		.cpus = CPUS,
		.engine = &fake_engine,
		.kernel = directory_add(&directory, "Image", &image),
		.console = CONSOLE_NONE,
	};
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	directory_finish(&directory);
	return 0;
}

static struct machine *make(void)
{
	struct machine *made;
	struct error e;

	if (machine_new(&made, &config, &e) < 0)
		fail_msg("machine: %s", e.message);
	return made;
}

static int setup(void **state)
{
	(void)state;
	machine = make();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	machine_free(machine);
	return 0;
}

static struct hart *hart(unsigned index)
{
	return machine_board(machine)->harts->harts[index];
}

static unsigned long turns(unsigned index)
{
	return atomic_load(&hart(index)->engine_vcpu->turns);
}

static void start(fake_program *guest)
{
	struct error e;

	fake_guest = guest;
	if (machine_start(machine, &e) < 0)
		fail_msg("start: %s", e.message);
	assert_int_equal(machine_state(machine), MACHINE_RUNNING);
}

static void pause_it(void)
{
	struct error e;

	if (machine_pause(machine, &e) < 0)
		fail_msg("pause: %s", e.message);
	assert_int_equal(machine_state(machine), MACHINE_PAUSED);
}

static void resume_it(void)
{
	struct error e;

	if (machine_resume(machine, &e) < 0)
		fail_msg("resume: %s", e.message);
	assert_int_equal(machine_state(machine), MACHINE_RUNNING);
}

static struct machine_outcome wait_for_end(void)
{
	struct machine_outcome outcome;
	struct error e;

	if (machine_wait(machine, LONG_MS, &outcome, &e) < 0)
		fail_msg("wait: %s", e.message);
	return outcome;
}

static void wait_until(const atomic_ulong *word, unsigned long value)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;

	while (atomic_load(word) < value) {
		if (clock_host_ns() > end)
			fail_msg("%lu did not become %lu", atomic_load(word), value);
		sched_yield();
	}
}

static void power(struct engine_vcpu *vcpu, enum power_action action, unsigned code)
{
	power_request(&vcpu->hart->cluster->power, action, code);
}

/* Guests. */

static bool spins(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	vcpu->hart->x[5]++;
	if (vcpu->hart->x[5] % 64 == 0)
		sched_yield();
	return false;
}

static bool powers_off(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	if (vcpu->hart->cpu.id == 2)
		power(vcpu, POWER_OFF, 7);
	return false;
}

static bool crashes(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	power(vcpu, POWER_CRASH, 1);
	return false;
}

static bool breaks(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	if (vcpu->hart->cpu.id != 1)
		return fake_exit(out, ENGINE_EXIT_IDLE, UINT64_MAX);
	fake_exit(out, ENGINE_EXIT_FAILED, 0);
	strcpy(out->message, "it fell apart");
	return true;
}

static atomic_ulong boots;

/* Boots three times, dirties what a reset must clean, then powers off. */
static bool reboots(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	if (vcpu->hart->cpu.id != 0)
		return fake_exit(out, ENGINE_EXIT_STOPPED, UINT64_MAX);
	if (vcpu->hart->x[7] == 99) /* after the request, before the stop is seen */
		return false;
	vcpu->hart->x[7] = 99;
	if (atomic_fetch_add(&boots, 1) < 2)
		power(vcpu, POWER_RESET, 0);
	else
		power(vcpu, POWER_OFF, 3);
	return false;
}

static bool resets_always(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	power(vcpu, POWER_RESET, 0);
	return false;
}

static bool sleeps(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)vcpu;
	return fake_exit(out, ENGINE_EXIT_IDLE, UINT64_MAX);
}

#define HANDOVERS 2000
static atomic_ulong handovers;

/* Passes an interrupt from hart to hart; each sleeps until it comes. One lost wake-up and all sleep for ever. */
static bool passes_on(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	struct hart *self = vcpu->hart;
	struct hart *next = self->cluster->harts[(self->cpu.id + 1) % CPUS];
	bool begins = self->cpu.id == 0 && atomic_load(&handovers) == 0;

	if (!begins && !(hart_mip(self) & IRQ_BIT(IRQ_SSI)))
		return fake_exit(out, self->cpu.id % 2 ? ENGINE_EXIT_IDLE : ENGINE_EXIT_STOPPED, UINT64_MAX);
	hart_set_pending(self, IRQ_BIT(IRQ_SSI), false);
	if (atomic_fetch_add(&handovers, 1) == HANDOVERS)
		power(vcpu, POWER_OFF, 0);
	else
		hart_set_pending(next, IRQ_BIT(IRQ_SSI), true);
	return false;
}

static atomic_ulong slept_ticks;

static bool naps(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	struct hart *self = vcpu->hart;
	uint64_t now = clock_ticks(self->cluster->clock);

	if (self->cpu.id != 0)
		return fake_exit(out, ENGINE_EXIT_STOPPED, UINT64_MAX);
	if (!self->x[6])
		self->x[6] = now + 20 * CLOCK_HZ / 1000;
	if (now < self->x[6])
		return fake_exit(out, ENGINE_EXIT_IDLE, self->x[6]);
	atomic_store(&slept_ticks, now - self->x[6]);
	power(vcpu, POWER_OFF, 0);
	return false;
}

/* Tests. */

static void test_refused(void **state)
{
	struct machine_config wrong = config;
	struct machine *none = NULL;
	struct error e;

	(void)state;
	wrong.kernel = "/nowhere/Image";
	assert_true(machine_new(&none, &wrong, &e) < 0);
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_contains(e.message, "/nowhere/Image");
	wrong = config;
	wrong.cpus = 33;
	assert_true(machine_new(&none, &wrong, &e) < 0);
	assert_int_equal(e.kind, ERROR_USAGE);
	wrong = config;
	wrong.console = CONSOLE_FILE;
	wrong.console_path = "/nowhere/log";
	assert_true(machine_new(&none, &wrong, &e) < 0);
	assert_contains(e.message, "console /nowhere/log");
	assert_null(none);
}

static void test_names(void **state)
{
	struct machine_config nameless = config;
	struct machine *a, *b;
	struct error e;

	(void)state;
	assert_string_equal(machine_name(machine), "test");
	nameless.name = NULL;
	assert_int_equal(machine_new(&a, &nameless, &e), 0);
	assert_int_equal(machine_new(&b, &nameless, &e), 0);
	assert_string_not_equal(machine_name(a), machine_name(b));
	assert_null(machine_console_path(a));
	machine_free(a);
	machine_free(b);
}

static void busy(int r, const struct error *e, const char *part)
{
	assert_int_equal(r, -EBUSY);
	assert_int_equal(e->kind, ERROR_STATE);
	assert_contains(e->message, part);
}

static void test_wrong_states(void **state)
{
	struct machine_outcome outcome;
	struct state_writer w;
	struct error e;

	(void)state;
	state_writer_init(&w);
	busy(machine_pause(machine, &e), &e, "test is created and can not be paused");
	busy(machine_resume(machine, &e), &e, "created");
	busy(machine_wait(machine, 0, &outcome, &e), &e, "created");
	start(spins);
	busy(machine_start(machine, &e), &e, "running");
	busy(machine_resume(machine, &e), &e, "running");
	busy(machine_save(machine, &w, &e), &e, "running and can not be saved");
	busy(machine_load(machine, "", 0, &e), &e, "loaded");
	pause_it();
	busy(machine_pause(machine, &e), &e, "paused and can not be paused");
	busy(machine_start(machine, &e), &e, "paused");
	busy(machine_load(machine, "", 0, &e), &e, "paused");
	machine_stop(machine);
	busy(machine_resume(machine, &e), &e, "stopped");
	busy(machine_save(machine, &w, &e), &e, "stopped");
	assert_int_equal(w.length, 0);
	state_writer_finish(&w);
}

static void test_power_off(void **state)
{
	struct machine_outcome outcome;

	(void)state;
	start(powers_off);
	outcome = wait_for_end();
	assert_int_equal(outcome.state, MACHINE_STOPPED);
	assert_int_equal(outcome.exit_code, 7);
	assert_false(outcome.detached);
	assert_int_equal(outcome.signal, 0);
	assert_string_equal(outcome.message, "");
	assert_int_equal(machine_state(machine), MACHINE_STOPPED);
	outcome = wait_for_end(); /* at once, the same again */
	assert_int_equal(outcome.exit_code, 7);
}

static void test_crash(void **state)
{
	struct machine_outcome outcome;

	(void)state;
	start(crashes);
	outcome = wait_for_end();
	assert_int_equal(outcome.state, MACHINE_FAILED);
	assert_string_equal(outcome.message, "the guest reported a crash");
	machine_stop(machine);
	assert_int_equal(machine_state(machine), MACHINE_FAILED);
}

static void test_engine_failure(void **state)
{
	struct machine_outcome outcome;

	(void)state;
	start(breaks);
	outcome = wait_for_end();
	assert_int_equal(outcome.state, MACHINE_FAILED);
	assert_string_equal(outcome.message, "CPU 1: it fell apart");
}

static void test_reset(void **state)
{
	struct machine_outcome outcome;
	unsigned long loaded = atomic_load(&hart(3)->engine_vcpu->loaded);

	(void)state;
	atomic_store(&boots, 0);
	start(reboots);
	outcome = wait_for_end();
	assert_int_equal(outcome.state, MACHINE_STOPPED);
	assert_int_equal(outcome.exit_code, 3);
	assert_int_equal(atomic_load(&boots), 3);
	assert_int_equal(atomic_load(&hart(3)->engine_vcpu->loaded) - loaded, 2);
}

static void test_resets_for_ever(void **state)
{
	struct machine_outcome outcome;
	uint64_t before = clock_host_ns();
	struct error e;

	(void)state;
	start(resets_always);
	assert_int_equal(machine_wait(machine, 100, &outcome, &e), -ETIMEDOUT);
	assert_int_equal(outcome.state, MACHINE_RUNNING);
	assert_in_range(clock_host_ns() - before, 100 * MS, LONG_MS * MS);
}

static void test_timeout(void **state)
{
	struct machine_outcome outcome;
	struct error e = {0};

	(void)state;
	start(spins);
	assert_int_equal(machine_wait(machine, 30, &outcome, &e), -ETIMEDOUT);
	assert_int_equal(e.kind, ERROR_TIMEOUT);
	assert_int_equal(outcome.state, MACHINE_RUNNING);
	assert_int_equal(machine_wait(machine, 0, &outcome, &e), -ETIMEDOUT);
	pause_it();
	assert_int_equal(machine_wait(machine, 1, &outcome, &e), -ETIMEDOUT);
	assert_int_equal(outcome.state, MACHINE_PAUSED);
	machine_stop(machine);
	assert_int_equal(machine_wait(machine, 0, &outcome, &e), 0);
	assert_int_equal(outcome.state, MACHINE_STOPPED);
	assert_int_equal(outcome.exit_code, 0);
}

static void test_pause(void **state)
{
	(void)state;
	start(spins);
	for (unsigned round = 0; round < 200; round++) {
		uint64_t ticks, x[CPUS];

		wait_until(&hart(round % CPUS)->engine_vcpu->turns, turns(round % CPUS) + 1);
		pause_it();
		ticks = clock_ticks(&machine_board(machine)->clock);
		for (unsigned i = 0; i < CPUS; i++)
			x[i] = hart(i)->x[5];
		sched_yield();
		for (unsigned i = 0; i < CPUS; i++)
			assert_int_equal(hart(i)->x[5], x[i]);
		assert_int_equal(clock_ticks(&machine_board(machine)->clock), ticks);
		resume_it();
	}
	for (unsigned i = 0; i < CPUS; i++)
		wait_until(&hart(i)->engine_vcpu->turns, turns(i) + 1);
}

static void test_pause_of_sleepers(void **state)
{
	(void)state;
	start(sleeps);
	for (unsigned round = 0; round < 200; round++) {
		pause_it();
		resume_it();
	}
}

/* Pause and resume amid a flow of interrupts; none may be lost over it. */
static void test_no_lost_wakeup(void **state)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;
	struct machine_outcome outcome;
	struct error e;
	int r;

	(void)state;
	atomic_store(&handovers, 0);
	start(passes_on);
	do {
		r = machine_wait(machine, 1, &outcome, &e);
		if (r == 0 || clock_host_ns() > end)
			break;
		if (machine_pause(machine, &e) == 0)
			resume_it();
	} while (true);
	if (r < 0)
		fail_msg("stuck after %lu of %d handovers", atomic_load(&handovers), HANDOVERS);
	assert_int_equal(outcome.state, MACHINE_STOPPED);
	assert_int_equal(atomic_load(&handovers), HANDOVERS + 1);
}

static void test_deadline(void **state)
{
	(void)state;
	start(naps);
	assert_int_equal(wait_for_end().state, MACHINE_STOPPED);
	assert_in_range(atomic_load(&slept_ticks), 0, CLOCK_HZ * 10);
}

static void test_pause_meets_power_off(void **state)
{
	struct error e;

	(void)state;
	start(powers_off);
	wait_until(&hart(2)->engine_vcpu->turns, 1);
	busy(machine_pause(machine, &e), &e, "test is stopped");
	assert_int_equal(machine_state(machine), MACHINE_STOPPED);
	assert_int_equal(wait_for_end().exit_code, 7);
}

static void test_pause_meets_reset(void **state)
{
	(void)state;
	atomic_store(&boots, 0);
	start(reboots);
	wait_until(&boots, 1);
	pause_it();
	assert_int_equal(hart(0)->x[7], 0);
	assert_int_equal(clock_ticks(&machine_board(machine)->clock), 0);
	resume_it();
	assert_int_equal(wait_for_end().exit_code, 3);
}

/* Every hart wants something else at the same time: one wins, and is carried out alone. */
static bool quarrels(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	power(vcpu, vcpu->hart->cpu.id % 2 ? POWER_CRASH : POWER_OFF, vcpu->hart->cpu.id);
	return false;
}

static void test_first_event_wins(void **state)
{
	struct machine_outcome outcome;

	(void)state;
	start(quarrels);
	outcome = wait_for_end();
	if (outcome.state == MACHINE_STOPPED)
		assert_int_equal(outcome.exit_code % 2, 0);
	else
		assert_string_equal(outcome.message, "the guest reported a crash");
}

/* What a press does to the guest is the device's business. */
static void test_press_power(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(machine_press_power(machine, &e), -EBUSY);
	assert_int_equal(e.kind, ERROR_STATE);
	start(spins);
	assert_int_equal(machine_press_power(machine, &e), -ENODEV);
	assert_non_null(strstr(e.message, "no power button"));
	machine_free(machine);
	config.power_button = true;
	machine = make();
	config.power_button = false;
	start(spins);
	assert_int_equal(machine_press_power(machine, &e), 0);
}

static void test_stop(void **state)
{
	(void)state;
	start(spins);
	machine_stop(machine);
	assert_int_equal(machine_state(machine), MACHINE_STOPPED);
	assert_int_equal(wait_for_end().exit_code, 0);
}

static void test_free_while_running(void **state)
{
	(void)state;
	start(spins);
	machine_free(machine);
	machine = NULL;
	machine_free(NULL);
}

static void test_statistics(void **state)
{
	struct engine_statistics statistics;
	unsigned long sum = 0;

	(void)state;
	start(spins);
	wait_until(&hart(1)->engine_vcpu->turns, 10);
	pause_it();
	for (unsigned i = 0; i < CPUS; i++)
		sum += turns(i);
	machine_statistics(machine, &statistics);
	assert_int_equal(statistics.instructions, sum);
	assert_int_equal(statistics.exits, 2 * CPUS);
}

static void *send_signal(void *arg)
{
	const struct timespec moment = {.tv_nsec = 20 * 1000000};

	nanosleep(&moment, NULL);
	kill(getpid(), *(int *)arg);
	return NULL;
}

static void ends_wait(int number)
{
	struct machine_outcome outcome;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, send_signal, &number), 0);
	outcome = wait_for_end();
	pthread_join(thread, NULL);
	assert_int_equal(outcome.signal, number);
	assert_int_equal(outcome.exit_code, 128 + number);
	assert_int_equal(outcome.state, MACHINE_RUNNING);
	assert_false(outcome.detached);
}

static void test_signals(void **state)
{
	struct machine_outcome outcome;
	struct sigaction before, after;
	struct error e;

	(void)state;
	sigaction(SIGTERM, NULL, &before);
	start(spins);
	ends_wait(SIGTERM);
	ends_wait(SIGINT);
	ends_wait(SIGHUP);
	assert_int_equal(machine_wait(machine, 0, &outcome, &e), -ETIMEDOUT);
	assert_int_equal(outcome.signal, 0);
	sigaction(SIGTERM, NULL, &after);
	assert_ptr_equal(before.sa_handler, after.sa_handler);
}

static void test_ignored_signal(void **state)
{
	struct machine_outcome outcome;
	struct error e;
	pthread_t thread;
	int number = SIGHUP;

	(void)state;
	signal(SIGHUP, SIG_IGN);
	start(spins);
	assert_int_equal(pthread_create(&thread, NULL, send_signal, &number), 0);
	assert_int_equal(machine_wait(machine, 100, &outcome, &e), -ETIMEDOUT);
	assert_int_equal(outcome.signal, 0);
	pthread_join(thread, NULL);
	signal(SIGHUP, SIG_DFL);
}

static void save(struct machine *from, struct state_writer *w)
{
	struct error e;

	state_writer_init(w);
	if (machine_save(from, w, &e) < 0)
		fail_msg("save: %s", e.message);
}

static void test_save_and_load(void **state)
{
	struct state_writer first, second;
	struct machine *copy = make();
	struct error e;

	(void)state;
	start(spins);
	wait_until(&hart(3)->engine_vcpu->turns, 5);
	pause_it();
	save(machine, &first);
	if (machine_load(copy, first.bytes, first.length, &e) < 0)
		fail_msg("load: %s", e.message);
	assert_int_equal(machine_state(copy), MACHINE_PAUSED);
	save(copy, &second);
	assert_int_equal(first.length, second.length);
	assert_memory_equal(first.bytes, second.bytes, first.length);
	machine_free(machine);
	machine = copy;
	assert_true(hart(3)->x[5] >= 5);
	resume_it();
	wait_until(&hart(3)->engine_vcpu->turns, 5);
	state_writer_finish(&first);
	state_writer_finish(&second);
}

static void test_bad_load(void **state)
{
	struct state_writer saved;
	uint64_t pc = hart(0)->pc;
	struct error e;

	(void)state;
	hart(0)->pc = pc + 64;
	save(machine, &saved);
	hart(0)->pc = pc;
	assert_int_equal(machine_load(machine, saved.bytes, saved.length - 1, &e), -EBADMSG);
	assert_int_equal(machine_state(machine), MACHINE_CREATED);
	assert_int_equal(hart(0)->pc, pc);
	start(powers_off);
	assert_int_equal(wait_for_end().exit_code, 7);
	state_writer_finish(&saved);
}

#define RTC      UINT64_C(0x101000)
#define UART     UINT64_C(0x10000000)
#define PLIC     UINT64_C(0xc000000)
#define RTC_WIRE 11

static atomic_ulong alarm_seen;

static uint64_t bus_word(struct hart *self, uint64_t address)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(self->cluster->bus, gpa(address), 4, &value), 0);
	return value;
}

static void put_word(struct hart *self, uint64_t address, uint64_t value)
{
	assert_int_equal(bus_write(self->cluster->bus, gpa(address), 4, value), 0);
}

static void put_byte(struct hart *self, uint64_t address, uint8_t value)
{
	assert_int_equal(bus_write(self->cluster->bus, gpa(address), 1, value), 0);
}

/* Sets an alarm 30 ms ahead and never touches the RTC again, so that only the machine can notice it. */
static bool awaits_alarm(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	struct hart *self = vcpu->hart;

	if (self->cpu.id != 0)
		return fake_exit(out, ENGINE_EXIT_STOPPED, UINT64_MAX);
	if (!self->x[6]) {
		uint64_t then = bus_word(self, RTC);

		self->x[6] = 1;
		then |= bus_word(self, RTC + 4) << 32;
		then += 30 * MS;
		put_word(self, RTC + 0x10, 1);
		put_word(self, RTC + 0x0c, then >> 32);
		put_word(self, RTC + 0x08, (uint32_t)then);
	}
	if (bus_word(self, PLIC + 0x1000) & 1 << RTC_WIRE) {
		power(vcpu, POWER_OFF, 0);
		atomic_store(&alarm_seen, 1);
	}
	sched_yield();
	return false;
}

/* Each counts in a page of its own, which it may write as it likes: by the contract, only until leave is taken from it. */
static bool counts(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	struct memory *memory = &machine_board(machine)->memory;
	gpa_t page = gpa_add(memory->regions[0].base, (1 + vcpu->hart->cpu.id) * GUEST_PAGE_SIZE);

	vcpu->hart->x[6]++;
	return memory_write(memory, page, &vcpu->hart->x[6], 8) == 0 ? spins(vcpu, out)
								     : fake_exit(out, ENGINE_EXIT_FAILED, 0);
}

/* What was collected, read amid the guest's running, is never older than what the guest did before. */
static void test_tracking(void **state)
{
	struct memory *memory = &machine_board(machine)->memory;
	uint64_t *bitmap = calloc(memory_dirty_words(&memory->regions[0]), sizeof *bitmap), pages;
	struct error e;

	(void)state;
	assert_int_equal(machine_track_begin(machine, &e), 0);
	assert_int_equal(machine_track_begin(machine, &e), -EBUSY);
	assert_int_equal(machine_track_collect(machine, &bitmap), 0);
	start(counts);
	for (unsigned round = 0; round < 20; round++) {
		unsigned long seen[CPUS];

		for (unsigned i = 0; i < CPUS; i++)
			seen[i] = turns(i);
		for (unsigned i = 0; i < CPUS; i++)
			wait_until(&hart(i)->engine_vcpu->turns, seen[i] + 2);
		pages = machine_track_collect(machine, &bitmap);
		if (pages != CPUS || bitmap[0] != 0x1e)
			fail_msg("round %u: %llu pages, bits %llx", round, (unsigned long long)pages,
				 (unsigned long long)bitmap[0]);
	}
	pause_it();
	machine_track_collect(machine, &bitmap);
	assert_int_equal(machine_track_collect(machine, &bitmap), 0);
	machine_track_end(machine);
	resume_it();
	free(bitmap);
}

static void test_alarm(void **state)
{
	(void)state;
	start(awaits_alarm);
	assert_int_equal(wait_for_end().state, MACHINE_STOPPED);
	assert_int_equal(atomic_load(&alarm_seen), 1);
}

#define AREA UINT64_C(0x80800000)

/* Busy, with a steal-time area each; never an exit of its own. */
static bool competes(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	vcpu->hart->sbi_sta_address = AREA + vcpu->hart->cpu.id * 64;
	return false;
}

static uint64_t stolen(unsigned index)
{
	le64_t value;

	assert_int_equal(memory_read(&machine_board(machine)->memory, gpa(AREA + index * 64 + 8), &value, sizeof value),
			 0);
	return le64_get(value);
}

/* What the host keeps of this thread's waiting; 0: nothing. */
static unsigned long long host_keeps_waiting_time(void)
{
	FILE *file = fopen("/proc/thread-self/schedstat", "re");
	unsigned long long waited = 0;

	if (file && fscanf(file, "%*u %llu", &waited) != 1)
		waited = 0;
	if (file)
		fclose(file);
	return waited;
}

/* More busy harts than processors: time is stolen, and what was told is never taken back by a save and load. */
static void test_steal(void **state)
{
	uint64_t before[CPUS], sum = 0, end = clock_host_ns() + LONG_MS * MS;
	struct machine_outcome outcome;
	struct state_writer w;
	struct error e;

	(void)state;
	if (!host_keeps_waiting_time() || sysconf(_SC_NPROCESSORS_ONLN) >= CPUS)
		skip();
	start(competes);
	while (!sum && clock_host_ns() < end) {
		assert_int_equal(machine_wait(machine, 150, &outcome, &e), -ETIMEDOUT);
		pause_it();
		for (unsigned i = 0; i < CPUS; i++)
			sum += before[i] = stolen(i);
		if (sum)
			save(machine, &w);
		resume_it();
	}
	assert_true(sum > 0);
	machine_free(machine);
	machine = make();
	assert_int_equal(machine_load(machine, w.bytes, w.length, &e), 0);
	state_writer_finish(&w);
	resume_it();
	assert_int_equal(machine_wait(machine, 300, &outcome, &e), -ETIMEDOUT);
	pause_it();
	for (unsigned i = 0; i < CPUS; i++)
		if (stolen(i) < before[i])
			fail_msg("stolen time fell from %llu to %llu ns", (unsigned long long)before[i],
				 (unsigned long long)stolen(i));
}

#define CHATTER (3 * MIB)

static char chatter_at(size_t index)
{
	return (char)('a' + index % 23);
}

/* Hart 0 prints without end of patience, hart 1 just runs. */
static bool chatters(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	struct hart *self = vcpu->hart;

	(void)out;
	if (self->cpu.id != 0) {
		sched_yield();
		return false;
	}
	if (self->x[5] == CHATTER) {
		power(vcpu, POWER_OFF, 9);
		return false;
	}
	put_byte(self, UART, (uint8_t)chatter_at(self->x[5]));
	self->x[5]++;
	return false;
}

static size_t listen(int fd, size_t from)
{
	char bytes[65536];
	ssize_t n = read(fd, bytes, sizeof bytes);

	for (ssize_t i = 0; i < n; i++)
		if (bytes[i] != chatter_at(from + (size_t)i))
			fail_msg("byte %zu is '%c' instead of '%c'", from + (size_t)i, bytes[i],
				 chatter_at(from + (size_t)i));
	return n > 0 ? (size_t)n : 0;
}

/* A reader that takes nothing stops the hart that prints, and nothing else: not its neighbours, the owner or a
 * pause. */
static void test_slow_reader(void **state)
{
	char path[] = "/tmp/doppel-machine-XXXXXX";
	struct machine_config slow = config;
	struct machine_outcome outcome;
	uint64_t end = clock_host_ns() + LONG_MS * MS;
	unsigned long before, neighbour;
	struct error e;
	size_t heard = 0;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	slow.console = CONSOLE_FILE;
	slow.console_path = path;
	assert_int_equal(machine_new(&machine, &slow, &e), 0);
	start(chatters);
	wait_until(&hart(0)->engine_vcpu->turns, MIB);
	do /* until it is throttled: this guest has no other reason to sleep */
		assert_int_equal(machine_wait(machine, 10, &outcome, &e), -ETIMEDOUT);
	while (!atomic_load(&hart(0)->cpu.sleeping) && clock_host_ns() < end);
	before = turns(0);
	neighbour = turns(1);
	assert_in_range(before, MIB, MIB + 256 * KIB);
	for (unsigned i = 0; i < 20; i++) {
		pause_it();
		resume_it();
	}
	assert_int_equal(turns(0), before);
	wait_until(&hart(1)->engine_vcpu->turns, neighbour + 10);
	while (heard < CHATTER) {
		heard += listen(fd, heard);
		(void)!machine_wait(machine, 0, &outcome, &e);
	}
	assert_int_equal(wait_for_end().exit_code, 9);
	assert_int_equal(heard, CHATTER);
	close(fd);
	unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		TEST(test_names),
		TEST(test_wrong_states),
		TEST(test_power_off),
		TEST(test_crash),
		TEST(test_engine_failure),
		TEST(test_reset),
		TEST(test_resets_for_ever),
		TEST(test_timeout),
		TEST(test_pause),
		TEST(test_pause_of_sleepers),
		TEST(test_no_lost_wakeup),
		TEST(test_deadline),
		TEST(test_pause_meets_power_off),
		TEST(test_pause_meets_reset),
		TEST(test_first_event_wins),
		TEST(test_press_power),
		TEST(test_stop),
		TEST(test_free_while_running),
		TEST(test_statistics),
		TEST(test_signals),
		TEST(test_ignored_signal),
		TEST(test_save_and_load),
		TEST(test_bad_load),
		TEST(test_tracking),
		TEST(test_alarm),
		TEST(test_steal),
		cmocka_unit_test_teardown(test_slow_reader, teardown),
	};
	const int ends[] = {SIGINT, SIGTERM, SIGHUP};

	/* What was started in the background of a script ignores some of them. */
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		signal(ends[i], SIG_DFL);

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
