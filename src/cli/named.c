#include "cli/named.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

int named_open(struct named *named, struct registry *registry, const char *text, struct error *e)
{
	struct named found = {.registry = registry};
	int r = registry_find(registry, text, found.name, e);

	if (r == 0)
		r = registry_record(registry, found.name, &found.record, e);
	if (r == 0)
		*named = found;
	return r;
}

void named_close(struct named *named)
{
	control_close(named->client);
	named->client = NULL;
}

int named_connect(struct named *named, const char *what, struct error *e)
{
	int folder, r;

	if (named->client)
		return 0;
	r = registry_folder(named->registry, named->name, &folder, e);
	if (r < 0)
		return r;
	r = control_connect(&named->client, folder, MONITOR_CONTROL, e);
	close(folder);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return monitor_refuse(named->name, named->record.state, what, e);
	return r;
}

int named_call(struct named *named, const char *what, const char *call, json_t *with, int timeout_ms, json_t **result,
	       struct error *e)
{
	int r = named_connect(named, what, e);

	if (r < 0) {
		json_decref(with);
		return r;
	}
	return control_request(named->client, call, with, timeout_ms, result, NULL, e);
}

bool named_is_alive(const struct record *record)
{
	return record->monitor != 0;
}

bool named_is_running(const struct record *record)
{
	return record->state == MACHINE_RUNNING;
}

bool named_is_paused(const struct record *record)
{
	return record->state == MACHINE_PAUSED;
}

bool named_is_at_rest(const struct record *record)
{
	return record->monitor == 0;
}

int named_do(const struct arguments *arguments,
	     int (*fn)(struct named *named, const struct arguments *arguments, struct error *e), struct error *e)
{
	struct registry *registry;
	struct named named;
	int r = registry_open(&registry, e);

	if (r < 0)
		return r;
	r = named_open(&named, registry, arguments->operands[0], e);
	if (r == 0) {
		r = fn(&named, arguments, e);
		named_close(&named);
	}
	registry_close(registry);
	return r;
}

/* What has failed so far; told when something else fails too. */
struct failures {
	struct error last;
	int code;
};

static void keep(struct failures *failures, int code, const struct error *e)
{
	if (failures->code < 0)
		cli_report(&failures->last);
	failures->code = code;
	failures->last = *e;
}

static void take_turn(struct registry *registry, const char *text, named_fn *fn, void *context,
		      struct failures *failures)
{
	struct error e = {.kind = ERROR_NONE};
	struct named named;
	int r = named_open(&named, registry, text, &e);

	if (r == 0) {
		r = fn(&named, context, &e);
		named_close(&named);
	}
	if (r < 0)
		keep(failures, r, &e);
}

static int each_of_all(struct registry *registry, bool (*fits)(const struct record *record), named_fn *fn, void *context,
		       struct failures *failures, struct error *e)
{
	struct record *records;
	size_t count;
	int r = registry_list(registry, &records, &count, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (fits(&records[i]))
			take_turn(registry, records[i].name, fn, context, failures);
	free(records);
	return 0;
}

static int check_operands(const struct arguments *arguments, bool all, struct error *e)
{
	if (all && arguments->operand_count)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s: names and --all do not go together; give one of them",
				 arguments->verb->name);
	if (!all && !arguments->operand_count)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s: name a machine; doppel ps -a lists them",
				 arguments->verb->name);
	return 0;
}

int named_each(const struct arguments *arguments, bool all, bool (*fits)(const struct record *record), named_fn *fn,
	       void *context, struct error *e)
{
	struct failures failures = {.code = 0};
	struct registry *registry = NULL;
	int r = check_operands(arguments, all, e);

	if (r == 0)
		r = registry_open(&registry, e);
	if (r == 0 && all)
		r = each_of_all(registry, fits, fn, context, &failures, e);
	for (size_t i = 0; r == 0 && i < arguments->operand_count; i++)
		take_turn(registry, arguments->operands[i], fn, context, &failures);
	registry_close(registry);
	if (r == 0 && failures.code < 0)
		r = error_set(e, failures.last.kind, failures.code, "%s", failures.last.message);
	return r;
}
