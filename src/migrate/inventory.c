#include "migrate/inventory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "migrate/disks.h"
#include "migrate/stream.h"

static const char *arch_name(const struct board *board)
{
	return board->type->arch == ENGINE_RISCV64 ? "riscv64" : "x86_64";
}

/* ---- Sections ---- */

struct section {
	const struct state_descriptor *state;
	char name[32];
};

/* The index-th of the machine: cpus, then devices that have any state; false at the end. */
static bool section_at(const struct board *board, unsigned index, struct section *out)
{
	if (index < board->cpu_count) {
		out->state = board->cpus[index]->type->state;
		snprintf(out->name, sizeof out->name, "cpu%u", index);
		return true;
	}
	index -= board->cpu_count;
	for (unsigned i = 0; i < board->device_count; i++) {
		const struct device *device = board->devices[i];

		if (!device->type->state || index-- != 0)
			continue;
		out->state = device->type->state;
		snprintf(out->name, sizeof out->name, "%s", device->name);
		return true;
	}
	return false;
}

static json_t *sections_of(const struct board *board)
{
	json_t *list = json_array();
	struct section section;

	for (unsigned i = 0; section_at(board, i, &section); i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:i}", "kind", section.state->kind, "name", section.name,
						      "version", (int)section.state->version));
	return list;
}

static json_t *memory_of(const struct memory *memory)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < memory->count; i++)
		json_array_append_new(list, json_pack("{s:I, s:I}", "base", (json_int_t)memory->regions[i].base.value,
						      "size", (json_int_t)memory->regions[i].size));
	return list;
}

/* Of those that it writes. */
static json_t *disks_of(struct machine *machine)
{
	json_t *list = json_array();
	struct block *block;

	for (unsigned i = 0; (block = machine_disk(machine, i)); i++)
		if (!block_read_only(block))
			json_array_append_new(list, json_integer((json_int_t)block_size(block)));
	return list;
}

json_t *inventory_of(struct machine *machine, bool disks)
{
	const struct board *board = machine_board(machine);

	return json_pack("{s:s, s:s, s:i, s:o, s:o, s:o*}", "arch", arch_name(board), "board", board->type->name, "cpus",
			 (int)board->cpu_count, "memory", memory_of(&board->memory), "sections", sections_of(board), "disks",
			 disks ? disks_of(machine) : NULL);
}

/* ---- Comparing ---- */

/* What does not fit, one after the other. */
struct misfits {
	char text[400];
	unsigned count;
};

__attribute__((format(printf, 2, 3))) static void misfit(struct misfits *misfits, const char *format, ...)
{
	size_t length = strlen(misfits->text);
	va_list arguments;

	if (misfits->count++)
		length += (size_t)snprintf(misfits->text + length, sizeof misfits->text - length, "; ");
	if (length >= sizeof misfits->text)
		return;
	va_start(arguments, format);
	vsnprintf(misfits->text + length, sizeof misfits->text - length, format, arguments);
	va_end(arguments);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void compare_text(struct misfits *misfits, const json_t *theirs, const char *key, const char *ours)
{
	char plain[40];
	const char *text = text_of(theirs, key);

	stream_plain((const uint8_t *)text, strlen(text), plain, sizeof plain);
	if (strcmp(text, ours) != 0)
		misfit(misfits, "%s is %s there and %s here", key, plain, ours);
}

static void compare_memory(struct misfits *misfits, const json_t *theirs, const struct memory *ours)
{
	if (json_array_size(theirs) != ours->count)
		misfit(misfits, "it has %zu regions of memory, here %u", json_array_size(theirs), ours->count);
	for (unsigned i = 0; i < ours->count; i++) {
		const json_t *region = json_array_get(theirs, i);

		if (number_of(region, "base") != ours->regions[i].base.value ||
		    number_of(region, "size") != ours->regions[i].size)
			misfit(misfits, "memory region %u has %" PRIu64 " MiB there and %" PRIu64 " MiB here", i,
			       number_of(region, "size") / MIB, ours->regions[i].size / MIB);
	}
}

static const json_t *find(const json_t *sections, const struct section *section)
{
	for (size_t i = 0; i < json_array_size(sections); i++) {
		const json_t *one = json_array_get(sections, i);

		if (strcmp(text_of(one, "kind"), section->state->kind) == 0 && strcmp(text_of(one, "name"), section->name) == 0)
			return one;
	}
	return NULL;
}

static void compare_sections(struct misfits *misfits, const json_t *theirs, const struct board *board)
{
	struct section section;
	unsigned count = 0;

	for (; section_at(board, count, &section); count++) {
		const json_t *one = find(theirs, &section);
		uint64_t version = number_of(one, "version");

		if (!one)
			misfit(misfits, "its %s (%s) is missing", section.state->kind, section.name);
		else if (version < section.state->oldest || version > section.state->version)
			misfit(misfits, "the state of %s (%s) has version %" PRIu64 ", here %u to %u are known",
			       section.state->kind, section.name, version, section.state->oldest, section.state->version);
	}
	if (json_array_size(theirs) > count)
		misfit(misfits, "it has %zu parts, here %u", json_array_size(theirs), count);
}

/* Copied, they have to be others of the same sizes; else the same files. */
static void compare_disk(struct misfits *misfits, const json_t *copied, size_t place, struct machine *machine, unsigned index,
			 const char *token)
{
	uint64_t theirs = (uint64_t)json_integer_value(json_array_get(copied, place)), ours = block_size(machine_disk(machine, index));
	bool same = disks_is_same(machine, index, token);

	if (!copied && !same)
		misfit(misfits, "disk %u is another file here than the one that it writes there, or its file system has no locks that "
				"both see: --copy-disks copies it along", index);
	else if (copied && same)
		misfit(misfits, "disk %u is the same file there and here: it moves without --copy-disks", index);
	else if (copied && theirs != ours)
		misfit(misfits, "disk %u has %" PRIu64 " bytes there and %" PRIu64 " here", index, theirs, ours);
}

static void compare_disks(struct misfits *misfits, const json_t *copied, struct machine *machine, const char *token)
{
	struct block *block;
	size_t place = 0;

	for (unsigned i = 0; (block = machine_disk(machine, i)); i++)
		if (!block_read_only(block))
			compare_disk(misfits, copied, place++, machine, i, token);
	if (copied && json_array_size(copied) != place)
		misfit(misfits, "it writes %zu disks there and %zu here", json_array_size(copied), place);
}

int inventory_check(struct machine *machine, const json_t *theirs, const char *token, struct error *e)
{
	const struct board *board = machine_board(machine);
	struct misfits misfits = {.count = 0};

	compare_text(&misfits, theirs, "arch", arch_name(board));
	compare_text(&misfits, theirs, "board", board->type->name);
	if (number_of(theirs, "cpus") != board->cpu_count)
		misfit(&misfits, "it has %" PRIu64 " processors, here %u", number_of(theirs, "cpus"), board->cpu_count);
	compare_memory(&misfits, json_object_get(theirs, "memory"), &board->memory);
	compare_sections(&misfits, json_object_get(theirs, "sections"), board);
	compare_disks(&misfits, json_object_get(theirs, "disks"), machine, token);
	if (!misfits.count)
		return 0;
	return error_set(e, ERROR_STATE, -EINVAL, "the machine does not fit the one that was made for it there: %s",
			 misfits.text);
}
