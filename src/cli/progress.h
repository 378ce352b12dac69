/*
 * What takes long while a person looks on: a bar on a terminal, a line a step elsewhere, on standard error.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_PROGRESS_H
#define DOPPEL_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "image/image.h"

#define PROGRESS_STEP_SIZE 41 /* of a step, with its NUL; a longer one is cut */

struct progress {
	FILE *out;
	const char *doing;    /* the caller's: the step for progress_bytes; a constant */
	bool redraw;          /* a terminal that can erase its line */
	char step[PROGRESS_STEP_SIZE]; /* shown last, or "" */
	uint64_t step_ns;     /* host time at which it began */
	uint64_t drawn_ns;    /* host time of the last drawing */
	uint64_t done_before; /* bytes that were there when the step began */
};

void progress_init(struct progress *progress, FILE *out);
/* To be called by image_pull and its like; the context is the struct progress. */
image_progress_fn progress_show;
/* To be called by what counts bytes, done and in all (0: not known), and knows no steps: `doing` is the step. The context is
 * the struct progress. */
void progress_bytes(void *context, uint64_t done, uint64_t total);
/* Erases the bar. */
void progress_finish(struct progress *progress);

/* One line without its end: "downloading  [#####.....]  50%  31.2M of 62.4M  10.0M/s". `elapsed_ns` is the time in which
 * `done_before` became `done`. */
#define PROGRESS_LINE_SIZE 160
void progress_line(const struct image_progress *state, uint64_t done_before, uint64_t elapsed_ns,
		   char out[PROGRESS_LINE_SIZE]);

/* image_pull with its progress on standard error. */
MUST_USE int progress_pull(const struct image_recipe *recipe, bool *fresh, struct error *e);

/* image_copy_disk, likewise. */
MUST_USE int progress_copy_disk(const struct image *image, const char *path, struct error *e);

#endif
