#include "base/hex.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

void hex_write(char *out, const void *bytes, size_t count)
{
	const uint8_t *from = bytes;

	for (size_t i = 0; i < count; i++) {
		out[2 * i] = digits[from[i] >> 4];
		out[2 * i + 1] = digits[from[i] & 15];
	}
	out[2 * count] = '\0';
}

bool hex_is(const char *text, size_t length)
{
	return strspn(text, digits) == length && text[length] == '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_read(void *bytes, const char *text, size_t count)
{
	uint8_t *to = bytes;

	for (size_t i = 0; i < count; i++) {
		int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);

		if (low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
