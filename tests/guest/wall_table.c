/* Prints what the walls of a monitor allow: a line "KIND CALL" for each call that a table names; those that fail instead of
 * ending the process are left out. */
#include <stdio.h>
#include <string.h>

#include "wall/private.h"

static void print(const char *kind, const struct wall_list *lists)
{
	for (; lists->calls; lists++)
		for (const char *const *call = lists->calls; *call; call++)
			if (!strchr(*call, '?'))
				printf("%s %.*s\n", kind, (int)strcspn(*call, ":"), *call);
}

int main(void)
{
	for (unsigned kind = 0; kind < THREAD_KINDS; kind++) {
		const char *name = thread_kind_name((enum thread_kind)kind);

		print(name, wall_self_calls[kind]);
		print("all", wall_self_base);
		if (kind == THREAD_MAIN)
			print(name, wall_self_folder);
	}
	return 0;
}
