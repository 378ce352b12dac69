#include "image/setup_watcher.h"

#include <errno.h>
#include <string.h>

/* What the guest prints for each package, and at the end. */
#define DONE_ONE "Setting up "
#define ALL_DONE "doppel: setup complete"

static void see_line(struct setup_watcher *watcher)
{
	watcher->line[watcher->used] = '\0';
	watcher->used = 0;
	if (strncmp(watcher->line, DONE_ONE, strlen(DONE_ONE)) == 0 && watcher->done < watcher->packages)
		watcher->done++;
	if (strcmp(watcher->line, ALL_DONE) == 0)
		watcher->complete = true;
	if (*watcher->line)
		strcpy(watcher->last, watcher->line);
}

void setup_watcher_see(struct setup_watcher *watcher, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++) {
		if (at[i] == '\n')
			see_line(watcher);
		else if (at[i] >= ' ' && watcher->used < sizeof watcher->line - 1)
			watcher->line[watcher->used++] = (char)at[i];
	}
}

void setup_watcher_tell(const struct setup_watcher *watcher)
{
	if (watcher->progress)
		watcher->progress(watcher->context,
				  &(struct image_progress){.step = watcher->step,
							   .done = watcher->done * 1000 / (watcher->packages + 1),
							   .total = 1000});
}

int setup_watcher_judge(const struct setup_watcher *watcher, const char *log, struct error *e)
{
	if (watcher->complete)
		return 0;
	return error_set(e, ERROR_FAILED, -EIO, "the system could not be configured (\"%.150s\"); see %.200s",
			 watcher->last, log);
}
