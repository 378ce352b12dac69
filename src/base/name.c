#include "base/name.h"

#include <ctype.h>
#include <string.h>

#define LENGTH_MAX 63

bool name_is_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t length = strlen(name);

	return length >= 1 && length <= LENGTH_MAX && isalnum((unsigned char)*name) && strspn(name, allowed) == length;
}
