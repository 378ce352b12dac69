/* A move while it is under way, for whoever looks on. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "cli/migrate.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "migrate/stage.h"

#define LOOK_MS 100

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

static bool flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static const char *stage_name(const json_t *p)
{
	const char *name = json_string_value(json_object_get(p, "name"));

	return name ? name : "";
}

/* ---- Lines ---- */

static bool follows_late(const json_t *p)
{
	return flag(p, "post_copy") && number(p, "stage") == MIGRATE_ACTIVATION;
}

/* The event that begins a round tells of the one before. */
static uint64_t round_of(const json_t *p)
{
	bool amid = number(p, "stage") == MIGRATE_PRE_COPY && number(p, "left") < number(p, "due");

	return number(p, "round") + amid;
}

static void print_left(FILE *out, const json_t *p)
{
	fprintf(out, ", %llu", (unsigned long long)number(p, "left"));
	if (number(p, "left") < number(p, "due"))
		fprintf(out, " of %llu", (unsigned long long)number(p, "due"));
	fputs(" pages left", out);
}

/* What the figures after it are about. */
static void print_subject(FILE *out, const json_t *p)
{
	if (follows_late(p))
		fprintf(out, ": post-copy%s, ", flag(p, "cut") ? " was cut off" : "");
	else if (round_of(p))
		fprintf(out, ": round %llu, ", (unsigned long long)round_of(p));
	else
		fputs(": ", out);
}

static void print_figures(FILE *out, const json_t *p)
{
	char sent[TABLE_BYTES_SIZE];

	print_subject(out, p);
	table_format_bytes(number(p, "bytes"), sent);
	fprintf(out, "%s sent", sent);
	print_left(out, p);
	if (number(p, "estimate_ns") && !follows_late(p))
		fprintf(out, ", about %llu ms of downtime", (unsigned long long)number(p, "estimate_ns") / NS_PER_MS);
	if (number(p, "throttle"))
		fprintf(out, ", slowed down to %llu %%", (unsigned long long)number(p, "throttle"));
	if (follows_late(p))
		fprintf(out, ", %llu were waited for", (unsigned long long)number(p, "faults"));
}

void migrate_print(FILE *out, const json_t *p)
{
	fprintf(out, "stage %llu, %s", (unsigned long long)number(p, "stage"), stage_name(p));
	if (number(p, "round") || number(p, "bytes"))
		print_figures(out, p);
	fputc('\n', out);
}

void migrate_report(const struct named *named, const char *to, const json_t *result)
{
	char sent[TABLE_BYTES_SIZE];

	table_format_bytes(number(result, "bytes"), sent);
	printf("%s is at %s: %.2f s, %s, %llu ms of downtime\n", named->name, to, (double)number(result, "total_ns") / 1e9, sent,
	       (unsigned long long)(number(result, "downtime_ns") + NS_PER_MS / 2) / NS_PER_MS);
}

/* ---- On a terminal ---- */

/* A bar for the round, or for what follows late. */
static void draw(struct progress *bar, const json_t *p)
{
	char step[PROGRESS_STEP_SIZE];
	struct image_progress state = {.step = step, .bytes = true};

	if (!number(p, "due"))
		return;
	snprintf(step, sizeof step, "%s", follows_late(p) ? "post-copy" : stage_name(p));
	if (number(p, "stage") == MIGRATE_PRE_COPY)
		snprintf(step, sizeof step, "round %llu", (unsigned long long)round_of(p));
	state.total = number(p, "due") * GUEST_PAGE_SIZE;
	state.done = state.total - number(p, "left") * GUEST_PAGE_SIZE;
	progress_show(bar, &state);
}

/* ---- The call ---- */

/* It waits on a thread, so that another can tell how it goes on. */
struct request {
	struct control_client *client;
	json_t *with, *result;
	int code;
	struct error error;
	atomic_bool done;
};

static void *request_main(void *arg)
{
	struct request *request = arg;

	request->code = control_request(request->client, "migrate", request->with, -1, &request->result, NULL, &request->error);
	atomic_store(&request->done, true);
	return NULL;
}

static void tell(struct progress *bar, const json_t *event)
{
	if (!json_object_get(event, "stage") || json_object_get(event, "to"))
		return;
	progress_finish(bar);
	migrate_print(stderr, event);
}

static void look(struct named *watcher, struct progress *bar)
{
	json_t *now = NULL;

	if (control_request(watcher->client, "migrate status", NULL, MIGRATE_PATIENCE_MS, &now, NULL, NULL) == 0)
		draw(bar, now);
	json_decref(now);
}

static void look_on(struct named *watcher, const struct request *request)
{
	struct progress bar;
	json_t *event;

	progress_init(&bar, stderr);
	while (!atomic_load(&request->done)) {
		int r = control_next(watcher->client, LOOK_MS, &event, NULL);

		if (r == -ETIMEDOUT && bar.redraw)
			look(watcher, &bar);
		else if (r < 0)
			migrate_pause(LOOK_MS / 10);
		if (r < 0)
			continue;
		tell(&bar, event);
		json_decref(event);
	}
	progress_finish(&bar);
}

int migrate_watch(struct named *named, json_t *with, bool quiet, json_t **result, struct error *e)
{
	struct request request = {.client = named->client, .with = with};
	struct named watcher = {.registry = named->registry, .record = named->record};
	pthread_t thread;
	bool watching;

	memcpy(watcher.name, named->name, sizeof watcher.name);
	watching = !quiet && named_call(&watcher, "moved", "events", NULL, MIGRATE_PATIENCE_MS, NULL, NULL) == 0;
	if (watching && pthread_create(&thread, NULL, request_main, &request) == 0) {
		look_on(&watcher, &request);
		pthread_join(thread, NULL);
	} else {
		request_main(&request);
	}
	named_close(&watcher);
	*result = request.result;
	return request.code < 0 ? error_set(e, request.error.kind, request.code, "%s", request.error.message) : 0;
}
