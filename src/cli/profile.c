#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/document.h"
#include "cli/figures.h"
#include "cli/named.h"
#include "cli/regions.h"
#include "cli/top.h"
#include "cli/verb.h"

#define ANSWER_MS 10000 /* more than it was asked for */

enum { PROFILE_TABLE, PROFILE_FOR = PROFILE_TABLE + TABLE_OPTIONS, PROFILE_SYMBOLS, PROFILE_OPTIONS };

static const struct option_spec options[PROFILE_OPTIONS] = {
	TABLE_OPTION_ROWS(PROFILE_TABLE),
	[PROFILE_FOR] = {.name = "for",
			 .letter = 't',
			 .type = OPTION_DURATION,
			 .placeholder = "TIME",
			 .minimum = 100,
			 .maximum = 600000,
			 .fallback = "5s",
			 .help = "how long to look"},
	[PROFILE_SYMBOLS] =
		{.name = "symbols",
		 .letter = 'y',
		 .type = OPTION_PATH,
		 .placeholder = "FILE",
		 .help = "names of the guest's functions: an ELF file such as vmlinux, System.map, or the "
			 "guest's /proc/kallsyms"},
};

static int compare(const void *a, const void *b)
{
	const struct profile_spot *x = a, *y = b;

	if (x->priv != y->priv)
		return x->priv < y->priv ? -1 : 1;
	return x->pc < y->pc ? -1 : x->pc > y->pc;
}

/* What the monitor told, believed no further than its types; NULL without memory. */
static struct profile_spot *read_spots(const json_t *list, size_t *count, uint64_t *total)
{
	struct profile_spot *spots = calloc(json_array_size(list) + 1, sizeof *spots);

	*count = 0;
	for (size_t i = 0; spots && i < json_array_size(list); i++) {
		const json_t *spot = json_array_get(list, i), *instructions = json_array_get(spot, 2);

		if (json_integer_value(instructions) <= 0)
			continue;
		spots[*count].pc = (uint64_t)json_integer_value(json_array_get(spot, 0)) &
				   ~(uint64_t)(PROFILE_SPOT_BYTES - 1);
		spots[*count].priv = (uint8_t)(json_integer_value(json_array_get(spot, 1)) & 3);
		spots[*count].instructions = (uint64_t)json_integer_value(instructions);
		*total += spots[(*count)++].instructions;
	}
	if (spots)
		qsort(spots, *count, sizeof *spots, compare);
	return spots;
}

static int make_table(const json_t *answer, const char *symbols_path, struct symbols **symbols, struct table **out,
		      struct error *e)
{
	json_int_t elsewhere = json_integer_value(json_object_get(answer, "elsewhere"));
	uint64_t total = elsewhere > 0 ? (uint64_t)elsewhere : 0;
	struct profile_spot *spots;
	struct region *regions;
	size_t count = 0, made = 0;
	int r = symbols_path ? symbols_read(symbols, symbols_path, e) : 0;

	if (r < 0)
		return r;
	spots = read_spots(json_object_get(answer, "spots"), &count, &total);
	regions = spots ? regions_make(*symbols, spots, count, &made) : NULL;
	*out = regions ? regions_table(regions, made, total) : NULL;
	free(regions);
	free(spots);
	return *out ? 0 : error_errno(e, -ENOMEM, "the profile");
}

/* For a person, what the engine did meanwhile comes first. */
static int print_page(const struct named *named, json_t *answer, struct error *e)
{
	struct watched watched = {.record = named->record,
				  .before = json_object_get(answer, "before"),
				  .now = json_object_get(answer, "now")};
	json_t *figures = figures_of(&watched);
	int r = figures ? top_page(figures, stdout, e) : error_errno(e, -ENOMEM, "the profile");

	putchar('\n');
	json_decref(figures);
	return r;
}

static int profile(struct named *named, void *context, struct error *e)
{
	const struct option_value *values = ((const struct arguments *)context)->values;
	json_int_t ms = (json_int_t)values[PROFILE_FOR].number;
	struct symbols *symbols = NULL;
	struct table *table = NULL;
	json_t *answer = NULL;
	int r = named_call(named, "profiled", "profile", json_pack("{s:I}", "ms", ms), (int)ms + ANSWER_MS,
			   &answer, e);

	if (r < 0)
		return r;
	r = make_table(answer, values[PROFILE_SYMBOLS].text, &symbols, &table, e);
	if (r == 0 && values[PROFILE_TABLE + TABLE_OPTION_FORMAT].number == FORMAT_TABLE &&
	    !values[PROFILE_TABLE + TABLE_OPTION_QUIET].given)
		r = print_page(named, answer, e);
	if (r == 0)
		r = table_show(table, &values[PROFILE_TABLE], e);
	table_free(table);
	symbols_free(symbols);
	json_decref(answer);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, false, NULL, profile, (void *)(uintptr_t)arguments, e);
}

static const struct verb_example examples[] = {
	{"doppel profile web", "where web spends its instructions for the next five seconds"},
	{"doppel profile web --for 30s --symbols vmlinux", "longer, with the names of its kernel's functions"},
	{NULL, NULL},
};

const struct verb verb_profile = {
	.name = "profile",
	.summary = "tell where a machine spends its instructions",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description =
		"Samples the program counters of a machine that runs, and prints what its engine did meanwhile, as top does, and the "
		"functions that most instructions were in; without symbols, pages of code. Several processes of the guest may "
		"have different code at one address.\n\n"
		"The guest runs on but for two instants, some percent slower.",
	.examples = examples,
	.options = options,
	.option_count = PROFILE_OPTIONS,
	.run = run,
};
