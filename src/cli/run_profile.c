#include "cli/run_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/regions.h"
#include "cli/run_options.h"

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

int run_profile_open(struct run_profile *profile, const struct arguments *arguments, struct error *e)
{
	const char *path = arguments->values[RUN_PROFILE].text, *symbols = arguments->values[RUN_SYMBOLS].text;
	int r = path && symbols ? symbols_read(&profile->symbols, symbols, e) : 0;

	if (r < 0 || !path)
		return r;
	profile->fd = strcmp(path, "-") == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
					     : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	return profile->fd < 0 ? error_errno(e, -errno, "cannot write '%s'", path) : 0;
}

static int put(int fd, const char *text, size_t size, struct error *e)
{
	while (size > 0) {
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno != EINTR)
			return error_errno(e, -errno, "cannot write the profile");
		text += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int run_profile_write(const struct run_profile *profile, struct machine *machine, uint64_t started_ns, struct error *e)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out;
	int r;

	if (profile->fd < 0)
		return 0;
	machine_stop(machine);
	out = open_memstream(&text, &size);
	if (!out)
		return error_errno(e, -ENOMEM, "the profile");
	r = print(out, machine, profile->symbols, (double)(clock_host_ns() - started_ns) / 1e9, e);
	if (fclose(out) != 0 && r == 0)
		r = error_errno(e, -ENOMEM, "the profile");
	if (r == 0)
		r = put(profile->fd, text, size, e);
	free(text);
	return r;
}

void run_profile_finish(struct run_profile *profile)
{
	if (profile->fd >= 0)
		close(profile->fd);
	symbols_free(profile->symbols);
	*profile = RUN_PROFILE_NONE;
}
