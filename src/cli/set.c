#include <errno.h>
#include <stdio.h>

#include "board/board.h"
#include "cli/document.h"
#include "cli/named.h"
#include "cli/verb.h"
#include "config/form.h"
#include "host/cgroup.h"

#define PATIENCE_MS 20000
#define PERCENT_MAX (100 * (CPUS_MAX + 1))
#define RATE_MAX    (UINT64_C(1) << 50)

enum {
	SET_MEMORY,
	SET_CPU_QUOTA,
	SET_VCPU_QUOTA,
	SET_CPU_WEIGHT,
	SET_IO_WEIGHT,
	SET_CPU_MAX,
	SET_MEMORY_MAX,
	SET_DISK,
	SET_NET,
	SET_PUBLISH,
	SET_UNPUBLISH,
	SET_FORMAT,
	SET_OPTIONS,
};

/* Both forms have the same parts, so that one function reads them. */
enum { LIMIT_INDEX, LIMIT_BYTES, LIMIT_COUNT, LIMIT_BURST, LIMIT_PARTS };

#define INDEX_ROW                                                                                                   \
	[LIMIT_INDEX] = {.name = "index",                                                                           \
			 .type = OPTION_INTEGER,                                                                    \
			 .placeholder = "N",                                                                        \
			 .minimum = 0,                                                                              \
			 .maximum = 63,                                                                             \
			 .required = true,                                                                          \
			 .help = "which one, counted from 0 in the order of the guest's"}
#define RATE_ROW(which, word, kind, what)                                                                           \
	[which] = {.name = word, .type = kind, .placeholder = "N", .maximum = RATE_MAX,                             \
		   .help = what " a second at most; 0 is no limit"}
#define BURST_ROW                                                                                                   \
	[LIMIT_BURST] = {.name = "burst",                                                                           \
			 .type = OPTION_DURATION,                                                                   \
			 .placeholder = "TIME",                                                                     \
			 .minimum = 0,                                                                              \
			 .maximum = 3600000,                                                                        \
			 .help = "after a rest, so much time's worth may pass at once"}

static const struct option_spec disk_parts[LIMIT_PARTS] = {
	INDEX_ROW,
	RATE_ROW(LIMIT_BYTES, "bps", OPTION_SIZE, "bytes"),
	RATE_ROW(LIMIT_COUNT, "iops", OPTION_INTEGER, "operations"),
	BURST_ROW,
};

static const struct option_spec net_parts[LIMIT_PARTS] = {
	INDEX_ROW,
	RATE_ROW(LIMIT_BYTES, "rate", OPTION_SIZE, "bytes"),
	RATE_ROW(LIMIT_COUNT, "pps", OPTION_INTEGER, "packets"),
	BURST_ROW,
};

static const struct option_form disk_form = {.syntax = FORM_COMMAS, .parts = disk_parts, .count = LIMIT_PARTS};
static const struct option_form net_form = {.syntax = FORM_COMMAS, .parts = net_parts, .count = LIMIT_PARTS};

static const struct option_spec options[SET_OPTIONS] = {
	[SET_MEMORY] = {.name = "memory",
			.letter = 'm',
			.type = OPTION_SIZE,
			.placeholder = "SIZE",
			.minimum = BOARD_MEMORY_MIN,
			.maximum = UINT64_C(1) << 44,
			.multiple = 4096,
			.help = "leave this much of its memory to the guest; its balloon takes the rest"},
	[SET_CPU_QUOTA] = {.name = "cpu-quota",
			   .letter = 'q',
			   .type = OPTION_PERCENT,
			   .placeholder = "PERCENT",
			   .maximum = PERCENT_MAX,
			   .help = "use at most this much of a processor, for everything that the machine does; 0 is no limit"},
	[SET_VCPU_QUOTA] = {.name = "vcpu-quota",
			    .letter = 'Q',
			    .type = OPTION_PERCENT,
			    .placeholder = "PERCENT",
			    .maximum = 100,
			    .help = "the same for each virtual CPU"},
	[SET_CPU_WEIGHT] = {.name = "cpu-weight",
			    .type = OPTION_INTEGER,
			    .placeholder = "N",
			    .minimum = CGROUP_WEIGHT_MIN,
			    .maximum = CGROUP_WEIGHT_MAX,
			    .help = "share of the processors when they are short, against others that have 100; of a machine "
				    "that was made with one"},
	[SET_IO_WEIGHT] = {.name = "io-weight",
			   .type = OPTION_INTEGER,
			   .placeholder = "N",
			   .minimum = CGROUP_WEIGHT_MIN,
			   .maximum = CGROUP_WEIGHT_MAX,
			   .help = "the same for the host's disks"},
	[SET_CPU_MAX] = {.name = "cpu-max",
			 .type = OPTION_PERCENT,
			 .placeholder = "PERCENT",
			 .minimum = 1,
			 .maximum = PERCENT_MAX,
			 .help = "as --cpu-quota, kept by the kernel; of a machine with a control group"},
	[SET_MEMORY_MAX] = {.name = "memory-max",
			    .type = OPTION_SIZE,
			    .placeholder = "SIZE",
			    .minimum = 16 * MIB,
			    .maximum = UINT64_C(1) << 44,
			    .help = "all of its processes have so much at most, kept by the kernel; of a machine with a control "
				    "group"},
	[SET_DISK] = {.name = "disk",
		      .letter = 'D',
		      .type = OPTION_FORM,
		      .form = &disk_form,
		      .placeholder = "N[,bps=SIZE][,iops=N][,burst=TIME]",
		      .repeatable = true,
		      .help = "limits of a disk, the first is 0; a limit of 0 is none"},
	[SET_NET] = {.name = "net",
		     .letter = 'N',
		     .type = OPTION_FORM,
		     .form = &net_form,
		     .placeholder = "N[,rate=SIZE][,pps=N][,burst=TIME]",
		     .repeatable = true,
		     .help = "limits of a network card, the first is 0; a limit of 0 is none"},
	[SET_PUBLISH] = {.name = "publish",
			 .letter = 'p',
			 .type = OPTION_STRING,
			 .placeholder = "[udp:][ADDRESS:]HOST:GUEST",
			 .repeatable = true,
			 .help = "a port of this host that leads to one of the guest from now on"},
	[SET_UNPUBLISH] = {.name = "unpublish",
			   .letter = 'u',
			   .type = OPTION_STRING,
			   .placeholder = "[udp:][ADDRESS:]HOST:GUEST",
			   .repeatable = true,
			   .help = "a port that leads there no longer"},
	[SET_FORMAT] = OPTION_FORMAT_ROW,
};

static void put_number(json_t *object, const char *key, const struct option_value *value)
{
	if (value->given)
		json_object_set_new(object, key, json_integer((json_int_t)value->number));
}

/* One --disk or --net; `counted` is what is limited besides bytes. */
static int put_limits(json_t *list, const struct option_spec *spec, const char *text, const char *counted, struct error *e)
{
	struct form_values parts;
	json_t *object = json_object();
	int r = form_split(spec, text, &parts, e);

	if (r == 0) {
		put_number(object, "index", &parts.values[LIMIT_INDEX]);
		put_number(object, "bytes_per_second", &parts.values[LIMIT_BYTES]);
		put_number(object, counted, &parts.values[LIMIT_COUNT]);
		put_number(object, "burst_ms", &parts.values[LIMIT_BURST]);
		json_array_append(list, object);
		form_finish(&parts);
	}
	json_decref(object);
	return r;
}

/* All values of an option that may be repeated, as a list under `key`. */
static int put_list(json_t *with, const char *key, const struct arguments *arguments, size_t option, const char *counted,
		    struct error *e)
{
	const char *text;
	size_t cursor = 0;
	json_t *list;
	int r = 0;

	if (!arguments->values[option].given)
		return 0;
	list = json_array();
	while (r == 0 && (text = arguments_next(arguments, option, &cursor))) {
		if (counted)
			r = put_limits(list, &options[option], text, counted, e);
		else
			json_array_append_new(list, json_string(text));
	}
	json_object_set_new(with, key, list);
	return r;
}

static int put_all(json_t *with, const struct arguments *arguments, struct error *e)
{
	json_t *quota = json_object();
	int r;

	put_number(with, "memory", &arguments->values[SET_MEMORY]);
	put_number(quota, "machine", &arguments->values[SET_CPU_QUOTA]);
	put_number(quota, "vcpu", &arguments->values[SET_VCPU_QUOTA]);
	if (json_object_size(quota))
		json_object_set(with, "quota", quota);
	json_decref(quota);
	r = put_list(with, "disks", arguments, SET_DISK, "operations_per_second", e);
	if (r == 0)
		r = put_list(with, "cards", arguments, SET_NET, "packets_per_second", e);
	if (r == 0)
		r = put_list(with, "publish", arguments, SET_PUBLISH, NULL, e);
	if (r == 0)
		r = put_list(with, "unpublish", arguments, SET_UNPUBLISH, NULL, e);
	return r;
}

/* As a wish for a control group has it: 0 is not asked for. */
static uint64_t wished(const struct option_value *value)
{
	return value->given ? value->number : 0;
}

/* What the kernel keeps for the machine's group. A monitor behind its walls can not change that, so that is done here; it
 * only hears of it, for its history. */
static int change_group(const struct named *named, const struct arguments *arguments, json_t *with, char group[CGROUP_PATH],
			struct cgroup_before *before, struct error *e)
{
	const struct option_value *values = arguments->values;
	const struct cgroup_wish wish = {
		.cpu_weight = (unsigned)wished(&values[SET_CPU_WEIGHT]),
		.io_weight = (unsigned)wished(&values[SET_IO_WEIGHT]),
		.cpu_max_percent = (unsigned)wished(&values[SET_CPU_MAX]),
		.memory_max = wished(&values[SET_MEMORY_MAX]),
	};
	json_t *told = json_object();
	char process[64];
	int r = 0;

	put_number(told, "cpu_weight", &values[SET_CPU_WEIGHT]);
	put_number(told, "io_weight", &values[SET_IO_WEIGHT]);
	put_number(told, "cpu_max", &values[SET_CPU_MAX]);
	put_number(told, "memory_max", &values[SET_MEMORY_MAX]);
	if (json_object_size(told)) {
		json_object_set(with, "group", told);
		snprintf(process, sizeof process, "/proc/%d/cgroup", (int)named->record.monitor);
		r = cgroup_of(named->name, "/proc/self/mountinfo", process, group, e);
		if (r == 0)
			r = cgroup_change(group, &wish, before, e);
	}
	json_decref(told);
	return r;
}

/* Without anything to set, what is set is told. */
static int set(struct named *named, void *context, struct error *e)
{
	const struct arguments *arguments = context;
	json_t *with = json_object(), *answer = NULL;
	struct cgroup_before before = {{{0}}};
	char group[CGROUP_PATH] = "";
	int r = put_all(with, arguments, e);
	bool asked;

	if (r == 0)
		r = change_group(named, arguments, with, group, &before, e);
	asked = json_object_size(with) == 0;
	if (r == 0) {
		r = named_call(named, "changed", "set", json_incref(with), PATIENCE_MS, &answer, e);
		if (r < 0)
			cgroup_restore(group, &before);
	}
	if (r == 0 && asked)
		r = document_print(answer, (enum output_format)arguments->values[SET_FORMAT].number, stdout, e);
	json_decref(with);
	json_decref(answer);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, false, NULL, set, (void *)arguments, e);
}

static const struct verb_example examples[] = {
	{"doppel set web --memory 256M --cpu-quota 40%", "web gives memory back, and uses two fifths of a processor at most"},
	{"doppel set web --disk 0,iops=500,bps=20M", "limits its first disk"},
	{"doppel set web --publish 8080:80 --unpublish 8081:80", "moves a published port"},
	{"doppel set web", "tells what is set"},
	{NULL, NULL},
};

const struct verb verb_set = {
	.name = "set",
	.summary = "change what a machine may use, while it runs",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description =
		"Changes hold until the machine ends; what holds at each start stands in its document (doppel create). All are made, "
		"or, if one can not be, none. Without anything to change, tells what is set.\n\n"
		"Memory is given back by the guest's balloon driver, which takes its time, and only what it can spare.",
	.examples = examples,
	.options = options,
	.option_count = SET_OPTIONS,
	.run = run,
};
