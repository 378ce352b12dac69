#include "cli/run_profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define SYMBOLS_MAX (64 * MIB)
#define HOTTEST     40

struct symbol {
	uint64_t address;
	const char *name; /* in the file's text */
};

struct symbols {
	uint8_t *text;
	struct symbol *all; /* by address */
	size_t count;
};

/* Where instructions went: a symbol, or a page of code without one. */
struct region {
	uint64_t address, instructions;
	const char *name; /* NULL: none */
	uint8_t priv;
};

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static int by_instructions(const void *a, const void *b)
{
	const struct region *x = a, *y = b;

	return x->instructions > y->instructions ? -1 : x->instructions < y->instructions;
}

/* A line is `address type name` and what may follow; others are left out. */
static void take_line(struct symbols *s, char *line)
{
	char *end, *name;
	uint64_t address = strtoull(line, &end, 16);

	if (end == line || end[0] != ' ' || !strchr("tTwW", end[1]) || end[1] == 0 || end[2] != ' ')
		return;
	name = end + 3;
	name[strcspn(name, " \t\r")] = 0;
	s->all[s->count++] = (struct symbol){.address = address, .name = name};
}

static int read_symbols(struct symbols *s, const char *path, struct error *e)
{
	size_t size, lines = 1;
	char *save, *line;
	int r = file_read(path, SYMBOLS_MAX, &s->text, &size, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < size; i++)
		lines += s->text[i] == '\n';
	s->all = calloc(lines, sizeof *s->all);
	if (!s->all)
		return error_errno(e, -ENOMEM, "symbols of %s", path);
	for (line = strtok_r((char *)s->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		take_line(s, line);
	qsort(s->all, s->count, sizeof *s->all, by_address);
	return 0;
}

/* The last symbol at or before the address, or NULL. They are the kernel's: user space has none. */
static const struct symbol *symbol_of(const struct symbols *s, const struct profile_spot *spot)
{
	size_t low = 0, high = s->count;

	if (spot->priv != PRIV_S)
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->all[middle].address <= spot->pc + PROFILE_SPOT_BYTES - 1)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &s->all[low - 1] : NULL;
}

/* Spots come by mode and address, so those of one region follow each other. */
static size_t make_regions(const struct symbols *s, const struct profile_spot *spots, size_t count,
			   struct region *regions)
{
	size_t made = 0;

	for (size_t i = 0; i < count; i++) {
		const struct symbol *symbol = symbol_of(s, &spots[i]);
		struct region region = {.address = symbol ? symbol->address : spots[i].pc & ~(GUEST_PAGE_SIZE - 1),
					.name = symbol ? symbol->name : NULL,
					.instructions = spots[i].instructions,
					.priv = spots[i].priv};
		struct region *last = made ? &regions[made - 1] : NULL;

		if (last && last->address == region.address && last->priv == region.priv)
			last->instructions += region.instructions;
		else
			regions[made++] = region;
	}
	return made;
}

static void print_engine(FILE *out, const struct engine_statistics *s, double seconds)
{
	fprintf(out, "instructions    %" PRIu64 " in %.2f s, %.0f million a second\n", s->instructions, seconds,
		seconds > 0 ? (double)s->instructions / seconds / 1e6 : 0);
	fprintf(out, "blocks made     %" PRIu64 "\n", s->blocks_built);
	if (s->code_size)
		fprintf(out, "code cache      %" PRIu64 "K of %" PRIu64 "K, %" PRIu64 " units there, %" PRIu64
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

static void print_regions(FILE *out, const struct region *regions, size_t count, uint64_t total)
{
	static const char modes[] = "US?M";

	fputs("\nshare   mode  address           what\n", out);
	for (size_t i = 0; i < count && i < HOTTEST; i++)
		fprintf(out, "%5.1f%%  %c     %016" PRIx64 "  %s\n",
			100 * (double)regions[i].instructions / (double)total, modes[regions[i].priv & 3],
			regions[i].address, regions[i].name ? regions[i].name : "a page");
}

static int print(FILE *out, struct machine *machine, const struct symbols *symbols, double seconds, struct error *e)
{
	uint64_t elsewhere = 0, total;
	size_t count = 0;
	struct profile_spot *spots = machine_profile(machine, &count, &elsewhere);
	struct region *regions = calloc(count + 1, sizeof *regions);
	struct engine_statistics statistics;

	if (!spots || !regions) {
		free(spots);
		free(regions);
		return error_errno(e, -ENOMEM, "the profile");
	}
	machine_statistics(machine, &statistics);
	print_engine(out, &statistics, seconds);
	total = elsewhere;
	for (size_t i = 0; i < count; i++)
		total += spots[i].instructions;
	count = make_regions(symbols, spots, count, regions);
	qsort(regions, count, sizeof *regions, by_instructions);
	print_regions(out, regions, count, total ? total : 1);
	free(regions);
	free(spots);
	return 0;
}

int run_profile_write(struct machine *machine, const char *path, const char *symbols, double seconds,
		      struct error *e)
{
	struct symbols s = {.count = 0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r = out ? 0 : error_errno(e, -ENOMEM, "the profile");

	if (r == 0 && symbols)
		r = read_symbols(&s, symbols, e);
	if (r == 0)
		r = print(out, machine, &s, seconds, e);
	if (out && fclose(out) != 0 && r == 0)
		r = error_errno(e, -ENOMEM, "the profile");
	if (r == 0 && strcmp(path, "-") == 0)
		fputs(text, stderr);
	else if (r == 0)
		r = file_write(path, text, size, 0666, e);
	free(s.text);
	free(s.all);
	free(text);
	return r;
}
