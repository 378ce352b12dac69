/* The text of --disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cli/run_disk.h"
#include "cli/run_options.h"

static int parse(const char *text, struct block_options *out, struct error *e)
{
	static struct form_values parts;
	int r;

	form_finish(&parts);
	*e = (struct error){0};
	r = form_split(&run_options[RUN_DISK], text, &parts, e);
	if (r == 0)
		run_disk_options(parts.values, out);
	return r;
}

static void test_all_parts(void **state)
{
	struct block_options options;
	struct error e;

	(void)state;
	if (parse("a.raw", &options, &e) < 0)
		fail_msg("%s", e.message);
	assert_string_equal(options.path, "a.raw");
	assert_int_equal(options.format, BLOCK_FORMAT_AUTO);
	assert_false(options.read_only || options.overlay || options.backing_anywhere || options.direct);
	if (parse("a,,b,ro,format=qcow2,backing-anywhere,direct,iops=100,bps=2M,burst=500ms", &options, &e) < 0)
		fail_msg("%s", e.message);
	assert_string_equal(options.path, "a,b");
	assert_int_equal(options.format, BLOCK_QCOW2);
	assert_true(options.read_only && options.backing_anywhere && options.direct);
	assert_int_equal(options.limits.operations_per_second, 100);
	assert_int_equal(options.limits.bytes_per_second, 2 * MIB);
	assert_true(options.limits.burst_seconds == 0.5);
	if (parse("a.img,overlay", &options, &e) < 0)
		fail_msg("%s", e.message);
	assert_true(options.overlay);
	assert_null(options.overlay_path);
	if (parse("a.img,overlay=b,,c.qcow2,format=raw", &options, &e) < 0)
		fail_msg("%s", e.message);
	assert_string_equal(options.overlay_path, "b,c.qcow2");
	assert_int_equal(options.format, BLOCK_RAW);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text, *hint;
	} cases[] = {
		{"", "file: the value is empty"}, {",ro", "file: the value is empty"},  {"a,", "not known"},
		{"a,ro=yes", "no value"}, {"a,overlay=", "empty"}, {"a,format", "missing"},
		{"a,format=vmdk", "raw"}, {"a,iops=0", "iops"},        {"a,iops=ten", "iops"},
		{"a,bps=1x", "bps"},      {"a,fromat=raw", "format"},  {"a,ro,overlay", "exclude"},
		{"a,ro,ro", "twice"},
		{"a,xyzzy", "there are"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct block_options options;
		struct error e;
		int r = parse(cases[i].text, &options, &e);

		if (r != -EINVAL || e.kind != ERROR_USAGE || !strstr(e.message, cases[i].hint))
			fail_msg("\"%s\": %d, kind %d, \"%s\" without \"%s\"", cases[i].text, r, e.kind, e.message,
				 cases[i].hint);
	}
}

static int forget(void **state)
{
	struct block_options options;
	struct error e;

	(void)state;
	return parse("", &options, &e) < 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_parts),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, forget);
}
