#include "cli/run_disk.h"

#include <errno.h>
#include <string.h>

#include "config/option.h"
#include "config/suggest.h"

#define KNOWN "ro, overlay, format, backing-anywhere, direct, iops and bps"

static const char *const format_words[] = {"raw", "qcow2", NULL};
static const enum block_format formats[] = {BLOCK_RAW, BLOCK_QCOW2};

/* For the strict reading of values, with the messages that other options give. */
static const struct option_spec format_spec = {.name = "disk format", .type = OPTION_ENUM, .words = format_words};
static const struct option_spec iops_spec = {
	.name = "disk iops", .type = OPTION_INTEGER, .minimum = 1, .maximum = 1000000000};
static const struct option_spec bps_spec = {
	.name = "disk bps", .type = OPTION_SIZE, .minimum = BLOCK_SECTOR, .maximum = UINT64_C(1) << 50};

/* Ends the piece at `text` where a single comma is, and makes double ones single; returns what follows, or
 * NULL. */
static char *cut(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (*text == ',' && text[1] != ',') {
			*to = '\0';
			return text + 1;
		}
		if (*text == ',')
			text++;
		*to++ = *text;
	}
	*to = '\0';
	return NULL;
}

static int no_value(const char *name, const char *value, bool *flag, struct error *e)
{
	if (value)
		return error_set(e, ERROR_USAGE, -EINVAL, "--disk: %s takes no value", name);
	*flag = true;
	return 0;
}

static int read_value(const struct option_spec *spec, const char *value, uint64_t *number, struct error *e)
{
	struct option_value read;
	int r;

	if (!value)
		return error_set(e, ERROR_USAGE, -EINVAL, "--%s: the value is missing", spec->name);
	r = option_parse(spec, value, &read, e);
	if (r == 0)
		*number = read.number;
	return r;
}

static int parse_format(const char *name, char *value, struct block_options *out, struct error *e)
{
	uint64_t number = 0;
	int r = read_value(&format_spec, value, &number, e);

	(void)name;
	if (r == 0)
		out->format = formats[number];
	return r;
}

static int parse_overlay(const char *name, char *value, struct block_options *out, struct error *e)
{
	if (value && !*value)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--disk: %s= needs a file; without the sign the overlay is a temporary one",
				 name);
	out->overlay = true;
	out->overlay_path = value;
	return 0;
}

static int parse_read_only(const char *name, char *value, struct block_options *out, struct error *e)
{
	return no_value(name, value, &out->read_only, e);
}

static int parse_anywhere(const char *name, char *value, struct block_options *out, struct error *e)
{
	return no_value(name, value, &out->backing_anywhere, e);
}

static int parse_direct(const char *name, char *value, struct block_options *out, struct error *e)
{
	return no_value(name, value, &out->direct, e);
}

static int parse_iops(const char *name, char *value, struct block_options *out, struct error *e)
{
	(void)name;
	return read_value(&iops_spec, value, &out->limits.operations_per_second, e);
}

static int parse_bps(const char *name, char *value, struct block_options *out, struct error *e)
{
	(void)name;
	return read_value(&bps_spec, value, &out->limits.bytes_per_second, e);
}

static const struct {
	const char *name;
	int (*parse)(const char *name, char *value, struct block_options *out, struct error *e);
} parts[] = {
	{"ro", parse_read_only},  {"overlay", parse_overlay},
	{"format", parse_format}, {"backing-anywhere", parse_anywhere},
	{"direct", parse_direct}, {"iops", parse_iops},
	{"bps", parse_bps},
};

static int parse_part(char *part, struct block_options *out, struct error *e)
{
	struct suggestion suggestion;
	char *value = strchr(part, '=');

	if (value)
		*value++ = '\0';
	suggestion = suggestion_for(part);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strcmp(part, parts[i].name) == 0)
			return parts[i].parse(part, value, out, e);
		suggestion_consider(&suggestion, parts[i].name);
	}
	if (suggestion.word)
		return error_set(e, ERROR_USAGE, -EINVAL, "--disk: \"%s\" is not known; did you mean %s?", part,
				 suggestion.word);
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "--disk: \"%s\" is not known; there are " KNOWN
			 "; a comma in a file's name is written twice",
			 part);
}

int run_disk_parse(char *text, struct block_options *out, struct error *e)
{
	struct block_options options = {.path = text};
	char *next = cut(text);
	int r = 0;

	if (!*options.path)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--disk: the file is missing; give FILE, and what else after commas");
	while (r == 0 && next) {
		char *part = next;

		next = cut(part);
		r = parse_part(part, &options, e);
	}
	if (r < 0)
		return r;
	if (options.read_only && options.overlay)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--disk: ro and overlay exclude each other; give one of them");
	*out = options;
	return 0;
}
