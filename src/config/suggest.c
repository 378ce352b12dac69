#include "config/suggest.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 32

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Both lengths are at most WORD_MAX. Three rows suffice: a swap looks back two. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t rows[3][WORD_MAX + 1];

	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);

			row[j] = least(replace, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[a_length % 3][b_length];
}

struct suggestion suggestion_for(const char *text)
{
	return (struct suggestion){.text = text, .distance = SIZE_MAX};
}

void suggestion_consider(struct suggestion *suggestion, const char *word)
{
	size_t text_length = strlen(suggestion->text), word_length = strlen(word), d;

	if (text_length == 0 || text_length > WORD_MAX || word_length > WORD_MAX)
		return;
	if (text_length >= 2 && strncmp(suggestion->text, word, text_length) == 0)
		d = 1;
	else
		d = distance(suggestion->text, text_length, word, word_length);
	if (d >= suggestion->distance || d > (word_length < 3 ? 1 : (word_length + 2) / 3))
		return;
	suggestion->distance = d;
	suggestion->word = word;
}
