#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/library.h"

struct functions {
	typeof(labs) *labs;
	typeof(strlen) *strlen;
};

static const struct library_call calls[] = {{"labs", offsetof(struct functions, labs)},
					    {"strlen", offsetof(struct functions, strlen)},
					    {"no_such_function", 0}};

static void functions_are_found_by_their_names(void **state)
{
	struct functions functions = {.labs = NULL};
	struct library library = {.file = "libc.so.6", .package = "libc6", .calls = calls, .count = 2, .pointers = &functions};
	struct error e;

	(void)state;
	assert_int_equal(library_load(&library, &e), 0);
	assert_int_equal(functions.labs(-3), 3);
	assert_int_equal(functions.strlen("four"), 4);
	library.file = "it is not opened again";
	assert_int_equal(library_load(&library, &e), 0);
}

static void what_lacks_is_told(void **state)
{
	struct functions functions = {.labs = NULL};
	struct library library = {.file = "libc.so.6", .package = "libc6", .calls = calls, .count = 3, .pointers = &functions};
	struct library absent = {.file = "libdoppel-none.so.1", .package = "libnone1"};
	struct error e;

	(void)state;
	assert_int_equal(library_load(&library, &e), -ENOSYS);
	assert_non_null(strstr(e.message, "no_such_function"));
	assert_false(library.loaded);
	assert_int_equal(library_load(&absent, &e), -ENOSYS);
	assert_non_null(strstr(e.message, "libdoppel-none.so.1"));
	assert_non_null(strstr(e.message, "install libnone1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_found_by_their_names),
		cmocka_unit_test(what_lacks_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
