#include "cli/run_profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/regions.h"

static void print_engine(FILE *out, const struct engine_statistics *s, double seconds)
{
	fprintf(out, "instructions    %" PRIu64 " in %.2f s, %.0f million a second\n", s->instructions, seconds,
		seconds > 0 ? (double)s->instructions / seconds / 1e6 : 0);
	fprintf(out, "blocks made     %" PRIu64 "\n", s->blocks_built);
	if (s->code_size)
		fprintf(out,
			"code cache      %" PRIu64 "K of %" PRIu64 "K, %" PRIu64 " units there, %" PRIu64
			" pages of guest code, used anew %" PRIu64 " times in pieces\n",
			s->code_used / KIB, s->code_size / KIB, s->code_units, s->code_pages, s->code_recycled);
	fprintf(out, "exceptions      %" PRIu64 "\n", s->exceptions);
	fprintf(out, "exits           %" PRIu64 " to the machine; to the engine:\n", s->exits);
	for (unsigned i = 0; i < ENGINE_CAUSES; i++)
		if (s->causes[i])
			fprintf(out, "  %-12s %12" PRIu64 "  %s\n", engine_causes[i].name, s->causes[i],
				engine_causes[i].help);
	fputs("TLB misses by mode\n", out);
	for (unsigned i = 0; i < ENGINE_MODES; i++)
		fprintf(out, "  %-15s %9" PRIu64 "\n", engine_modes[i], s->tlb_misses[i]);
}

static uint64_t sum_of(const struct profile_spot *spots, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += spots[i].instructions;
	return sum;
}

static int print_regions(FILE *out, const struct profile_spot *spots, size_t count, uint64_t elsewhere,
			 const struct symbols *symbols, struct error *e)
{
	uint64_t total = elsewhere + sum_of(spots, count);
	size_t made = 0;
	struct region *regions = regions_make(symbols, spots, count, &made);
	struct table *table = regions ? regions_table(regions, made, total) : NULL;
	int r = table ? 0 : error_errno(e, -ENOMEM, "the profile");

	fputc('\n', out);
	if (r == 0)
		r = table_print(table, FORMAT_TABLE, false, out, e);
	table_free(table);
	free(regions);
	return r;
}

static int print(FILE *out, struct machine *machine, const struct symbols *symbols, double seconds,
		 struct error *e)
{
	uint64_t elsewhere = 0;
	size_t count = 0;
	struct profile_spot *spots = machine_profile(machine, &count, &elsewhere);
	struct engine_statistics statistics;
	int r;

	if (!spots)
		return error_errno(e, -ENOMEM, "the profile");
	machine_statistics(machine, &statistics);
	print_engine(out, &statistics, seconds);
	r = print_regions(out, spots, count, elsewhere, symbols, e);
	free(spots);
	return r;
}

int run_profile_write(struct machine *machine, const char *path, const char *symbols, double seconds,
		      struct error *e)
{
	struct symbols *names = NULL;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r = out ? 0 : error_errno(e, -ENOMEM, "the profile");

	if (r == 0 && symbols)
		r = symbols_read(&names, symbols, e);
	if (r == 0)
		r = print(out, machine, names, seconds, e);
	if (out && fclose(out) != 0 && r == 0)
		r = error_errno(e, -ENOMEM, "the profile");
	if (r == 0 && strcmp(path, "-") == 0)
		fputs(text, stderr);
	else if (r == 0)
		r = file_write(path, text, size, 0666, e);
	symbols_free(names);
	free(text);
	return r;
}
