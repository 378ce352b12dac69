/* What a machine's folder says of its being given to another host or coming from one, and the ballots of machines that came. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/types.h"
#include "registry/private.h"

/* What move.json says of it, by what is known. */
static const struct {
	const char *state;
	bool gone, late;
} states[] = {{"doubt", false, false}, {"late doubt", false, true}, {"late", true, true}, {"gone", true, false}};

#define MOVE_FILE  "move.json"
#define MOVE_MAX   2048
#define ARRIVING   "arriving" /* holds the token */
#define BALLOTS    "ballots"
#define BALLOT_MAX 256
#define TAKEN      "taken"
#define REFUSED    "refused"
#define DONE       "done"

/* ---- The source's side ---- */

static const char *state_of(const struct registry_move *move)
{
	size_t i = 0;

	while (states[i].gone != move->gone || states[i].late != move->late)
		i++;
	return states[i].state;
}

static bool understand_state(const char *state, struct registry_move *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(state, states[i].state) == 0) {
			out->gone = states[i].gone;
			out->late = states[i].late;
			return true;
		}
	return false;
}

int registry_write_move(int folder, const struct registry_move *move, struct error *e)
{
	json_t *object = json_pack("{s:i, s:s, s:s, s:s}", "version", 1, "state", state_of(move), "token", move->token, "to",
				   move->to);
	char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
	int r = text ? registry_replace_file(folder, MOVE_FILE, text, strlen(text), true) : -ENOMEM;

	json_decref(object);
	free(text);
	/* The name, too, has to survive. */
	if (r == 0 && fsync(folder) < 0)
		r = -errno;
	return r < 0 ? error_errno(e, r, "noting that the machine is being moved") : 0;
}

int registry_clear_move(int folder, struct error *e)
{
	if (unlinkat(folder, MOVE_FILE, 0) < 0 && errno != ENOENT)
		return error_errno(e, -errno, "noting that the machine was not moved");
	return 0;
}

static bool understand(const json_t *object, struct registry_move *out)
{
	const char *state = json_string_value(json_object_get(object, "state"));
	const char *token = json_string_value(json_object_get(object, "token"));
	const char *to = json_string_value(json_object_get(object, "to"));

	if (!state || !token || !to || json_integer_value(json_object_get(object, "version")) != 1 || !understand_state(state, out))
		return false;
	return snprintf(out->token, sizeof out->token, "%s", token) < (int)sizeof out->token &&
	       snprintf(out->to, sizeof out->to, "%s", to) < (int)sizeof out->to;
}

int registry_read_move(int folder, struct registry_move *out, struct error *e)
{
	char text[MOVE_MAX + 1];
	ssize_t length = registry_read_file(folder, MOVE_FILE, text, MOVE_MAX);
	json_t *object;
	bool good;

	if (length == -ENOENT)
		return 0;
	object = length > 0 ? json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL) : NULL;
	good = object && understand(object, out);
	json_decref(object);
	if (good)
		return 1;
	return error_set(e, ERROR_FAILED, -EBADMSG,
			 "its " MOVE_FILE " is damaged, so it may be another host's by now; remove that file when it is not");
}

int registry_refuse_moved(const char *name, int folder, struct error *e)
{
	struct registry_move move;
	int r = registry_read_move(folder, &move, e);

	if (r <= 0)
		return r;
	if (move.gone)
		return error_set(e, ERROR_STATE, -EBUSY,
				 "%s was moved to %s and can not run here; doppel rm %s removes what is left of it here", name,
				 move.to, name);
	return error_set(e, ERROR_STATE, -EBUSY,
			 "%s was being moved to %s when its monitor ended, and may be there; doppel migrate %s %s --recover asks",
			 name, move.to, name, move.to);
}

/* ---- The destination's side ---- */

static bool token_valid(const char *token)
{
	size_t length = strlen(token);

	return length > 0 && length < REGISTRY_TOKEN_SIZE && hex_is(token, length);
}

int registry_ballot_open(struct registry *registry, const char *token, bool make, int *fd, struct error *e)
{
	AUTO_CLOSE folder = -1;
	int own;

	if (!token_valid(token))
		return error_set(e, ERROR_USAGE, -EINVAL, "a move's token is %d hexadecimal digits", REGISTRY_TOKEN_SIZE - 1);
	folder = registry_root_open(registry, BALLOTS, make);
	own = folder < 0 ? folder
			 : registry_open_file(folder, token, O_RDWR | O_APPEND | (make ? O_CREAT | O_EXCL : 0));
	if (own == -ENOENT && !make)
		return own;
	if (own == -EEXIST)
		return error_set(e, ERROR_STATE, own, "a machine with this token came before");
	if (own < 0)
		return error_errno(e, own, "the ballot of a machine that moves");
	if (make && fsync(folder) < 0) {
		close(own);
		return error_errno(e, -errno, "the ballot of a machine that moves");
	}
	*fd = own;
	return 0;
}

/* The first whole line that is a vote counts. Lines are appended whole, so all who read see the same first one. */
int registry_ballot_cast(int fd, bool take, struct error *e)
{
	const char *vote = take ? TAKEN "\n" : REFUSED "\n";
	char text[BALLOT_MAX];
	ssize_t length;
	int r = registry_write_all(fd, vote, strlen(vote));

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	length = r == 0 ? pread(fd, text, sizeof text - 1, 0) : -1;
	if (length <= 0)
		return error_errno(e, r < 0 ? r : -EIO, "the ballot of a machine that moves");
	text[length] = '\0';
	return strncmp(text, TAKEN "\n", strlen(TAKEN "\n")) == 0;
}

/* ---- What is left of a machine whose arrival was cut short ---- */

int registry_mark_arriving(int folder, const char *token)
{
	return registry_replace_file(folder, ARRIVING, token, strlen(token), false);
}

int registry_mark_arrived(int folder, struct error *e)
{
	int r = unlinkat(folder, ARRIVING, 0) < 0 && errno != ENOENT ? -errno : 0;

	return r < 0 ? error_errno(e, r, "noting that the machine has arrived") : 0;
}

/* 1 with the token, 0 when it is not arriving. */
static int read_arriving(int folder, char token[REGISTRY_TOKEN_SIZE], struct error *e)
{
	ssize_t length = registry_read_file(folder, ARRIVING, token, REGISTRY_TOKEN_SIZE - 1);

	if (length == -ENOENT)
		return 0;
	if (length < 0)
		return error_errno(e, (int)length, "its file " ARRIVING);
	token[length] = '\0';
	return 1;
}

int registry_refuse_arriving(struct registry *registry, const char *name, int folder, struct error *e)
{
	char token[REGISTRY_TOKEN_SIZE], vote[sizeof TAKEN];
	int ballot, r = read_arriving(folder, token, e);

	if (r <= 0)
		return r;
	r = registry_ballot_open(registry, token, false, &ballot, NULL);
	if (r == 0) {
		r = pread(ballot, vote, sizeof vote, 0) == sizeof vote && memcmp(vote, TAKEN "\n", sizeof vote) == 0;
		close(ballot);
	}
	/* It was taken, and killed before it could say so in the folder. */
	if (r > 0)
		return registry_mark_arrived(folder, e);
	return error_set(e, ERROR_STATE, -EBUSY,
			 "%s was arriving from another host when that was cut short, and is there; doppel rm %s removes what is left "
			 "of it here",
			 name, name);
}

int registry_give_up_arriving(struct registry *registry, int folder, struct error *e)
{
	char token[REGISTRY_TOKEN_SIZE];
	int ballot, r = read_arriving(folder, token, e);

	if (r <= 0)
		return r;
	r = registry_ballot_open(registry, token, false, &ballot, e);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	r = registry_ballot_cast(ballot, false, e);
	close(ballot);
	return r < 0 ? r : r == 0;
}

int registry_ballot_note_done(int fd)
{
	int r = registry_write_all(fd, DONE "\n", strlen(DONE "\n"));

	return r < 0 ? r : fsync(fd) < 0 ? -errno : 0;
}

bool registry_ballot_is_done(struct registry *registry, const char *token)
{
	char text[BALLOT_MAX];
	ssize_t length;
	int fd;

	if (registry_ballot_open(registry, token, false, &fd, NULL) < 0)
		return false;
	length = pread(fd, text, sizeof text - 1, 0);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return strncmp(text, TAKEN "\n", strlen(TAKEN "\n")) == 0 && strstr(text, "\n" DONE "\n");
}
