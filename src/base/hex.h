/* Bytes as hexadecimal digits, two each, the high one first. Thread: any. */
#ifndef DOPPEL_BASE_HEX_H
#define DOPPEL_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>

/* `out`: room for 2 * count digits, which are of lower case, and a NUL. */
void hex_write(char *out, const void *bytes, size_t count);
/* Whether a text is so many digits of lower case and nothing else. */
bool hex_is(const char *text, size_t digits);
/* The `count` bytes that the text's first digits tell, of either case; false when there are others, or fewer. */
bool hex_read(void *bytes, const char *text, size_t count);

#endif
