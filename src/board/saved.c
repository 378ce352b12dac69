/* board_save, board_load and their halves for state: which sections a saved board consists of, and that each comes
 * exactly once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/board.h"
#include "board/ram.h"

/* The first section: what the saved board was. */
struct identity {
	uint64_t memory_bytes;
	uint32_t cpus;
	bool firmware;
	uint64_t own_memory_bytes; /* not saved: of the board that loads */
	uint32_t own_cpus;
	bool own_firmware;
};

static int check_identity(const void *shadow, struct error *e)
{
	const struct identity *id = shadow;

	if (id->memory_bytes == id->own_memory_bytes && id->cpus == id->own_cpus &&
	    id->firmware == id->own_firmware)
		return 0;
	return error_set(
		e, ERROR_USAGE, -EINVAL,
		"the saved machine has %llu MiB of RAM, %u CPUs and %s; this one has %llu MiB, %u and %s: make it "
		"the same",
		(unsigned long long)(id->memory_bytes / MIB), id->cpus, id->firmware ? "firmware" : "no firmware",
		(unsigned long long)(id->own_memory_bytes / MIB), id->own_cpus,
		id->own_firmware ? "firmware" : "no firmware");
}

static const struct state_field identity_fields[] = {
	STATE_FIELD(struct identity, memory_bytes, STATE_U64),
	STATE_FIELD(struct identity, cpus, STATE_U32),
	STATE_FIELD(struct identity, firmware, STATE_BOOL),
};
static const struct state_descriptor identity_state = {
	.kind = "board",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct identity),
	.fields = identity_fields,
	.field_count = ARRAY_SIZE(identity_fields),
	.validate = check_identity,
};

struct time_saved {
	uint64_t ticks;
};
static const struct state_field time_fields[] = {STATE_FIELD(struct time_saved, ticks, STATE_U64)};

static int check_time(const void *shadow, struct error *e)
{
	const struct time_saved *time = shadow;

	if (time->ticks <= UINT64_MAX / 2 / CLOCK_NS_PER_TICK)
		return 0;
	return error_set(e, ERROR_FAILED, -EINVAL, "the saved clock reads %llu, which is beyond its range",
			 (unsigned long long)time->ticks);
}

static const struct state_descriptor time_state = {
	.kind = "clock",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct time_saved),
	.fields = time_fields,
	.field_count = ARRAY_SIZE(time_fields),
	.validate = check_time,
};

/* The last section: nothing after it, and no page of RAM missing before it. */
struct ending {
	uint64_t ram_pages;
};
static const struct state_field ending_fields[] = {STATE_FIELD(struct ending, ram_pages, STATE_U64)};
static const struct state_descriptor ending_state = {
	.kind = "end",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct ending),
	.fields = ending_fields,
	.field_count = ARRAY_SIZE(ending_fields),
};

#define BOARD_INSTANCE "board"
#define SLOTS_MAX      (4 + CPUS_MAX + BOARD_DEVICES_MAX)

/* A section that must come once, and where it goes. */
struct slot {
	const struct state_descriptor *descriptor;
	char instance[32];
	void *object; /* NULL: `device` */
	struct device *device;
	bool seen;
};

/* The sections of a board, in the order in which they are saved; RAM comes before the last one. */
struct outline {
	struct slot slots[SLOTS_MAX];
	unsigned count;
	struct identity identity;
	struct time_saved time;
	struct ending ending;
	bool ram; /* or all else only */
	uint64_t ram_next, ram_pages;
};

static struct slot *add_slot(struct outline *o, const struct state_descriptor *d, const char *instance)
{
	struct slot *slot = &o->slots[o->count++];

	slot->descriptor = d;
	snprintf(slot->instance, sizeof slot->instance, "%s", instance);
	return slot;
}

static void add_cpu_slots(struct outline *o, struct board *board)
{
	for (unsigned i = 0; i < board->cpu_count; i++) {
		struct cpu *cpu = board->cpus[i];
		char name[16];

		snprintf(name, sizeof name, board->harts ? "hart%u" : "cpu%u", i);
		add_slot(o, cpu->type->state, name)->object = cpu_holder(cpu);
	}
}

static void add_device_slots(struct outline *o, struct board *board)
{
	for (unsigned i = 0; i < board->device_count; i++) {
		struct device *device = board->devices[i];

		if (device->type->state)
			add_slot(o, device->type->state, device->name)->device = device;
	}
}

static struct outline *outline_new(struct board *board, bool ram)
{
	struct outline *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->ram = ram;
	o->identity = (struct identity){
		.own_memory_bytes = memory_size(&board->memory),
		.own_cpus = board->cpu_count,
		.own_firmware = board->firmware,
	};
	add_slot(o, &identity_state, BOARD_INSTANCE)->object = &o->identity;
	add_slot(o, &time_state, BOARD_INSTANCE)->object = &o->time;
	/* Cpus before devices: those drive their wires into the cpus as soon as they are loaded. */
	add_cpu_slots(o, board);
	if (board->chips_state)
		add_slot(o, board->chips_state, BOARD_INSTANCE)->object = board->chips;
	add_device_slots(o, board);
	add_slot(o, &ending_state, BOARD_INSTANCE)->object = &o->ending;
	return o;
}

static void save_slot(const struct slot *slot, struct state_writer *w)
{
	if (slot->device)
		device_save(slot->device, w);
	else
		state_save(w, slot->descriptor, slot->instance, slot->object);
}

static void save(struct board *board, struct state_writer *w, bool ram)
{
	struct outline *o = outline_new(board, ram);

	if (!o) {
		w->failed = w->failed ? w->failed : -ENOMEM;
		return;
	}
	o->identity.memory_bytes = o->identity.own_memory_bytes;
	o->identity.cpus = o->identity.own_cpus;
	o->identity.firmware = o->identity.own_firmware;
	o->time.ticks = clock_ticks(&board->clock);
	for (unsigned i = 0; i + 1 < o->count; i++)
		save_slot(&o->slots[i], w);
	o->ending.ram_pages = ram ? ram_save(&board->memory, w) : 0;
	save_slot(&o->slots[o->count - 1], w);
	free(o);
}

void board_save(struct board *board, struct state_writer *w)
{
	save(board, w, true);
}

void board_save_state(struct board *board, struct state_writer *w)
{
	save(board, w, false);
}

static int damaged(const struct state_section *section, const char *why, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG, "the saved state's section %s \"%s\" %s", section->kind,
			 section->instance, why);
}

static struct slot *find_slot(struct outline *o, const struct state_section *section)
{
	for (unsigned i = 0; i < o->count; i++)
		if (strcmp(o->slots[i].descriptor->kind, section->kind) == 0 &&
		    strcmp(o->slots[i].instance, section->instance) == 0)
			return &o->slots[i];
	return NULL;
}

static int load_slot(struct board *board, struct outline *o, const struct slot *slot,
		     const struct state_section *section, struct error *e)
{
	int r;

	if (slot->device)
		return device_load(slot->device, section, e);
	r = state_load(section, slot->descriptor, slot->object, e);
	/* At once: timers of harts and devices that follow are judged by it. */
	if (r == 0 && slot->object == &o->time)
		clock_set(&board->clock, o->time.ticks);
	return r;
}

static int load_section(struct board *board, struct outline *o, const struct state_section *section,
			struct error *e)
{
	bool ram = strcmp(section->kind, RAM_KIND) == 0;
	struct slot *slot = ram ? NULL : find_slot(o, section);

	if (o->slots[o->count - 1].seen)
		return damaged(section, "comes after the end", e);
	if (slot != &o->slots[0] && !o->slots[0].seen)
		return damaged(section, "comes before the board's", e);
	if (ram && !o->ram)
		return damaged(section, "has no place in a state without RAM", e);
	if (ram)
		return ram_load(&board->memory, section, &o->ram_next, &o->ram_pages, e);
	if (!slot)
		return damaged(section, "belongs to nothing in this machine", e);
	if (slot->seen)
		return damaged(section, "comes twice", e);
	slot->seen = true;
	return load_slot(board, o, slot, section, e);
}

static int check_complete(const struct outline *o, struct error *e)
{
	for (unsigned i = 0; i < o->count; i++)
		if (!o->slots[i].seen)
			return error_set(e, ERROR_FAILED, -EBADMSG, "the saved state lacks its section %s \"%s\"",
					 o->slots[i].descriptor->kind, o->slots[i].instance);
	if (o->ram_pages != o->ending.ram_pages)
		return error_set(e, ERROR_FAILED, -EBADMSG,
				 "the saved state has %llu pages of RAM instead of %llu",
				 (unsigned long long)o->ram_pages, (unsigned long long)o->ending.ram_pages);
	return 0;
}

static int load_all(struct board *board, struct outline *o, struct state_reader *r, struct error *e)
{
	struct state_section section;
	int more;

	while ((more = state_next(r, &section, e)) > 0) {
		int code = load_section(board, o, &section, e);

		if (code < 0)
			return code;
	}
	return more < 0 ? more : check_complete(o, e);
}

static int load(struct board *board, struct state_reader *r, bool ram, struct error *e)
{
	struct outline *o = outline_new(board, ram);
	int code;

	if (!o)
		return error_errno(e, -ENOMEM, "loading a saved state");
	clock_stop(&board->clock);
	if (ram)
		ram_clear(&board->memory);
	code = load_all(board, o, r, e);
	for (unsigned i = 0; code == 0 && i < board->cpu_count; i++)
		if (board->cpus[i]->type->loaded)
			board->cpus[i]->type->loaded(board->cpus[i]);
	if (code == 0 && board->type->chips_loaded)
		code = board->type->chips_loaded(board, e);
	free(o);
	return code;
}

int board_load(struct board *board, struct state_reader *r, struct error *e)
{
	return load(board, r, true, e);
}

int board_load_state(struct board *board, struct state_reader *r, struct error *e)
{
	return load(board, r, false, e);
}
