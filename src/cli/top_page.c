/* The page of one machine: what it uses, what its engine does, and why. */
#include <errno.h>
#include <string.h>

#include "base/types.h"
#include "cli/figures.h"
#include "cli/text.h"
#include "cli/top.h"
#include "engine/engine.h"

enum unit { UNIT_PERCENT, UNIT_BYTES, UNIT_COUNT };

/* "12.3k": powers of 1000. */
static void format_count(double value, char out[TABLE_BYTES_SIZE])
{
	static const char units[] = " kMGTPE";
	size_t unit = 0;

	for (; value >= 999.95 && units[unit + 1]; value /= 1000)
		unit++;
	snprintf(out, TABLE_BYTES_SIZE, unit ? "%.1f%c" : "%.0f", value, units[unit]);
}

static void print_value(FILE *out, const json_t *value, enum unit unit)
{
	double number = json_number_value(value);
	char text[TABLE_BYTES_SIZE];

	if (!json_is_number(value))
		snprintf(text, sizeof text, "-");
	else if (unit == UNIT_PERCENT)
		snprintf(text, sizeof text, "%.1f%%", number < 1e6 ? number : 1e6);
	else if (unit == UNIT_BYTES)
		table_format_bytes((uint64_t)number, text);
	else
		format_count(number, text);
	fputs(text, out);
}

static const struct item {
	const char *label; /* at the beginning of a line, or NULL: on the line before */
	const char *group, *key, *name;
	enum unit unit;
} items[] = {
	{"cpu", "cpu", "percent", "of one processor", UNIT_PERCENT},
	{NULL, "cpu", "count", "CPUs", UNIT_COUNT},
	{NULL, "cpu", "asleep", "asleep", UNIT_COUNT},
	{NULL, "cpu", "held_percent", "held by its quota", UNIT_PERCENT},
	{"memory", "memory", "given", "given", UNIT_BYTES},
	{NULL, "memory", "resident", "resident", UNIT_BYTES},
	{NULL, "memory", "ballooned", "ballooned", UNIT_BYTES},
	{NULL, "memory", "shared", "shared", UNIT_BYTES},
	{NULL, "memory", "swapped", "swapped", UNIT_BYTES},
	{"", "memory", "guest_free", "free, says the guest", UNIT_BYTES},
	{NULL, "memory", "monitor_proportional", "the monitor's own", UNIT_BYTES},
	{"disks", "disk", "read", "read", UNIT_BYTES},
	{NULL, "disk", "written", "written", UNIT_BYTES},
	{NULL, "disk", "operations", "operations", UNIT_COUNT},
	{NULL, "disk", "errors", "errors", UNIT_COUNT},
	{"network", "network", "in", "in", UNIT_BYTES},
	{NULL, "network", "out", "out", UNIT_BYTES},
	{NULL, "network", "packets_in", "packets in", UNIT_COUNT},
	{NULL, "network", "packets_out", "out", UNIT_COUNT},
	{NULL, "network", "dropped", "dropped", UNIT_COUNT},
	{"engine", "engine", "instructions", "instructions", UNIT_COUNT},
	{NULL, "engine", "exceptions", "exceptions", UNIT_COUNT},
	{NULL, "engine", "units_made", "units made", UNIT_COUNT},
	{"code", "engine", "code_used", "used", UNIT_BYTES},
	{NULL, "engine", "code_size", "room", UNIT_BYTES},
	{NULL, "engine", "units", "units", UNIT_COUNT},
	{NULL, "engine", "pages", "pages of the guest", UNIT_COUNT},
	{NULL, "engine", "recycled", "pieces used anew", UNIT_COUNT},
};

static void print_items(const json_t *figures, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		const json_t *value = json_object_get(json_object_get(figures, items[i].group), items[i].key);

		if (items[i].label)
			fprintf(out, "%s%-8s", i ? "\n" : "", items[i].label);
		if (!value)
			continue;
		fputs("  ", out);
		print_value(out, value, items[i].unit);
		fprintf(out, " %s", items[i].name);
	}
	fputc('\n', out);
}

static void print_each_cpu(const json_t *figures, FILE *out)
{
	const json_t *each = json_object_get(json_object_get(figures, "cpu"), "each_percent");
	size_t count = json_array_size(each);

	for (size_t i = 0; count > 1 && i < count && i < 64; i++) {
		if (i % 8 == 0)
			fprintf(out, "%s%-8s", i ? "\n" : "", i ? "" : "each");
		fputs("  ", out);
		print_value(out, json_array_get(each, i), UNIT_PERCENT);
	}
	if (count > 1)
		fputc('\n', out);
}

static const char *help_of_cause(const char *key)
{
	for (unsigned i = 0; i < ENGINE_CAUSES; i++)
		if (strcmp(engine_causes[i].name, key) == 0)
			return engine_causes[i].help;
	return strcmp(key, "device") == 0 ? "accesses to devices, most of them among `emulate`" : "";
}

/* A line for each cause that there was. */
static void print_exits(const json_t *figures, FILE *out)
{
	const char *key;
	json_t *value;

	fputs("\nguest code left in a second\n", out);
	json_object_foreach(json_object_get(figures, "exits"), key, value)
	{
		if (json_number_value(value) <= 0)
			continue;
		fprintf(out, "  %-10s  ", key);
		print_value(out, value, UNIT_COUNT);
		fprintf(out, "  %s\n", help_of_cause(key));
	}
	fputs("TLB misses in a second", out);
	json_object_foreach(json_object_get(figures, "tlb_misses"), key, value)
	{
		fprintf(out, "  %s ", key);
		print_value(out, value, UNIT_COUNT);
	}
	fputc('\n', out);
}

static const struct column device_columns[] = {
	{.key = "device"},
	{.key = "kind"},
	{.key = "accesses", .type = COLUMN_COUNT},
	{.key = "kicks", .type = COLUMN_COUNT},
	{.key = "interrupts", .type = COLUMN_COUNT},
	{.key = "in", .type = COLUMN_BYTES},
	{.key = "out", .type = COLUMN_BYTES},
	{.key = "errors", .type = COLUMN_COUNT},
};

static bool is_busy(const json_t *device)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)device, key, value) if (json_number_value(value) > 0) return true;
	return false;
}

static int print_devices(const json_t *figures, FILE *out, struct error *e)
{
	const json_t *devices = json_object_get(figures, "devices");
	struct table *table = table_new(device_columns, ARRAY_SIZE(device_columns));
	size_t rows = 0;
	int r = table ? 0 : error_errno(e, -ENOMEM, "the devices");

	for (size_t i = 0; table && i < json_array_size(devices); i++) {
		const json_t *device = json_array_get(devices, i);

		if (!is_busy(device))
			continue;
		rows++;
		table_text(table, json_string_value(json_object_get(device, "name")));
		table_text(table, json_string_value(json_object_get(device, "kind")));
		for (size_t c = 2; c < ARRAY_SIZE(device_columns); c++) {
			const json_t *value = json_object_get(device, device_columns[c].key);

			if (json_is_number(value))
				table_number(table, (uint64_t)(json_number_value(value) + 0.5));
			else
				table_nothing(table);
		}
	}
	if (rows) {
		fputc('\n', out);
		r = table_print(table, FORMAT_TABLE, false, out, e);
	}
	table_free(table);
	return r;
}

int top_page(const json_t *figures, FILE *out, struct error *e)
{
	const char *trouble = json_string_value(json_object_get(figures, "trouble"));
	const char *engine = json_string_value(json_object_get(json_object_get(figures, "engine"), "name"));

	text_plain(out, json_string_value(json_object_get(figures, "name")));
	fprintf(out, "  %s", json_string_value(json_object_get(figures, "state")));
	if (engine) {
		fputs("  engine ", out);
		text_plain(out, engine);
	}
	if (trouble) {
		fputs("  ", out);
		text_plain(out, trouble);
	}
	fputs("\n", out);
	if (!json_object_get(figures, "cpu"))
		return 0;
	fputs("\n", out);
	print_items(figures, out);
	print_each_cpu(figures, out);
	print_exits(figures, out);
	return print_devices(figures, out, e);
}
