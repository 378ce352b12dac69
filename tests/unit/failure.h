/* What a call said that failed, for tests: `assert_ok(call(..., &failure))`. Included once in a program. */
#ifndef TESTS_FAILURE_H
#define TESTS_FAILURE_H

#include "base/error.h"

static struct error failure;

#define assert_ok(call)                                                            \
	do {                                                                       \
		int result_ = (call);                                              \
		if (result_ != 0)                                                  \
			fail_msg("%s: %d, '%s'", #call, result_, failure.message); \
	} while (0)

#endif
