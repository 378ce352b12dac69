#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/table.h"

#define BAR_WIDTH  24
#define REDRAW_NS  UINT64_C(100000000)
#define ERASE_LINE "\r\033[K"
/* A rate of a moment says nothing. */
#define RATE_MIN_NS UINT64_C(500000000)

void progress_init(struct progress *progress, FILE *out)
{
	const char *terminal = getenv("TERM");

	*progress = (struct progress){.out = out};
	progress->redraw = isatty(fileno(out)) && terminal && strcmp(terminal, "dumb") != 0;
}

static void add_bar(const struct image_progress *state, char *out, size_t size)
{
	double part = (double)state->done / (double)state->total;
	char bar[BAR_WIDTH + 1] = "";

	part = part > 1 ? 1 : part;
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', (size_t)(part * BAR_WIDTH));
	snprintf(out, size, "  [%s] %3u%%", bar, (unsigned)(part * 100));
}

static void add_bytes(const struct image_progress *state, uint64_t done_before, uint64_t elapsed_ns, char *out,
		      size_t size)
{
	char done[TABLE_BYTES_SIZE], total[TABLE_BYTES_SIZE], rate[TABLE_BYTES_SIZE];
	uint64_t moved = state->done > done_before ? state->done - done_before : 0;
	int used;

	table_format_bytes(state->done, done);
	table_format_bytes(state->total, total);
	used = snprintf(out, size, state->total ? "  %s of %s" : "  %s", done, total);
	if (moved == 0 || elapsed_ns < RATE_MIN_NS)
		return;
	table_format_bytes((uint64_t)((double)moved * 1e9 / (double)elapsed_ns), rate);
	snprintf(out + used, size - (size_t)used, "  %s/s", rate);
}

void progress_line(const struct image_progress *state, uint64_t done_before, uint64_t elapsed_ns,
		   char out[PROGRESS_LINE_SIZE])
{
	char bar[48] = "", bytes[64] = "";

	if (state->total)
		add_bar(state, bar, sizeof bar);
	if (state->bytes)
		add_bytes(state, done_before, elapsed_ns, bytes, sizeof bytes);
	snprintf(out, PROGRESS_LINE_SIZE, "%.*s%s%s", PROGRESS_STEP_SIZE - 1, state->step, bar, bytes);
}

static void begin_step(struct progress *progress, const struct image_progress *state, uint64_t now)
{
	snprintf(progress->step, sizeof progress->step, "%s", state->step);
	progress->step_ns = now;
	progress->done_before = state->done;
	progress->drawn_ns = 0;
	if (!progress->redraw)
		fprintf(progress->out, "doppel: %s\n", state->step);
}

void progress_show(void *context, const struct image_progress *state)
{
	struct progress *progress = context;
	uint64_t now = clock_host_ns();
	char line[PROGRESS_LINE_SIZE];

	if (strncmp(progress->step, state->step, PROGRESS_STEP_SIZE - 1) != 0)
		begin_step(progress, state, now);
	if (!progress->redraw || now - progress->drawn_ns < REDRAW_NS)
		return;
	progress->drawn_ns = now;
	progress_line(state, progress->done_before, now - progress->step_ns, line);
	fprintf(progress->out, ERASE_LINE "%s", line);
	fflush(progress->out);
}

void progress_bytes(void *context, uint64_t done, uint64_t total)
{
	struct progress *progress = context;

	progress_show(progress, &(struct image_progress){.step = progress->doing, .done = done, .total = total, .bytes = true});
}

void progress_finish(struct progress *progress)
{
	if (progress->redraw && *progress->step)
		fputs(ERASE_LINE, progress->out);
	fflush(progress->out);
}

int progress_pull(const struct image_recipe *recipe, bool *fresh, struct error *e)
{
	struct progress progress;
	int r;

	progress_init(&progress, stderr);
	r = image_pull(recipe, progress_show, &progress, fresh, e);
	progress_finish(&progress);
	return r;
}

int progress_copy_disk(const struct image *image, const char *path, struct error *e)
{
	struct progress progress;
	int r;

	progress_init(&progress, stderr);
	r = image_copy_disk(image, path, progress_show, &progress, e);
	progress_finish(&progress);
	return r;
}
