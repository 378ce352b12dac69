/*
 * A machine moves while Debian boots in it: it is stopped anywhere, saved, and goes on in another machine, in this
 * process or a new one, under the same engine or another, any number of times; the boot finishes there and prints what
 * it prints when nothing moves; its virtio devices move along. Saved states that are damaged, or of another machine, are
 * refused.
 *
 * usage: state_move (needs the image debian-tiny). Prints TAP. DOPPEL_SEED repeats the random choices.
 *        state_move --finish STATE ENGINE CPUS LOG REFERENCE: a new process lets a saved machine finish
 */
#include "debian.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "device/virtio/balloon.h"
#include "device/virtio/rng.h"
#include "machine/machine.h"

#define MEMORY      (192 * MIB)
#define KEPT        (128 * MIB) /* what the balloon leaves */
#define STATUS      77 /* of the guest's last command */
#define PATIENCE_MS 120000
#define SOON_MS     500 /* the longest that a machine runs before it is moved again */
#define MOVES       8
#define LOG_MAX     (1 * MIB)
#define STATE_MAX   (512 * MIB)

/* What does not depend on when things happen comes first, the time last. */
static const char append[] = "console=ttyS0 quiet doppel.exec=\"nproc; uname -sm; seq 5000 | md5sum; "
			     "cat /lib/modules/*/*.xz | md5sum; dd if=/dev/hwrng bs=500 count=400 2>/dev/null | "
			     "wc -c; tour | grep @; echo up $(cut -d. -f1 /proc/uptime); "
			     "sleep 0.3; exit 77\"";

struct scene {
	struct image image;
	char directory[32], log[48], state[48], reference[48];
	uint64_t seed;
	const char *program;
	enum board_transport transport;
	unsigned number;
	bool failed;
};

static void result(struct scene *scene, bool good, const char *name, unsigned cpus)
{
	printf("%sok %u - %s, %u CPUs%s\n", good ? "" : "not ", ++scene->number, name, cpus,
	       scene->transport == BOARD_PCI ? ", PCI" : "");
	scene->failed = scene->failed || !good;
}

/* Tells of an unexpected error; true when there is none. */
static bool fine(int r, const struct error *e)
{
	if (r < 0)
		printf("# %s\n", e->message);
	return r >= 0;
}

static struct machine_config config_for(const struct scene *scene, const struct engine *engine, unsigned cpus)
{
	return (struct machine_config){
		.memory_bytes = MEMORY,
		.cpus = cpus,
		.engine = engine,
		.kernel = scene->image.kernel,
		.initrd = scene->image.initrd,
		.append = append,
		.console = CONSOLE_FILE,
		.console_path = scene->log,
		.transport = scene->transport,
		.rng = MACHINE_ON,
		.balloon = true,
		.balloon_keeps = KEPT,
	};
}

static struct machine *make(const struct scene *scene, const struct engine *engine, unsigned cpus)
{
	struct machine_config config = config_for(scene, engine, cpus);
	struct machine *machine = NULL;
	struct error e;

	return fine(machine_new(&machine, &config, &e), &e) ? machine : NULL;
}

/* The lines from behind the kernel's to the guest's time; NULL when they are not all there. To be freed. */
static char *told(const char *path, unsigned long *uptime)
{
	uint8_t *bytes;
	size_t size;
	struct error e;
	char *text, *from, *to;

	if (!fine(file_read(path, LOG_MAX, &bytes, &size, &e), &e))
		return NULL;
	text = (char *)bytes;
	from = strstr(text, "doppel: init at ");
	from = from ? strchr(from, '\n') : NULL;
	to = from ? strstr(from, "\nup ") : NULL;
	if (!to) {
		printf("# the guest told only: %.300s\n", text);
		free(text);
		return NULL;
	}
	*uptime = strtoul(to + 4, NULL, 10);
	*to = '\0';
	memmove(text, from, strlen(from) + 1);
	return text;
}

/* What the guest told is as in `reference`, and its time went on with the machine's clock. */
static bool told_right(const char *log, const char *reference, uint64_t ticks)
{
	unsigned long uptime = 0, unused;
	char *text = told(log, &uptime), *expected = reference ? told(reference, &unused) : NULL;
	bool same = text && (!reference || (expected && strcmp(text, expected) == 0));
	uint64_t seconds = ticks / CLOCK_HZ;

	if (text && !same)
		printf("# the guest told: %s\n# expected: %s\n", text, expected ? expected : "nothing");
	if (text && (uptime > seconds || uptime + 10 < seconds)) {
		printf("# the guest's time was %lu s shortly before the clock's %" PRIu64 " s\n", uptime, seconds);
		same = false;
	}
	free(text);
	free(expected);
	return same;
}

/* Waits for the end and judges it. */
static bool finished(struct machine *machine, const char *log, const char *reference)
{
	struct machine_outcome outcome;
	struct error e;

	if (!fine(machine_wait(machine, PATIENCE_MS, &outcome, &e), &e))
		return false;
	if (outcome.state == MACHINE_STOPPED && outcome.exit_code == STATUS)
		return told_right(log, reference, clock_ticks(&machine_board(machine)->clock));
	printf("# ended as %s with %d: %s\n", machine_state_name(outcome.state), outcome.exit_code, outcome.message);
	return false;
}

/* Runs for a random time, then is paused; false when it ended first. */
static bool run_a_while(struct scene *scene, struct machine *machine)
{
	struct machine_outcome outcome;
	int ms = 1 + (int)(debian_random(&scene->seed) % SOON_MS);

	return machine_wait(machine, ms, &outcome, NULL) == -ETIMEDOUT && machine_pause(machine, NULL) == 0;
}

static bool refuse_silently(struct machine *machine, const struct state_writer *w)
{
	struct error e;
	int r = machine_load(machine, w->bytes, w->length, &e);

	if (r < 0 && *e.message && machine_state(machine) == MACHINE_CREATED)
		return true;
	printf("# a state that should be refused: %d, %s\n", r, r < 0 ? e.message : "accepted");
	return false;
}

static bool load(struct machine *machine, const struct state_writer *w, uint64_t ticks)
{
	struct error e;

	if (!fine(machine_load(machine, w->bytes, w->length, &e), &e))
		return false;
	if (clock_ticks(&machine_board(machine)->clock) == ticks)
		return true;
	printf("# the clock read %" PRIu64 " and then %" PRIu64 "\n", ticks,
	       clock_ticks(&machine_board(machine)->clock));
	return false;
}

/* The guest of `from`, which is freed, goes on in a new machine, or NULL. */
static struct machine *move(const struct scene *scene, struct machine *from, const struct engine *engine, unsigned cpus)
{
	struct machine *to = make(scene, engine, cpus);
	uint64_t ticks = clock_ticks(&machine_board(from)->clock);
	struct state_writer w;
	struct error e;
	bool good;

	state_writer_init(&w);
	good = to && fine(machine_save(from, &w, &e), &e) && load(to, &w, ticks);
	machine_free(from);
	good = good && fine(machine_resume(to, &e), &e);
	state_writer_finish(&w);
	if (good)
		return to;
	machine_free(to);
	return NULL;
}

static bool start(struct scene *scene, struct machine **out, const struct engine *engine, unsigned cpus)
{
	struct error e;

	unlink(scene->log);
	*out = make(scene, engine, cpus);
	return *out && fine(machine_start(*out, &e), &e);
}

/* A boot that nothing disturbs, for comparison. */
static void reference(struct scene *scene, const struct engine *engine, unsigned cpus)
{
	struct machine *machine;
	bool good = start(scene, &machine, engine, cpus) && finished(machine, scene->log, NULL);

	machine_free(machine);
	good = good && rename(scene->log, scene->reference) == 0;
	result(scene, good, "a boot that stays", cpus);
}

/* Moves from `first` to `second`, back, and so on, until the guest ends or it was MOVES times. */
static void chain(struct scene *scene, const struct engine *first, const struct engine *second, unsigned cpus)
{
	struct machine *machine;
	bool good = start(scene, &machine, first, cpus);
	unsigned moves = 0;
	char name[100];

	while (good && moves < MOVES && run_a_while(scene, machine)) {
		machine = move(scene, machine, moves++ % 2 ? first : second, cpus);
		good = machine != NULL;
	}
	good = good && finished(machine, scene->log, scene->reference);
	if (good && moves == 0) {
		printf("# it never moved\n");
		good = false;
	}
	machine_free(machine);
	snprintf(name, sizeof name, "%u moves between %s and %s", moves, first->name, second->name);
	result(scene, good, name, cpus);
}

static void print_to(void *fd, const uint8_t *bytes, size_t length)
{
	while (length) {
		ssize_t n = write(*(int *)fd, bytes, length);

		if (n < 0)
			return;
		bytes += n;
		length -= (size_t)n;
	}
}

/* A board without a machine executes exactly `count` instructions; what is left of an idle time is slept. */
static bool execute(struct board *board, const struct engine *engine, uint64_t count)
{
	struct hart *hart = board->harts->harts[0];
	struct engine_vcpu *vcpu;
	struct engine_exit out;
	struct error e;

	if (!fine(engine->vcpu_new(&vcpu, &hart->cpu, &e), &e))
		return false;
	clock_start(&board->clock);
	do {
		uint32_t ticket = cpu_idle_ticket(&hart->cpu);
		uint64_t before = hart->instret;

		engine->run(vcpu, count, &out);
		count -= hart->instret - before < count ? hart->instret - before : count;
		if (out.reason == ENGINE_EXIT_IDLE)
			cpu_idle(&hart->cpu, ticket, out.deadline);
	} while (count && out.reason != ENGINE_EXIT_LIMIT && out.reason != ENGINE_EXIT_FAILED);
	clock_stop(&board->clock);
	engine->vcpu_free(vcpu);
	return out.reason != ENGINE_EXIT_FAILED;
}

/* The devices that machines here have, in their order. */
static int equip(struct board *board, struct worker *worker, struct error *e)
{
	struct virtio *rng = NULL, *balloon = NULL;
	int r = virtio_rng_new(&rng, "rng0", worker, e);

	if (r == 0)
		r = board_add_virtio(board, rng, e);
	if (r == 0)
		r = virtio_balloon_new(&balloon, "balloon0", worker, e);
	if (r < 0)
		return r;
	r = board_add_virtio(board, balloon, e);
	if (r == 0)
		virtio_balloon_set_target(balloon, MEMORY - KEPT);
	return r;
}

static bool saved_at(struct scene *scene, const struct engine *engine, uint64_t count, struct state_writer *w)
{
	int log = open(scene->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	const struct board_config config = {
		.memory_bytes = MEMORY,
		.cpus = 1,
		.kernel = scene->image.kernel,
		.initrd = scene->image.initrd,
		.append = append,
		.transport = scene->transport,
		.serial = {print_to, &log},
	};
	struct board *board = NULL;
	struct error e;
	struct worker *worker = NULL;
	bool good = fine(board_new(&board, &config, &e), &e) && fine(worker_new(&worker, "io", &e), &e) &&
		    fine(equip(board, worker, &e), &e) && fine(board_reset(board, &e), &e) &&
		    execute(board, engine, count);

	for (unsigned i = 0; good && i < board->device_count; i++)
		device_pause(board->devices[i]);
	if (good)
		board_save(board, w);
	board_free(board);
	worker_free(worker);
	close(log);
	return good && !w->failed;
}

/* Stopped at one instruction of the boot, whichever it is. */
static void at_instruction(struct scene *scene, const struct engine *first, const struct engine *second)
{
	uint64_t count = 1000 + debian_random(&scene->seed) % 250000000;
	struct machine *machine;
	struct state_writer w;
	struct error e;
	char name[120];
	bool good;

	state_writer_init(&w);
	good = saved_at(scene, first, count, &w);
	machine = make(scene, second, 1);
	good = good && machine && fine(machine_load(machine, w.bytes, w.length, &e), &e) &&
	       fine(machine_resume(machine, &e), &e) && finished(machine, scene->log, scene->reference);
	machine_free(machine);
	state_writer_finish(&w);
	snprintf(name, sizeof name, "after %" PRIu64 " instructions from %s to %s", count, first->name, second->name);
	result(scene, good, name, 1);
}

static bool finish_elsewhere(const struct scene *scene, const struct engine *engine, unsigned cpus)
{
	char count[12];
	int status;
	pid_t child;

	snprintf(count, sizeof count, "%u", cpus);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		execl(scene->program, scene->program, "--finish", scene->state, engine->name, count, scene->log,
		      scene->reference, (char *)NULL);
		_exit(127);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void new_process(struct scene *scene, const struct engine *first, const struct engine *second, unsigned cpus)
{
	struct machine *machine;
	struct state_writer w;
	struct error e;
	char name[100];
	bool good;

	state_writer_init(&w);
	good = start(scene, &machine, first, cpus) && run_a_while(scene, machine) &&
	       fine(machine_save(machine, &w, &e), &e) &&
	       fine(file_write(scene->state, w.bytes, w.length, 0600, &e), &e);
	machine_free(machine);
	good = good && finish_elsewhere(scene, second, cpus);
	state_writer_finish(&w);
	snprintf(name, sizeof name, "from %s to %s in a new process", first->name, second->name);
	result(scene, good, name, cpus);
}

/* --finish */
static int finish(char **arguments)
{
	struct scene scene = {.number = 0};
	const struct engine *engine = debian_engine(arguments[1]);
	struct machine *machine;
	uint8_t *bytes;
	size_t size;
	struct error e;
	bool good;

	debian_find(&scene.image);
	snprintf(scene.log, sizeof scene.log, "%s", arguments[3]);
	machine = make(&scene, engine, (unsigned)strtoul(arguments[2], NULL, 10));
	if (!machine || !fine(file_read(arguments[0], STATE_MAX, &bytes, &size, &e), &e))
		return 1;
	good = fine(machine_load(machine, bytes, size, &e), &e) && fine(machine_resume(machine, &e), &e) &&
	       finished(machine, scene.log, arguments[4]);
	free(bytes);
	machine_free(machine);
	image_finish(&scene.image);
	return !good;
}

/* Cut anywhere, or with a bit that changed anywhere. */
static bool refuses_damage(struct scene *scene, struct machine *to, struct state_writer *w)
{
	unsigned times = getenv("DOPPEL_LONG") ? 1000 : 12;
	size_t length = w->length;
	bool good = true;

	for (unsigned i = 0; i < times && good; i++) {
		w->length = debian_random(&scene->seed) % (i % 3 ? length : 10000);
		good = refuse_silently(to, w);
	}
	w->length = length;
	for (unsigned i = 0; i < times && good; i++) {
		size_t at = debian_random(&scene->seed) % (i % 3 ? length : 10000);
		uint8_t bit = (uint8_t)(1u << debian_random(&scene->seed) % 8);

		w->bytes[at] ^= bit;
		good = refuse_silently(to, w);
		if (!good)
			printf("# bit %02x of byte %zu of %zu was changed\n", bit, at, length);
		w->bytes[at] ^= bit;
	}
	return good;
}

/* After all that the machine boots as if nothing had happened. */
static bool still_boots(struct scene *scene, struct machine *machine)
{
	struct error e;

	return truncate(scene->log, 0) == 0 && fine(machine_start(machine, &e), &e) &&
	       finished(machine, scene->log, scene->reference);
}

static bool refuses_other(const struct scene *scene, const struct engine *engine, uint64_t memory, unsigned cpus,
			  const struct state_writer *w)
{
	struct machine_config config = config_for(scene, engine, cpus);
	struct machine *machine = NULL;
	struct error e;
	bool good;

	config.memory_bytes = memory;
	good = fine(machine_new(&machine, &config, &e), &e) && refuse_silently(machine, w);
	machine_free(machine);
	return good;
}

static void refused(struct scene *scene, const struct engine *engine)
{
	struct machine *from, *to;
	struct state_writer w;
	struct error e;
	bool good;

	state_writer_init(&w);
	good = start(scene, &from, engine, 1) && run_a_while(scene, from) && fine(machine_save(from, &w, &e), &e);
	machine_free(from);
	to = make(scene, engine, 1);
	if (good && to) {
		result(scene, refuses_other(scene, engine, MEMORY, 2, &w), "refused: other CPUs", 1);
		result(scene, refuses_other(scene, engine, MEMORY + MIB, 1, &w), "refused: other memory", 1);
		result(scene, refuses_damage(scene, to, &w), "refused: cut or changed states", 1);
		good = still_boots(scene, to);
	}
	result(scene, good && to, "a machine that refused boots", 1);
	machine_free(to);
	state_writer_finish(&w);
}

static void scene_init(struct scene *scene, const char *program)
{
	*scene = (struct scene){.program = program, .directory = "/tmp/doppel-move-XXXXXX"};
	debian_find(&scene->image);
	scene->seed = debian_seed();
	if (!mkdtemp(scene->directory)) {
		printf("Bail out! no directory in /tmp\n");
		exit(1);
	}
	snprintf(scene->log, sizeof scene->log, "%s/log", scene->directory);
	snprintf(scene->state, sizeof scene->state, "%s/state", scene->directory);
	snprintf(scene->reference, sizeof scene->reference, "%s/reference", scene->directory);
}

static void scene_finish(struct scene *scene)
{
	unlink(scene->log);
	unlink(scene->state);
	unlink(scene->reference);
	rmdir(scene->directory);
	image_finish(&scene->image);
}

/* The same devices as functions of PCI; a machine that has them on MMIO takes no such state. */
static void on_pci(struct scene *scene, const struct engine *first, const struct engine *second)
{
	struct scene other = *scene;
	struct state_writer w;
	bool good;

	scene->transport = BOARD_PCI;
	reference(scene, second, 2);
	chain(scene, first, second, 2);
	chain(scene, second, second, 2);
	reference(scene, second, 1);
	at_instruction(scene, first, second);
	at_instruction(scene, second, first);
	state_writer_init(&w);
	good = saved_at(scene, second, 100000000, &w) && refuses_other(&other, second, MEMORY, 1, &w);
	result(scene, good, "refused: devices elsewhere", 1);
	state_writer_finish(&w);
	scene->transport = BOARD_OWN_TRANSPORT;
}

static void ways(struct scene *scene, const struct engine *first, const struct engine *second, unsigned cpus)
{
	reference(scene, second, cpus);
	chain(scene, first, first, cpus);
	chain(scene, first, second, cpus);
	chain(scene, second, second, cpus);
	new_process(scene, first, second, cpus);
	new_process(scene, second, first, cpus);
}

static void all(struct scene *scene, const struct engine *first, const struct engine *second, bool thorough)
{
	ways(scene, first, second, 2);
	if (thorough)
		ways(scene, first, second, 1);
	else
		reference(scene, second, 1);
	at_instruction(scene, first, second);
	at_instruction(scene, second, first);
	at_instruction(scene, second, second);
	refused(scene, second);
	on_pci(scene, first, second);
}

int main(int count, char **arguments)
{
	const struct engine *first, *second;
	struct scene scene;
	bool thorough;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count == 7 && strcmp(arguments[1], "--finish") == 0)
		return finish(arguments + 2);
	if (count != 1)
		return 2;
	first = debian_engine("interpret");
	second = debian_engine("translate");
	scene_init(&scene, arguments[0]);
	thorough = getenv("DOPPEL_LONG") != NULL;
	for (unsigned i = 0; i < (thorough ? 10 : 1); i++)
		all(&scene, first, second ? second : first, thorough);
	printf("1..%u\n", scene.number);
	scene_finish(&scene);
	return scene.failed;
}
