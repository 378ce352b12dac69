#include "cli/top.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/document.h"
#include "cli/figures.h"
#include "cli/verb.h"

enum { TOP_TABLE, TOP_ONCE = TOP_TABLE + TABLE_OPTIONS, TOP_INTERVAL, TOP_SORT, TOP_OPTIONS };

static const struct option_spec options[TOP_OPTIONS] = {
	TABLE_OPTION_ROWS(TOP_TABLE),
	[TOP_ONCE] = {.name = "once",
		      .letter = 'o',
		      .type = OPTION_FLAG,
		      .help = "print one list and end, as is done when input or output is no terminal"},
	[TOP_INTERVAL] = {.name = "interval",
			  .letter = 'i',
			  .type = OPTION_DURATION,
			  .placeholder = "TIME",
			  .minimum = 100,
			  .maximum = 3600000,
			  .fallback = "1s",
			  .help = "what rates are taken over, and the time from one list to the next"},
	[TOP_SORT] = {.name = "sort",
		      .letter = 's',
		      .type = OPTION_ENUM,
		      .placeholder = "KEY",
		      .words = top_orders,
		      .fallback = "cpu",
		      .help = "what comes first"},
};

static void sleep_until(uint64_t at_ns)
{
	struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

/* The one machine's page, or its figures. */
static int print_one(const json_t *figures, const struct option_value *values, struct error *e)
{
	enum output_format format = (enum output_format)values[TOP_TABLE + TABLE_OPTION_FORMAT].number;

	if (format != FORMAT_TABLE)
		return document_print(figures, format, stdout, e);
	return top_page(figures, stdout, e);
}

static int print_list(const json_t *list, const struct option_value *values, struct error *e)
{
	enum output_format format = (enum output_format)values[TOP_TABLE + TABLE_OPTION_FORMAT].number;
	bool quiet = values[TOP_TABLE + TABLE_OPTION_QUIET].given;
	struct table *table;
	int r;

	if (!quiet && (format == FORMAT_JSON || format == FORMAT_YAML))
		return document_print(list, format, stdout, e);
	table = top_table(list);
	r = table ? table_show(table, &values[TOP_TABLE], e) : error_errno(e, -ENOMEM, "the list");
	table_free(table);
	return r;
}

static int once(struct watch *watch, const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	unsigned interval_ms = (unsigned)values[TOP_INTERVAL].number;
	uint64_t start = clock_host_ns();
	json_t *list;
	int r = watch_round(watch, interval_ms, e);

	if (r < 0)
		return r;
	sleep_until(start + interval_ms * NS_PER_MS);
	r = watch_round(watch, interval_ms, e);
	if (r < 0)
		return r;
	list = top_list(watch, (enum top_order)values[TOP_SORT].number);
	if (!list)
		return error_errno(e, -ENOMEM, "the list");
	if (arguments->operand_count == 1 && json_array_size(list) == 1)
		r = print_one(json_array_get(list, 0), values, e);
	else
		r = print_list(list, values, e);
	json_decref(list);
	return r;
}

static bool is_live(const struct option_value *values)
{
	return !values[TOP_ONCE].given && !values[TOP_TABLE + TABLE_OPTION_QUIET].given &&
	       values[TOP_TABLE + TABLE_OPTION_FORMAT].number == FORMAT_TABLE && isatty(STDIN_FILENO) &&
	       isatty(STDOUT_FILENO);
}

static int run(const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	struct watch *watch;
	int r = watch_new(&watch, arguments->operands, arguments->operand_count, e);

	if (r < 0)
		return error_prefix(e, r, "top");
	if (is_live(values))
		r = top_screen(watch, arguments->operand_count == 1, (enum top_order)values[TOP_SORT].number,
			       (unsigned)values[TOP_INTERVAL].number, e);
	else
		r = once(watch, arguments, e);
	watch_free(watch);
	return r < 0 ? error_prefix(e, r, "top") : 0;
}

static const struct verb_example examples[] = {
	{"doppel top", "all machines that run, those that use most processor time first"},
	{"doppel top web", "all about web: its CPUs, memory and devices, and what its engine does, and why"},
	{"doppel top --once --format json | jq '.[] | {name, cpu: .cpu.percent}'", "for a script"},
	{NULL, NULL},
};

const struct verb verb_top = {
	.name = "top",
	.summary = "watch what machines use and do",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description =
		"Lists machines with the processor time they use (in percent of one processor), the guest's memory that "
		"lies in the host's, bytes a second of disks and networks, and how often a second guest code was left "
		"for the monitor. One NAME alone gets a page of its own, with the causes of that.\n\n"
		"On a terminal it goes on until q is pressed; c, m, d, n, e and a sort by CPU, memory, disk, network, "
		"exits and name, a blank asks anew at once. No guest is stopped for it, and a monitor that does not "
		"answer holds nobody up.",
	.examples = examples,
	.options = options,
	.option_count = TOP_OPTIONS,
	.run = run,
};
