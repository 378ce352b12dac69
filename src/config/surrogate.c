#include "config/surrogate.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE_LENGTH 6  /* "\ud83d" */
#define JOINED_LENGTH 10 /* "\U0001f600" */

/* The value of "\uXXXX" at `at`, or 0. */
static uint32_t escape(const char *at, const char *end)
{
	uint32_t value = 0;

	if (end - at < ESCAPE_LENGTH || at[0] != '\\' || at[1] != 'u')
		return 0;
	for (int i = 2; i < ESCAPE_LENGTH; i++) {
		char c = at[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			return 0;
		value = value << 4 | (uint32_t)digit;
	}
	return value;
}

/* The character of two halves at `at`, or 0. */
static uint32_t pair(const char *at, const char *end)
{
	uint32_t high = escape(at, end), low = high ? escape(at + ESCAPE_LENGTH, end) : 0;

	if (high < 0xd800 || high > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return 0;
	return 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
}

static bool is_json(const char *text, size_t length)
{
	size_t at = 0;

	while (at < length && strchr(" \t\r\n", text[at]) && text[at])
		at++;
	return at < length && (text[at] == '{' || text[at] == '[');
}

size_t surrogate_join(char *text, size_t length)
{
	const char *end = text + length, *at = text;
	bool quoted = false;
	char *to = text;

	if (!is_json(text, length))
		return length;
	while (at < end) {
		uint32_t character = quoted ? pair(at, end) : 0;

		if (character) {
			char joined[JOINED_LENGTH + 1];

			snprintf(joined, sizeof joined, "\\U%08x", character);
			to = mempcpy(to, joined, JOINED_LENGTH);
			at += 2 * ESCAPE_LENGTH;
			continue;
		}
		quoted ^= *at == '"';
		if (quoted && *at == '\\' && end - at > 1)
			*to++ = *at++;
		*to++ = *at++;
	}
	return (size_t)(to - text);
}
