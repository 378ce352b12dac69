/*
 * "Did you mean ...?": of the words considered, the one nearest to what was written.
 *
 * Nearness is the optimal string alignment distance (insert, delete, replace, swap neighbours); a word is near
 * when a third of its letters or fewer differ, or when the text is the beginning of it.
 *
 * Thread: any; the struct is a value and keeps pointers to the texts.
 */
#ifndef DOPPEL_CONFIG_SUGGEST_H
#define DOPPEL_CONFIG_SUGGEST_H

#include <stddef.h>

struct suggestion {
	const char *text;
	const char *word; /* the nearest so far, NULL when none is near */
	size_t distance;
};

struct suggestion suggestion_for(const char *text);
void suggestion_consider(struct suggestion *suggestion, const char *word);

#endif
