#include "machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "machine/private.h"

/* On a vCPU's thread, with the UART's lock held. */
static void serial_write(void *opaque, const uint8_t *bytes, size_t length)
{
	struct machine *machine = opaque;

	atomic_fetch_add_explicit(&machine->printed, length, memory_order_relaxed);
	if (console_write(machine->console, bytes, length))
		crew_throttle(machine->crew);
}

/* On a vCPU's thread, amid a run. */
static void power_requested(void *opaque, enum power_action action, unsigned code)
{
	struct event event = {.kind = EVENT_NONE};

	switch (action) {
	case POWER_NONE:
		return;
	case POWER_OFF:
		event.kind = EVENT_OFF;
		event.exit_code = (int)(code & 0xff);
		break;
	case POWER_RESET:
		event.kind = EVENT_RESET;
		break;
	case POWER_CRASH:
		event.kind = EVENT_FAILED;
		snprintf(event.message, sizeof event.message, "the guest reported a crash");
		break;
	}
	machine_raise(opaque, &event);
}

static void vcpu_failed(void *opaque, unsigned cpu, const char *message)
{
	struct event event = {.kind = EVENT_FAILED};

	snprintf(event.message, sizeof event.message, "CPU %u: %s", cpu, message);
	machine_raise(opaque, &event);
}

static bool crowded(void *opaque)
{
	return console_crowded(((const struct machine *)opaque)->console);
}

static void room(void *opaque)
{
	struct machine *machine = opaque;

	crew_nudge(machine->crew);
	if (machine->terminal)
		virtio_terminal_room(machine->terminal);
}

static void drained(void *opaque)
{
	bell_ring(&((struct machine *)opaque)->bell);
}

static void choose_name(struct machine *machine, const char *name)
{
	static atomic_uint count;
	unsigned number = atomic_fetch_add(&count, 1) + 1;

	if (name)
		snprintf(machine->name, sizeof machine->name, "%s", name);
	else
		snprintf(machine->name, sizeof machine->name, "machine-%d-%u", (int)getpid(), number);
}

static int make_console(struct machine *machine, const struct machine_config *config, struct error *e)
{
	const struct console_config console = {
		.kind = config->console,
		.path = config->console_path,
		.input = STDIN_FILENO,
		.output = STDOUT_FILENO,
		.log = config->console_log,
		.loop = machine->loop,
		.hooks = {.leave = machine_leave,
			  .room = room,
			  .drained = drained,
			  .resized = machine_resized,
			  .opaque = machine},
	};

	return console_new(&machine->console, &console, e);
}

static int make_board(struct machine *machine, const struct machine_config *config, struct error *e)
{
	const struct board_config board = {
		.engine = machine->engine,
		.memory_bytes = config->memory_bytes,
		.huge_pages = config->huge_pages,
		.cpus = config->cpus,
		.cpu_model = config->cpu_model,
		.kernel = config->kernel,
		.initrd = config->initrd,
		.append = config->append,
		.firmware = config->firmware,
		.transport = config->transport,
		.loads = config->loads,
		.serial = {serial_write, machine},
		.power = {power_requested, machine},
	};

	return board_new(&machine->board, &board, e);
}

static bool is_awake(void *opaque, unsigned vcpu)
{
	return crew_is_awake(((const struct machine *)opaque)->crew, vcpu);
}

static void stop_vcpu(void *opaque, unsigned vcpu)
{
	crew_stop_one(((struct machine *)opaque)->crew, vcpu);
}

static int make_quota(struct machine *machine, struct error *e)
{
	const struct quota_hooks hooks = {.awake = is_awake, .stop = stop_vcpu, .opaque = machine};
	int r = quota_new(&machine->quota, machine->board->cpu_count, &hooks, e);

	if (r < 0)
		return r;
	if (machine->worker)
		quota_add_worker(machine->quota, worker_loop(machine->worker));
	for (unsigned i = 0; i < machine->process_count; i++)
		(void)quota_add_process(machine->quota, machine->processes[i]);
	return 0;
}

/* On a vCPU's thread, each time its engine looks around: some ten microseconds apart. */
static void run_goes_on(void *opaque, const struct hart *hart, uint64_t instructions)
{
	struct machine *machine = opaque;

	if (machine->sample)
		machine->sample(machine->sample_opaque, hart, instructions);
	if (quota_is_late(machine->quota))
		crew_stop_one(machine->crew, hart->cpu.id);
}

static void watch_runs(struct machine *machine)
{
	struct hart_cluster *cluster = machine->board->harts;

	if (!cluster)
		return;
	machine->sample = cluster->sample;
	machine->sample_opaque = cluster->sample_opaque;
	cluster->sample = run_goes_on;
	cluster->sample_opaque = machine;
}

static int make_crew(struct machine *machine, const struct machine_config *config, struct error *e)
{
	const struct crew_hooks hooks = {.failed = vcpu_failed, .crowded = crowded, .opaque = machine};
	int r = config->profile ? machine_open_profile(machine, e) : 0;

	if (r < 0)
		return r;
	watch_runs(machine);
	r = make_quota(machine, e);
	return r < 0 ? r : crew_new(&machine->crew, machine->engine, machine->board, machine->quota, &hooks, e);
}

static struct device *find_rtc(const struct board *board)
{
	for (unsigned i = 0; i < board->device_count; i++)
		if (board->devices[i]->type->alarm)
			return board->devices[i];
	return NULL;
}

static int choose_loop(struct machine *machine, struct loop *loop, struct error *e)
{
	machine->loop = loop;
	machine->owns_loop = !loop;
	return loop ? 0 : loop_new(&machine->loop, e);
}

/* Nothing of the machine is called from the loop any more. */
static void leave_loop(struct machine *machine)
{
	if (!machine->loop)
		return;
	bell_silence(&machine->bell);
	bell_silence(&machine->room_bell);
	loop_timer_cancel(machine->loop, &machine->tick);
	if (machine->owns_loop)
		loop_free(machine->loop);
}

static int choose_engine(struct machine *machine, const struct machine_config *config, struct error *e)
{
	machine->engine = config->engine ? config->engine : engine_default(config->arch);
	if (machine->engine)
		return 0;
	return error_set(e, ERROR_FAILED, -ENODEV, "no engine runs %s guests here; see doppel engines",
			 engine_arch_name(config->arch));
}

static int plan_memory(struct machine *machine, const struct machine_config *config, struct error *e)
{
	uint64_t cache = config->code_cache;
	int r = 0;

	if (config->memory_max)
		r = ceiling_plan(&machine->ceiling, config->memory_max, config->memory_bytes, config->cpus,
				 machine->engine, &cache, e);
	if (machine->board->harts)
		machine->board->harts->code_cache = cache;
	return r;
}

/* When everything is made. */
static int set_shares(struct machine *machine, const struct machine_config *config, struct error *e)
{
	int r = machine_set_quota(machine, &config->quota, e);

	if (r == 0)
		r = place_keep(&config->place, machine->crew, &machine->board->memory, e);
	return r < 0 || !config->memory_max ? r : ceiling_impose(&machine->ceiling, e);
}

/* What they ask of the host when they begin they do not ask later, behind walls. */
static void settle_threads(struct machine *machine)
{
	quota_settle(machine->quota);
	crew_settle(machine->crew);
}

static int build(struct machine *machine, const struct machine_config *config, struct error *e)
{
	/* Reserved pages are none of those that the host has to give away. */
	uint64_t taken = config->huge_pages ? 0 : config->memory_bytes;
	int r = choose_loop(machine, config->loop, e);

	machine->bell = (struct bell){.loop = machine->loop, .fn = machine_attend, .arg = machine};
	machine->room_bell = (struct bell){.loop = machine->loop, .fn = machine_mind_disks, .arg = machine};
	machine->tick = (struct loop_timer){.fn = machine_tick, .arg = machine};
	machine->restless = config->place.dedicated;
	if (r == 0)
		r = choose_engine(machine, config, e);
	if (r == 0)
		r = place_enter(&config->place, machine->name, config->cpus, taken, e);
	/* The board first: it finds most of what can be wrong with a configuration, and opens nothing. */
	if (r == 0)
		r = make_board(machine, config, e);
	if (r == 0)
		r = plan_memory(machine, config, e);
	if (r == 0)
		r = machine_equip(machine, config, e);
	if (r == 0)
		r = make_console(machine, config, e);
	if (r == 0)
		r = make_crew(machine, config, e);
	if (r < 0)
		return r;
	alarm_init(&machine->alarm, machine->loop, find_rtc(machine->board));
	r = machine_power_on(machine, e);
	if (r == 0 && machine->worker)
		r = worker_start(machine->worker, "doppel-io", e);
	if (r < 0)
		return r;
	settle_threads(machine);
	/* Who arrives is this side's before it runs here. */
	if (config->incoming)
		r = machine_await_helpers(machine, e);
	return r < 0 ? r : set_shares(machine, config, e);
}

int machine_new(struct machine **out, const struct machine_config *config, struct error *e)
{
	struct machine *machine = calloc(1, sizeof *machine);
	int r;

	if (!machine)
		return error_errno(e, -ENOMEM, "a machine");
	pthread_mutex_init(&machine->lock, NULL);
	gauge_open(&machine->gauge);
	choose_name(machine, config->name);
	machine->state = MACHINE_CREATED;
	r = build(machine, config, e);
	if (r < 0)
		machine_free(machine);
	else
		*out = machine;
	return r;
}

/* To those who look at the console. */
static void tell_end(struct machine *machine)
{
	bool failed = machine->state == MACHINE_FAILED, stopped = machine->state == MACHINE_STOPPED;
	char why[400];

	if (failed)
		snprintf(why, sizeof why, "%s failed: %s", machine->name, machine->message);
	else
		snprintf(why, sizeof why, stopped ? "%s has stopped" : "%s was switched off", machine->name);
	console_end(machine->console, (uint8_t)(failed ? 1 : stopped ? machine->exit_code : 0), why);
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	if (machine->quota)
		quota_set(machine->quota, &(struct quota_shares){0});
	/* vCPUs write to the console, and the console's output nudges vCPUs. */
	if (machine->crew)
		crew_park(machine->crew);
	if (machine->board)
		machine_pause_devices(machine);
	if (machine->console)
		tell_end(machine);
	gauge_close(&machine->gauge);
	console_free(machine->console);
	crew_free(machine->crew);
	profile_free(machine->profile);
	alarm_finish(&machine->alarm);
	board_free(machine->board);
	worker_free(machine->worker);
	quota_free(machine->quota);
	leave_loop(machine);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

enum machine_state machine_state(const struct machine *machine)
{
	return machine->state;
}

const char *machine_state_name(enum machine_state state)
{
	static const char *const names[] = {
		[MACHINE_CREATED] = "created", [MACHINE_RUNNING] = "running", [MACHINE_PAUSED] = "paused",
		[MACHINE_STOPPED] = "stopped", [MACHINE_FAILED] = "failed",
	};

	return names[state];
}

struct loop *machine_loop(struct machine *machine)
{
	return machine->loop;
}

const char *machine_name(const struct machine *machine)
{
	return machine->name;
}

const char *machine_console_path(const struct machine *machine)
{
	return console_path(machine->console);
}

int machine_console_attach(struct machine *machine, int fd, enum machine_attach how, const char *who,
			   struct error *e)
{
	return console_attach(machine->console, fd, how, who, e);
}

unsigned machine_console_viewers(const struct machine *machine, const char **writer)
{
	return console_viewers(machine->console, writer);
}

struct board *machine_board(struct machine *machine)
{
	return machine->board;
}

struct virtio *machine_balloon(struct machine *machine)
{
	return machine->balloon;
}

struct profile_spot *machine_profile(const struct machine *machine, size_t *count, uint64_t *elsewhere)
{
	return profile_spots(machine->profile, count, elsewhere);
}

void machine_statistics(const struct machine *machine, struct engine_statistics *out)
{
	crew_statistics(machine->crew, out);
}

static int save(struct machine *machine, struct state_writer *w, void (*board)(struct board *, struct state_writer *),
		struct error *e)
{
	int r = machine_check_state(machine, "saved", IN(MACHINE_CREATED) | IN(MACHINE_PAUSED), e);

	if (r == 0)
		r = crew_store_state(machine->crew, e);
	if (r == 0)
		r = board_store(machine->board, e);
	if (r < 0)
		return r;
	board(machine->board, w);
	return w->failed ? error_errno(e, w->failed, "saving the machine") : 0;
}

int machine_save(struct machine *machine, struct state_writer *w, struct error *e)
{
	return save(machine, w, board_save, e);
}

int machine_save_state(struct machine *machine, struct state_writer *w, struct error *e)
{
	return save(machine, w, board_save_state, e);
}

static int load(struct machine *machine, const void *bytes, size_t length,
		int (*board)(struct board *, struct state_reader *, struct error *), struct error *e)
{
	struct state_reader reader;
	int r = machine_check_state(machine, "loaded", IN(MACHINE_CREATED), e);

	if (r < 0)
		return r;
	state_reader_init(&reader, bytes, length);
	machine_pause_devices(machine);
	r = board(machine->board, &reader, e);
	if (r == 0)
		r = crew_state_loaded(machine->crew, e);
	if (r < 0) {
		machine_power_on(machine, NULL);
		return r;
	}
	machine->state = MACHINE_PAUSED;
	return 0;
}

int machine_load(struct machine *machine, const void *bytes, size_t length, struct error *e)
{
	return load(machine, bytes, length, board_load, e);
}

int machine_load_state(struct machine *machine, const void *bytes, size_t length, struct error *e)
{
	return load(machine, bytes, length, board_load_state, e);
}
