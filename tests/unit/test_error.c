#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void set_fills_and_returns_the_code(void **state)
{
	struct error e = {0};

	(void)state;
	assert_int_equal(error_set(&e, ERROR_STATE, -EBUSY, "machine '%s' is %s", "web", "paused"), -EBUSY);
	assert_int_equal(e.kind, ERROR_STATE);
	assert_string_equal(e.message, "machine 'web' is paused");
}

static void nobody_needs_to_listen(void **state)
{
	(void)state;
	assert_int_equal(error_set(NULL, ERROR_FAILED, -EIO, "x"), -EIO);
	assert_int_equal(error_errno(NULL, -ENOENT, "x"), -ENOENT);
	assert_int_equal(error_prefix(NULL, -EINVAL, "x"), -EINVAL);
}

static void own_message_as_argument(void **state)
{
	struct error e = {0};

	(void)state;
	error_set(&e, ERROR_FAILED, -EIO, "inner");
	error_set(&e, ERROR_USAGE, -EINVAL, "outer (%s)", e.message);
	assert_string_equal(e.message, "outer (inner)");
	assert_int_equal(e.kind, ERROR_USAGE);
}

static void errno_tells_reason_and_kind(void **state)
{
	struct error e = {0};

	(void)state;
	error_errno(&e, -ENOENT, "cannot open '%s'", "kernel");
	assert_string_equal(e.message, "cannot open 'kernel': No such file or directory");
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
}

static void prefix_keeps_the_kind(void **state)
{
	struct error e = {0};

	(void)state;
	error_set(&e, ERROR_TIMEOUT, -ETIMEDOUT, "no answer");
	assert_int_equal(error_prefix(&e, -ETIMEDOUT, "machine '%s'", "web"), -ETIMEDOUT);
	assert_string_equal(e.message, "machine 'web': no answer");
	assert_int_equal(e.kind, ERROR_TIMEOUT);
}

static void long_texts_lose_the_head_not_the_reason(void **state)
{
	struct error e = {0};
	char text[2 * sizeof e.message];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	error_errno(&e, -EACCES, "%s", text);
	assert_int_equal(strlen(e.message), sizeof e.message - 1);
	assert_non_null(strstr(e.message, ": Permission denied"));
	error_set(&e, ERROR_FAILED, -EIO, "the reason");
	error_prefix(&e, -EIO, "%s", text);
	assert_int_equal(strlen(e.message), sizeof e.message - 1);
	assert_non_null(strstr(e.message, "the reason"));
}

static void codes_kinds_and_statuses(void **state)
{
	static const struct {
		int code;
		enum error_kind kind;
		int exit_code, http_status;
	} rows[] = {
		{0, ERROR_NONE, 0, 200},
		{-EIO, ERROR_FAILED, 1, 500},
		{-EINVAL, ERROR_USAGE, 2, 400},
		{-ENOENT, ERROR_NOT_FOUND, 3, 404},
		{-EBUSY, ERROR_STATE, 4, 409},
		{-EACCES, ERROR_PERMISSION, 5, 403},
		{-ETIMEDOUT, ERROR_TIMEOUT, 6, 504},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(error_kind_of(rows[i].code), rows[i].kind);
		assert_int_equal(error_exit_code(rows[i].kind), rows[i].exit_code);
		assert_int_equal(error_http_status(rows[i].kind), rows[i].http_status);
		assert_int_equal(error_kind_of(error_code_of(rows[i].kind)), rows[i].kind);
	}
}

static void kinds_have_names(void **state)
{
	(void)state;
	for (unsigned i = ERROR_FAILED; i < ERROR_KINDS; i++)
		assert_int_equal(error_kind_named(error_kind_name((enum error_kind)i)), i);
	assert_string_equal(error_kind_name(ERROR_NOT_FOUND), "not-found");
	assert_int_equal(error_kind_named("none"), ERROR_FAILED);
	assert_int_equal(error_kind_named("whatever"), ERROR_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_and_returns_the_code),
		cmocka_unit_test(nobody_needs_to_listen),
		cmocka_unit_test(own_message_as_argument),
		cmocka_unit_test(errno_tells_reason_and_kind),
		cmocka_unit_test(prefix_keeps_the_kind),
		cmocka_unit_test(long_texts_lose_the_head_not_the_reason),
		cmocka_unit_test(codes_kinds_and_statuses),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
