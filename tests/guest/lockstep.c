/*
 * Two engines in lockstep over a boot of Debian: one board each, the same RAM at first, clocks that stand but for the
 * test. Both execute the same number of instructions, a random number at a time, on a random hart of those that
 * do not wait; then all of the harts and every page that either wrote must be the same.
 *
 * An engine may look at device interrupts when it likes, so both may take one at different instants; and FS may be
 * Dirty under one of them, which software can read (Privileged 3.1.6.6). Where a chunk differs by that, the second
 * board becomes a copy of the first, which may happen in a small share of chunks only. Any other difference fails, and
 * the first instruction that differs is searched for. FS itself may differ for many chunks before somebody reads it.
 *
 * usage: lockstep ENGINE ENGINE [HARTS]. Prints TAP. DOPPEL_SEED repeats a run, DOPPEL_CODE_CACHE is the size of the
 * engines' caches of translated code in KiB.
 */
#include "debian.h"

#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "board/virt.h"
#include "hart_compare.h"
#include "riscv/hart.h"

#define MEMORY       (192 * MIB)
#define CHUNK_MAX    200000
#define PER_TICK     50 /* instructions of a clock tick */
#define SHARE        20 /* one chunk in so many may be made the same by hand */
#define HARTS_MAX    4
#define FS_BITS      (MSTATUS_FS | MSTATUS_SD)
#define INSTRUCTIONS UINT64_C(200000000)
#define LONG         UINT64_C(3000000000)

/* The wall-clock device of both boards must tell the same; replaces the C library's function in this program. */
int clock_gettime(clockid_t id, struct timespec *now)
{
	if (id != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, id, now);
	*now = (struct timespec){.tv_sec = 1800000000};
	return 0;
}

struct side {
	const struct engine *engine;
	struct board *board;
	struct hart **harts;
	struct engine_vcpu *vcpus[HARTS_MAX];
	struct engine_exit exit; /* of the last chunk */
	uint64_t interrupts; /* taken in the last chunk */
	uint64_t fs[HARTS_MAX]; /* the part of mstatus that is its own, when the chunk began */
	uint64_t *dirty;
};

struct pair {
	struct side sides[2];
	uint64_t *changed;        /* pages that either side wrote in the last chunk, a bit each */
	uint8_t *agreed_ram;      /* what both had at the start of the chunk */
	struct state_writer agreed;
	uint64_t tick, total, chunks, copies, seed;
	unsigned count, turn;          /* harts, and the one that runs now */
	uint64_t deadlines[HARTS_MAX]; /* of harts that wait; 0: does not */
};

static bool ended;

static void on_power(void *opaque, enum power_action action, unsigned code)
{
	(void)opaque, (void)action, (void)code;
	ended = true;
}

static void die(const struct error *e)
{
	printf("Bail out! %s\n", e->message);
	exit(1);
}

static const struct memory_region *ram(const struct side *side)
{
	return &side->board->memory.regions[0];
}

static void drop_write_access(const struct side *side)
{
	for (unsigned i = 0; i < side->board->harts->count; i++)
		side->engine->drop_write_access(side->vcpus[i]);
}

static void side_init(struct side *side, const char *engine, const struct image *image, unsigned harts)
{
	const struct board_config config = {
		.memory_bytes = MEMORY,
		.cpus = harts,
		.kernel = image->kernel,
		.initrd = image->initrd,
		.append = "console=ttyS0 quiet doppel.tour",
		.power = {on_power, NULL},
	};
	const char *cache = getenv("DOPPEL_CODE_CACHE");
	struct error e;

	side->engine = debian_engine(engine);
	if (!side->engine) {
		printf("1..0 # SKIP no engine %s on this host\n", engine);
		exit(DEBIAN_SKIPPED);
	}
	if (board_new(&side->board, &config, &e) < 0 || board_reset(side->board, &e) < 0)
		die(&e);
	side->board->harts->code_cache = cache ? strtoull(cache, NULL, 10) * KIB : 0;
	side->harts = side->board->harts->harts;
	for (unsigned i = 0; i < harts; i++)
		if (side->engine->vcpu_new(&side->vcpus[i], &side->harts[i]->cpu, &e) < 0)
			die(&e);
	if (memory_dirty_start(&side->board->memory, &e) < 0)
		die(&e);
	drop_write_access(side);
	side->dirty = calloc(memory_dirty_words(ram(side)), sizeof *side->dirty);
}

static void side_finish(struct side *side)
{
	for (unsigned i = 0; i < side->board->harts->count; i++)
		side->engine->vcpu_free(side->vcpus[i]);
	board_free(side->board);
	free(side->dirty);
}

static void side_run(struct side *side, unsigned turn, uint64_t limit)
{
	struct engine_statistics before, after;

	side->engine->statistics(side->vcpus[turn], &before);
	side->engine->run(side->vcpus[turn], limit, &side->exit);
	side->engine->statistics(side->vcpus[turn], &after);
	side->interrupts = after.causes[ENGINE_CAUSE_INTERRUPT] - before.causes[ENGINE_CAUSE_INTERRUPT];
}

static void save(const struct side *side, struct state_writer *w)
{
	state_writer_init(w);
	for (unsigned i = 0; i < side->board->harts->count; i++)
		state_save(w, &hart_state, "hart", side->harts[i]);
	for (unsigned i = 0; i < side->board->device_count; i++)
		if (side->board->devices[i]->type->state)
			device_save(side->board->devices[i], w);
}

static void load(struct side *side, const struct state_writer *w)
{
	struct state_reader r;
	struct state_section section;
	unsigned harts = side->board->harts->count, at = 0;
	struct device **devices = side->board->devices;
	struct error e;
	int more;

	state_reader_init(&r, w->bytes, w->length);
	for (; (more = state_next(&r, &section, &e)) > 0; at++) {
		int code;

		while (at >= harts && !devices[at - harts]->type->state)
			at++;
		code = at < harts ? state_load(&section, &hart_state, side->harts[at], &e) :
				    device_load(devices[at - harts], &section, &e);
		if (code < 0)
			die(&e);
	}
	if (more < 0)
		die(&e);
	for (unsigned i = 0; i < harts; i++) {
		side->harts[i]->mstatus = (side->harts[i]->mstatus & ~FS_BITS) | side->fs[i];
		hart_loaded(side->harts[i]);
		side->engine->state_loaded(side->vcpus[i], NULL);
	}
}

/* The pages that either side wrote since the last time. */
static void collect(struct pair *pair)
{
	uint64_t words = memory_dirty_words(ram(&pair->sides[0]));

	for (unsigned i = 0; i < 2; i++) {
		struct side *side = &pair->sides[i];

		memory_dirty_collect(&side->board->memory, 0, side->dirty);
		drop_write_access(side);
		for (uint64_t j = 0; j < words; j++)
			pair->changed[j] = (i ? pair->changed[j] : 0) | side->dirty[j];
	}
}

/* Offset of the next changed page from `*page` on, or false. */
static bool next_changed(const struct pair *pair, uint64_t *page, uint64_t *offset)
{
	uint64_t pages = MEMORY >> GUEST_PAGE_SHIFT;

	for (; *page < pages; ++*page) {
		if (!(pair->changed[*page / 64] >> (*page % 64) & 1))
			continue;
		*offset = (*page)++ << GUEST_PAGE_SHIFT;
		return true;
	}
	return false;
}

static bool ram_same(const struct pair *pair, uint64_t *where)
{
	const uint8_t *a = ram(&pair->sides[0])->host, *b = ram(&pair->sides[1])->host;

	for (uint64_t page = 0, at; next_changed(pair, &page, &at);) {
		if (memcmp(a + at, b + at, GUEST_PAGE_SIZE) == 0)
			continue;
		for (*where = at; a[*where] == b[*where];)
			++*where;
		return false;
	}
	return true;
}

static void copy_changed(const struct pair *pair, uint8_t *to, const uint8_t *from)
{
	for (uint64_t page = 0, at; next_changed(pair, &page, &at);)
		memcpy(to + at, from + at, GUEST_PAGE_SIZE);
}

static bool differ_but(const struct pair *pair, bool tell, uint64_t ignored)
{
	const struct side *a = &pair->sides[0], *b = &pair->sides[1];
	bool found = false;
	uint64_t where;

	for (unsigned i = 0; i < pair->count; i++)
		found = harts_differ(a->harts[i], b->harts[i], tell, i == pair->turn ? ignored : 0) > 0 || found;
	if (a->exit.reason != b->exit.reason) {
		found = true;
		if (tell)
			printf("# exits: %d and %d\n", a->exit.reason, b->exit.reason);
	}
	if (!ram_same(pair, &where)) {
		found = true;
		if (tell)
			printf("# RAM at %" PRIx64 ": %02x and %02x\n", ram(a)->base.value + where, ram(a)->host[where],
			       ram(b)->host[where]);
	}
	return found;
}

/* What differs now, as it would be printed; the caller's to free(). */
static char *difference(const struct pair *pair)
{
	FILE *out = stdout;
	char *text = NULL;
	size_t length;

	stdout = open_memstream(&text, &length);
	if (!stdout)
		abort();
	for (unsigned i = 0; i < 2; i++)
		printf("# %s: pc %" PRIx64 ", %" PRIu64 " instructions, exit %d\n", i ? "second" : "first",
		       pair->sides[i].harts[pair->turn]->pc, pair->sides[i].harts[pair->turn]->instret, pair->sides[i].exit.reason);
	differ_but(pair, true, 0);
	fclose(stdout);
	stdout = out;
	return text;
}

static bool differ(const struct pair *pair)
{
	return differ_but(pair, false, 0);
}

/* The first side's state is what both agree on from now on, but for FS. */
static void agree(struct pair *pair)
{
	for (unsigned i = 0; i < 2 * pair->count; i++)
		pair->sides[i % 2].fs[i / 2] = pair->sides[i % 2].harts[i / 2]->mstatus & FS_BITS;
	copy_changed(pair, pair->agreed_ram, ram(&pair->sides[0])->host);
	state_writer_finish(&pair->agreed);
	save(&pair->sides[0], &pair->agreed);
}

static void run_both(struct pair *pair, uint64_t limit)
{
	for (unsigned i = 0; i < 2; i++) {
		clock_set(&pair->sides[i].board->clock, pair->tick);
		side_run(&pair->sides[i], pair->turn, limit);
	}
	collect(pair);
}

/* Both from the start of the chunk, `count` instructions on. Only the last run's pages are not as agreed. */
static bool differ_after(struct pair *pair, uint64_t count)
{
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = &pair->sides[i];

		copy_changed(pair, ram(side)->host, pair->agreed_ram);
		clock_set(&side->board->clock, pair->tick);
		load(side, &pair->agreed);
	}
	run_both(pair, count);
	return differ(pair);
}

/* How many instructions of the chunk must run for a difference; 0: none came this time. */
static uint64_t first_difference(struct pair *pair, uint64_t chunk)
{
	uint64_t same = 0, different = chunk;

	if (!differ_after(pair, chunk))
		return 0;
	while (different - same > 1) {
		uint64_t middle = same + (different - same) / 2;

		if (differ_after(pair, middle))
			different = middle;
		else
			same = middle;
	}
	return different;
}

static void report(struct pair *pair, uint64_t chunk, uint64_t first, const char *seen)
{
	printf("# after %" PRIu64 " instructions and some of %" PRIu64 "\n", pair->total, chunk);
	if (first == 0) {
		printf("# there was a difference that does not come again, at the end of the chunk:\n%s", seen);
		return;
	}
	if (first > 1) {
		differ_after(pair, first - 1);
		printf("# instruction %" PRIu64 " on hart %u, at pc %" PRIx64 ":\n", first, pair->turn,
		       pair->sides[0].harts[pair->turn]->pc);
	}
	differ_after(pair, first);
	differ_but(pair, true, 0);
}

/* The second side becomes a copy of the first. */
static void copy(struct pair *pair)
{
	struct side *a = &pair->sides[0], *b = &pair->sides[1];

	copy_changed(pair, ram(b)->host, ram(a)->host);
	agree(pair);
	memcpy(b->fs, a->fs, sizeof b->fs);
	load(b, &pair->agreed);
	b->exit = a->exit;
	pair->copies++;
}

/* What may differ does: the instant of an interrupt, or sstatus.FS, which has just been read. The chunk then ends
 * there. False: the engines disagree. */
static bool settle(struct pair *pair, uint64_t *chunk)
{
	if (pair->sides[0].interrupts + pair->sides[1].interrupts == 0) {
		char *seen = difference(pair);
		uint64_t first = first_difference(pair, *chunk);
		bool wrong = first == 0 || (differ_after(pair, first), differ_but(pair, false, FS_BITS));

		if (wrong)
			report(pair, *chunk, first, seen);
		free(seen);
		if (wrong)
			return false;
		*chunk = first;
	}
	copy(pair);
	return true;
}

/* A chunk; false: the engines disagree. */
static bool step(struct pair *pair, uint64_t chunk)
{
	struct side *a = &pair->sides[0];

	run_both(pair, chunk);
	pair->chunks++;
	if (!differ(pair))
		agree(pair);
	else if (!settle(pair, &chunk))
		return false;
	pair->total += chunk;
	pair->tick += chunk / PER_TICK + 1;
	pair->deadlines[pair->turn] =
		a->exit.reason == ENGINE_EXIT_IDLE || a->exit.reason == ENGINE_EXIT_STOPPED ? a->exit.deadline : 0;
	return true;
}

/* Whether a hart that waited has to look. */
static bool is_awake(const struct pair *pair, unsigned hart)
{
	struct hart *h = pair->sides[0].harts[hart];

	return pair->deadlines[hart] <= pair->tick || atomic_load(&h->requests) || hart_wake(h);
}

/* The next hart to run. When all wait, the clock goes on to the first deadline. */
static void choose(struct pair *pair)
{
	uint64_t first = UINT64_MAX;
	unsigned awake[HARTS_MAX], count = 0;

	for (unsigned i = 0; i < pair->count; i++) {
		if (is_awake(pair, i))
			awake[count++] = i;
		if (pair->deadlines[i] < first)
			first = pair->deadlines[i];
	}
	if (count) {
		pair->turn = awake[debian_random(&pair->seed) % count];
		return;
	}
	if (first != UINT64_MAX)
		pair->tick = first;
	for (unsigned i = 0; i < pair->count; i++)
		if (pair->deadlines[i] == first)
			pair->turn = i;
}

static void pair_init(struct pair *pair, char **names, const struct image *image)
{
	for (unsigned i = 0; i < 2; i++)
		side_init(&pair->sides[i], names[i], image, pair->count);
	/* Their device trees have different random seeds. */
	memcpy(ram(&pair->sides[1])->host, ram(&pair->sides[0])->host, MEMORY);
	pair->changed = calloc(memory_dirty_words(ram(&pair->sides[0])), sizeof *pair->changed);
	pair->agreed_ram = malloc(MEMORY);
	memcpy(pair->agreed_ram, ram(&pair->sides[0])->host, MEMORY);
	save(&pair->sides[0], &pair->agreed);
	pair->tick = 1;
}

static void pair_finish(struct pair *pair)
{
	for (unsigned i = 0; i < 2; i++)
		side_finish(&pair->sides[i]);
	state_writer_finish(&pair->agreed);
	free(pair->changed);
	free(pair->agreed_ram);
}

/* Mostly long chunks, and short ones that cut blocks anywhere. */
static uint64_t chunk_size(uint64_t *seed)
{
	uint64_t random = debian_random(seed);

	return 1 + (random >> 8) % (random % 4 ? CHUNK_MAX : 100);
}

int main(int count, char **arguments)
{
	uint64_t end = getenv("DOPPEL_LONG") ? LONG : INSTRUCTIONS;
	struct pair pair = {.count = 1};
	struct image image;
	bool same = true;

	if (count == 4)
		pair.count = (unsigned)strtoul(arguments[3], NULL, 10);
	if (count < 3 || count > 4 || pair.count < 1 || pair.count > HARTS_MAX)
		return 2;
	debian_find(&image);
	pair.seed = debian_seed();
	pair_init(&pair, arguments + 1, &image);
	printf("1..2\n");
	while (same && !ended && pair.total < end) {
		choose(&pair);
		same = step(&pair, chunk_size(&pair.seed));
	}
	printf("%sok 1 - %s and %s agree over %" PRIu64 " instructions of %u harts\n", same ? "" : "not ",
	       arguments[1], arguments[2], pair.total, pair.count);
	printf("%sok 2 - %" PRIu64 " of %" PRIu64 " chunks differed where they may\n",
	       pair.copies * SHARE <= pair.chunks ? "" : "not ", pair.copies, pair.chunks);
	for (unsigned i = 0; i < pair.count; i++)
		printf("# hart %u: %" PRIu64 " instructions\n", i, pair.sides[0].harts[i]->instret);
	same = same && pair.copies * SHARE <= pair.chunks;
	pair_finish(&pair);
	image_finish(&image);
	return !same;
}
