/* Moves that were cut off, and what the ends of a move have in common. */
#include "cli/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "migrate/source.h"
#include "migrate/stream.h"

/* At first; then twice as long each time. */
#define LOOK_MS 5
/* A destination that was cut off may answer again soon. */
#define ASK_TIMES    20
#define ASK_AGAIN_MS 500

void migrate_pause(long ms)
{
	const struct timespec time = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

int migrate_pass_links(struct named *named, const struct migrate_target *target, unsigned count, struct error *e)
{
	int fd, r = named_connect(named, "moved", e);

	for (unsigned i = 0; r == 0 && i < count; i++) {
		r = endpoint_connect(target->endpoint, &fd, e);
		if (r < 0)
			break;
		control_pass(named->client, fd);
		r = control_request(named->client, "migrate link", json_pack("{s:b}", "first", i == 0),
				    MIGRATE_PATIENCE_MS, NULL, NULL, e);
		close(fd);
	}
	return r;
}

int migrate_discard(struct named *named, struct error *e)
{
	int r = registry_remove(named->registry, named->name, e);

	/* Mostly it takes milliseconds. */
	for (long step = LOOK_MS, waited = 0; r == -EBUSY && waited < MIGRATE_PATIENCE_MS; waited += step, step *= 2) {
		migrate_pause(step);
		r = registry_remove(named->registry, named->name, e);
	}
	return r;
}

/* Whether it is in post-copy, and what became of that. */
static bool is_post_copy(struct named *named, bool *cut)
{
	json_t *progress = NULL;
	bool post_copy;

	if (named_call(named, "moved", "migrate status", NULL, MIGRATE_PATIENCE_MS, &progress, NULL) < 0)
		return false;
	post_copy = json_is_true(json_object_get(progress, "post_copy"));
	*cut = json_is_true(json_object_get(progress, "cut"));
	json_decref(progress);
	return post_copy;
}

static int ask_once(struct named *named, const struct migrate_target *target, json_t **result, struct error *e)
{
	bool cut = false, late = is_post_copy(named, &cut);
	int fd = -1, r = late ? migrate_pass_links(named, target, 2, e) : 0;

	if (r == 0 && cut)
		return control_request(named->client, "migrate recover", NULL, -1, result, NULL, e);
	if (r == 0)
		r = endpoint_connect(target->endpoint, &fd, e);
	if (r < 0)
		return r;
	r = named_connect(named, "moved", e);
	if (r == 0) {
		control_pass(named->client, fd);
		r = control_request(named->client, "migrate ask", NULL, -1, result, NULL, e);
	}
	close(fd);
	return r;
}

/* 1: it is there, for ever; 0: it is not, and never will be by this token. */
static int ask_whose(const struct migrate_target *target, const char *token, struct error *e)
{
	struct stream stream;
	int fd, r = endpoint_connect(target->endpoint, &fd, e);

	if (r < 0)
		return r;
	stream_init(&stream, fd, -1);
	r = stream_ask(&stream, token, e);
	stream_finish(&stream);
	close(fd);
	return r;
}

static int read_doubt(struct named *named, int folder, struct registry_move *move, struct error *e)
{
	int r = registry_read_move(folder, move, e);

	if (r == 0)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is not in doubt: it was not being moved", named->name);
	if (r > 0 && move->gone && move->late)
		return error_set(e, ERROR_FAILED, -ENOTRECOVERABLE,
				 "%s is lost: it ran at %.80s already, but some of its memory was in its monitor here, "
				 "which is gone; doppel rm --force %s removes what is left of it, here and there",
				 named->name, move->to, named->name);
	return r;
}

/* What its folder here is good for. */
static int settle_folder(struct named *named, const struct migrate_target *target, int folder, bool taken, bool late,
			 struct error *e)
{
	int r = taken ? registry_remove(named->registry, named->name, e) : registry_clear_move(folder, e);

	if (r == 0 && taken && late)
		return error_set(e, ERROR_FAILED, -ENOTRECOVERABLE,
				 "%s is at %s, but some of its memory was in its monitor here, which ended before it heard so; "
				 "if it stands still there, that is lost, and doppel rm --force %s there removes it",
				 named->name, target->to, named->name);
	if (r == 0)
		printf(taken ? "%s is at %s\n" : "%s was not taken at %s: doppel start starts it\n", named->name, target->to);
	return r;
}

/* The monitor is gone, and only its folder knows of the move. */
static int ask_for_folder(struct named *named, const struct migrate_target *target, struct error *e)
{
	struct registry_move move;
	int folder, r = registry_folder(named->registry, named->name, &folder, e);

	if (r < 0)
		return r;
	r = read_doubt(named, folder, &move, e);
	if (r > 0)
		r = ask_whose(target, move.token, e);
	if (r >= 0)
		r = settle_folder(named, target, folder, r > 0, move.late, e);
	close(folder);
	return r;
}

int migrate_recover(struct named *named, const struct migrate_target *target, struct error *e)
{
	json_t *result = NULL;
	int r;

	if (!named_is_alive(&named->record))
		return ask_for_folder(named, target, e);
	r = ask_once(named, target, &result, e);
	if (r == 0) {
		printf("%s is at %s\n", named->name, target->to);
		r = migrate_discard(named, e);
	}
	json_decref(result);
	return r;
}

int migrate_settle_doubt(struct named *named, const struct migrate_target *target, json_t **result,
			 struct error *e)
{
	int r = -ETIMEDOUT;

	for (unsigned i = 0; i < ASK_TIMES; i++) {
		struct error own;

		r = ask_once(named, target, result, &own);
		if (r == 0)
			return 0;
		if (own.kind == ERROR_STATE)
			return i == 0 ? r
				      : error_set(e, ERROR_FAILED, r, "%s was not taken at %s, and goes on here",
						  named->name, target->to);
		migrate_pause(ASK_AGAIN_MS);
	}
	return r;
}
