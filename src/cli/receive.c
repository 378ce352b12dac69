#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/log.h"
#include "base/name.h"
#include "base/socket.h"
#include "block/block.h"
#include "cli/cli.h"
#include "cli/create.h"
#include "cli/endpoint.h"
#include "cli/migrate.h"
#include "cli/plan.h"
#include "cli/verb.h"
#include "memory/absent.h"
#include "migrate/link.h"
#include "migrate/source.h"
#include "migrate/stream.h"
#include "monitor/monitor.h"

/* A further connection is made with the first one, and used when the machine is made. */
#define FIRST_MS        120000
#define DOOR_MS         5000
#define LEAVING_MS      8000
#define LEAVING_STEP_MS 50
/* Whoever served is looked after so often. */
#define LOOK_MS 1000

enum { RECEIVE_ONCE, RECEIVE_ENDPOINT, RECEIVE_OPTIONS = RECEIVE_ENDPOINT + ENDPOINT_OPTIONS };

struct reception {
	struct registry *registry;
	struct endpoint *endpoint;
	int listener;
	int outcomes[2]; /* a pipe: of connections that an end is waited for of; -1: none is */
};

/* A connection, and what was offered by it. */
struct guest_house {
	struct registry *registry;
	struct stream stream;
	json_t *offer;
	const char *name, *document, *token; /* of the offer */
	char peer[TLS_PEER_SIZE];            /* empty: not known */
	struct settings settings;
	struct arguments arguments;
	int folder; /* of the machine that was made for it, under a lock of this process; else -1 */
	const char *disks[MACHINE_DISKS_MAX]; /* that were made for it; of the offer */
	unsigned disk_count;
};

/* ---- Whose is it? ---- */

/* Nobody who was never offered a machine can take it. */
static int judge(struct registry *registry, const char *token, struct error *e)
{
	int fd, r = registry_ballot_open(registry, token, false, &fd, e);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = registry_ballot_cast(fd, false, e);
	close(fd);
	return r;
}

static int answer_ask(struct guest_house *house, const struct stream_frame *frame, struct error *e)
{
	char token[MIGRATE_TOKEN_TEXT];
	uint8_t verdict;
	int r;

	memcpy(token, frame->bytes, sizeof token - 1);
	token[sizeof token - 1] = '\0';
	if (!migrate_token_valid(token))
		return error_set(e, ERROR_USAGE, -EINVAL, "a move's token is %d hexadecimal digits",
				 MIGRATE_TOKEN_TEXT - 1);
	r = judge(house->registry, token, e);
	if (r < 0)
		return r;
	verdict = (uint8_t)r;
	return stream_send_bytes(&house->stream, STREAM_VERDICT, &verdict, sizeof verdict, e);
}

/* ---- A further connection of a machine that is arriving ---- */

static int hand_on(struct guest_house *house, const struct stream_frame *frame, struct error *e)
{
	char name[LINK_NAME_SIZE], token[MIGRATE_TOKEN_TEXT];
	struct link_letter letter;
	int folder = -1, door, r = link_read_join(frame, name, &letter, e);

	if (r < 0)
		return r;
	letter.version = (uint8_t)house->stream.version;
	snprintf(token, sizeof token, "%.*s", (int)sizeof letter.token, letter.token);
	if (registry_ballot_is_done(house->registry, token))
		return stream_send(&house->stream, STREAM_COMPLETE, NULL, 0, e);
	r = registry_folder(house->registry, name, &folder, e);
	if (r < 0)
		return r;
	r = socket_connect_at(folder, LINK_DOOR, DOOR_MS, &door);
	close(folder);
	if (r < 0)
		return error_set(e, ERROR_STATE, r,
				 "%s is not arriving here: its monitor has ended, and what had come of its memory is lost; doppel "
				 "rm --force %s removes what is left of it, here and there",
				 name, name);
	r = link_deliver(door, &letter, house->stream.fd, e);
	close(door);
	return r;
}

/* ---- An offer ---- */

static int read_offer(struct guest_house *house, const struct stream_frame *frame, struct error *e)
{
	house->offer = json_loadb((const char *)frame->bytes, frame->length, JSON_REJECT_DUPLICATES, NULL);
	house->name = json_string_value(json_object_get(house->offer, "name"));
	house->document = json_string_value(json_object_get(house->offer, "document"));
	house->token = json_string_value(json_object_get(house->offer, "token"));
	if (house->name && name_is_valid(house->name) && house->document && migrate_token_valid(house->token))
		return 0;
	return error_set(e, ERROR_FAILED, -EPROTO, "the offer of a machine lacks a valid name, token or document");
}

static int read_document(struct guest_house *house, struct error *e)
{
	struct complaints complaints = {.source = "the machine's document"};
	int r = document_read(&machine_kind, house->document, strlen(house->document), "/", true, &house->settings,
			      &complaints);

	if (r == -ENOMEM)
		return error_errno(e, r, "the machine's document");
	if (r < 0)
		return complaints_conclude(&complaints, e);
	return machine_arguments(&house->settings, &house->arguments, e);
}

/* What was moved away from here may come back, and what did not come may come again. -EBUSY: who received it has
 * not ended. */
static int make_room(struct guest_house *house, struct error *e)
{
	struct registry_move move = {.gone = false};
	struct record record;
	int folder, r;
	bool busy;

	if (registry_record(house->registry, house->name, &record, NULL) < 0)
		return 0;
	r = registry_folder(house->registry, house->name, &folder, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	busy = record.monitor || flock(folder, LOCK_EX | LOCK_NB) < 0;
	r = registry_read_move(folder, &move, NULL) == 1 && move.gone;
	if (!r && !busy)
		r = registry_give_up_arriving(house->registry, folder, NULL) == 1;
	close(folder);
	if (r && !busy)
		r = registry_remove(house->registry, house->name, e);
	else
		r = error_set(e, ERROR_STATE, busy ? -EBUSY : -EEXIST, "there is a machine %s already",
			      house->name);
	return r == -ENOENT ? 0 : r;
}

/* A source that was refused may be here again before the monitor that refused it has ended. */
static int check_name(struct guest_house *house, struct error *e)
{
	int r = make_room(house, e);

	for (unsigned waited = 0; r == -EBUSY && waited < LEAVING_MS; waited += LEAVING_STEP_MS) {
		migrate_pause(LEAVING_STEP_MS);
		r = make_room(house, e);
	}
	return r;
}

static int check_plan(struct guest_house *house, struct error *e)
{
	return plan_check(&house->arguments, e);
}

static int check_post_copy(struct guest_house *house, struct error *e)
{
	int fd, r;

	if (!json_is_true(json_object_get(house->offer, "post_copy")))
		return 0;
	r = absent_open(&fd, e);
	if (r == 0)
		close(fd);
	return r;
}

/* All that does not fit, at once. */
static int check_offer(struct guest_house *house, struct error *e)
{
	static int (*const checks[])(struct guest_house * house, struct error * e) = {check_name, check_plan,
										      check_post_copy};
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct error own;
		int r = checks[i](house, &own);

		if (r < 0 && result < 0)
			(void)error_set(e, e->kind, result, "%.240s; %.240s", e->message, own.message);
		else if (r < 0)
			result = error_set(e, own.kind, r, "%s", own.message);
	}
	return result;
}

/* What is copied along needs a place; whether one that is there already fits is seen when it is open. */
static int make_disk(struct guest_house *house, const json_t *disk, struct error *e)
{
	const char *path = json_string_value(json_object_get(disk, "path"));
	const char *format = json_string_value(json_object_get(disk, "format"));
	json_int_t size = json_integer_value(json_object_get(disk, "size"));
	struct block_create_options options = {.size = (uint64_t)size};
	int r;

	if (!path || *path != '/' || !format || size <= 0 || house->disk_count == MACHINE_DISKS_MAX)
		return error_set(e, ERROR_FAILED, -EPROTO,
				 "the offer of a machine has a disk without a path, a format or a size");
	if (access(path, F_OK) == 0)
		return 0;
	options.format = strcmp(format, "qcow2") == 0 ? BLOCK_QCOW2 : BLOCK_RAW;
	r = block_create(path, &options, e);
	if (r == 0)
		house->disks[house->disk_count++] = path;
	return r;
}

static int make_disks(struct guest_house *house, struct error *e)
{
	json_t *disk;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(house->offer, "disks"), i, disk)
	{
		r = make_disk(house, disk, e);
		if (r < 0)
			break;
	}
	return r;
}

/* Nothing is left of a machine that did not come; a later offer of the same name may have taken the place. */
static void clean_up(struct guest_house *house)
{
	for (unsigned i = 0; i < house->disk_count; i++)
		unlink(house->disks[i]);
	if (house->folder >= 0)
		(void)!registry_remove_folder(house->registry, house->name, house->folder, NULL);
}

static int make(struct guest_house *house, struct error *e)
{
	const struct creation creation = {&house->settings, &house->arguments, house->name, false, house->token};
	char name[REGISTRY_NAME_SIZE];
	int r = create_machine(&creation, house->registry, name, e);

	if (r == 0)
		r = registry_folder(house->registry, house->name, &house->folder, e);
	if (r == 0)
		(void)flock(house->folder, LOCK_EX | LOCK_NB);
	return r;
}

/* The monitor goes on with the connection, and says here when the machine has come, or why not. */
static int hand_over(struct guest_house *house, struct error *e)
{
	static const char answer[] = "{\"flows\": true, \"links\": true}";
	struct monitor_arrival arrival = {.link = house->stream.fd};
	int r = registry_ballot_open(house->registry, house->token, true, &arrival.ballot, e);

	if (r < 0)
		return r;
	memcpy(arrival.token, house->token, sizeof arrival.token);
	r = stream_send_bytes(&house->stream, STREAM_ANSWER, answer, strlen(answer), e);
	if (r == 0)
		r = monitor_start_arrival(house->registry, house->name, &arrival, NULL, e);
	/* Of what did not come, whatever became of its monitor, nothing will ever run. */
	if (r < 0 && registry_ballot_cast(arrival.ballot, false, NULL) == 1) {
		close(house->folder);
		house->folder = -1;
		house->disk_count = 0;
	}
	close(arrival.ballot);
	return r;
}

static int take_offer(struct guest_house *house, const struct stream_frame *frame, struct error *e)
{
	int r = read_offer(house, frame, e);

	if (r == 0)
		r = read_document(house, e);
	if (r == 0)
		r = check_offer(house, e);
	if (r == 0)
		r = make_disks(house, e);
	if (r == 0)
		r = make(house, e);
	if (r == 0)
		r = hand_over(house, e);
	if (r == 0)
		printf("%s has arrived%s%s\n", house->name, *house->peer ? " from " : "", house->peer);
	else
		clean_up(house);
	return r;
}

/* ---- Connections ---- */

static int converse(struct guest_house *house, bool *meant, struct error *e)
{
	struct stream_frame frame;
	int r;

	house->stream.stall_ms = FIRST_MS;
	r = stream_greet(&house->stream, false, e);
	if (r == 0)
		r = stream_receive(&house->stream, -1, &frame, e);
	house->stream.stall_ms = STREAM_STALL_MS;
	if (r < 0)
		return r;
	if (frame.kind == STREAM_JOIN)
		return hand_on(house, &frame, e);
	*meant = true;
	if (frame.kind == STREAM_ASK)
		return answer_ask(house, &frame, e);
	if (frame.kind == STREAM_OFFER)
		return take_offer(house, &frame, e);
	return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" where an offer was due",
			 stream_kind_name(frame.kind));
}

/* `*meant`: whether it was about a machine: not a stranger, nor a further connection. */
static int serve(const struct reception *reception, int fd, bool *meant, struct error *e)
{
	struct guest_house house = {.registry = reception->registry, .folder = -1};
	int r = endpoint_welcome(reception->endpoint, &fd, house.peer, e);

	if (r < 0)
		return error_prefix(e, r, "a call was refused");

	stream_init(&house.stream, fd, -1);
	r = converse(&house, meant, e);
	if (r < 0)
		stream_abort(&house.stream, e);
	stream_finish(&house.stream);
	settings_finish(&house.settings);
	arguments_finish(&house.arguments);
	json_decref(house.offer);
	if (house.folder >= 0)
		close(house.folder);
	close(fd);
	fflush(stdout);
	return r;
}

/* How a connection ended that is waited for. */
struct outcome {
	int result;
	struct error error;
};
_Static_assert(sizeof(struct outcome) <= PIPE_BUF, "it is written in one piece");

static _Noreturn void serve_and_exit(const struct reception *reception, int fd)
{
	struct outcome outcome = {.result = 0};
	bool meant = false;

	close(reception->listener);
	outcome.result = serve(reception, fd, &meant, &outcome.error);
	if (meant && reception->outcomes[1] >= 0)
		(void)!write(reception->outcomes[1], &outcome, sizeof outcome);
	else if (outcome.result < 0)
		cli_report(&outcome.error);
	_exit(outcome.result < 0 ? error_exit_code(outcome.error.kind) : 0);
}

/* Each in a process of its own: machines take their time, and whoever asks whose one is, or brings a further connection
 * of one that is arriving, shall not wait. */
static void serve_apart(const struct reception *reception, int fd)
{
	struct error e;
	pid_t child;

	fflush(stdout);
	child = fork_process();
	if (child == 0)
		serve_and_exit(reception, fd);
	if (child < 0) {
		(void)error_errno(&e, -errno, "a process for a machine that arrives");
		cli_report(&e);
	}
	close(fd);
}

/* Whether one of those that served ended without a word. */
static bool reap(void)
{
	bool died = false;
	int status;

	while (waitpid(-1, &status, WNOHANG) > 0)
		died |= WIFSIGNALED(status);
	return died;
}

static int take_connections(const struct reception *reception, struct error *e)
{
	int fd = accept4(reception->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		serve_apart(reception, fd);
	else if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED)
		return error_errno(e, -errno, "waiting for machines");
	return 0;
}

static int receive(const struct reception *reception, struct error *e)
{
	struct pollfd waiting[] = {{.fd = reception->listener, .events = POLLIN},
				   {.fd = reception->outcomes[0], .events = POLLIN}};
	int r = 0;

	while (r == 0) {
		struct outcome outcome;
		bool died;

		if (poll(waiting, ARRAY_SIZE(waiting), LOOK_MS) < 0 && errno != EINTR)
			return error_errno(e, -errno, "waiting for machines");
		died = reap();
		if (waiting[1].revents && read(reception->outcomes[0], &outcome, sizeof outcome) == sizeof outcome) {
			*e = outcome.error;
			return outcome.result;
		}
		if (died && reception->outcomes[0] >= 0)
			return error_set(e, ERROR_FAILED, -EIO, "the process that received a machine died");
		if (waiting[0].revents)
			r = take_connections(reception, e);
	}
	return r;
}

static int open_up(struct reception *reception, const struct arguments *arguments, struct error *e)
{
	const char *text = arguments->operands[0];
	int r = endpoint_open(&reception->endpoint, text, arguments->values + RECEIVE_ENDPOINT, true, NULL, e);

	if (r == 0)
		r = endpoint_listen(reception->endpoint, &reception->listener, e);
	if (r < 0)
		return r;
	printf("machines are received at %s\n", text);
	fflush(stdout);
	if (arguments->values[RECEIVE_ONCE].given && pipe2(reception->outcomes, O_CLOEXEC) < 0)
		r = error_errno(e, -errno, "waiting for machines");
	else
		r = receive(reception, e);
	close(reception->listener);
	endpoint_remove(reception->endpoint);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct reception reception = {.endpoint = NULL, .outcomes = {-1, -1}};
	int r = registry_open(&reception.registry, e);

	if (r < 0)
		return r;
	log_set_level(LOG_INFO);
	r = open_up(&reception, arguments, e);
	endpoint_close(reception.endpoint);
	registry_close(reception.registry);
	return r;
}

static const struct option_spec options[RECEIVE_OPTIONS] = {
	[RECEIVE_ONCE] = {.name = "once",
			  .letter = 'o',
			  .type = OPTION_FLAG,
			  .help = "take one machine, or answer one who asks, and end, with status 0 when that went well"},
	ENDPOINT_ROWS(RECEIVE_ENDPOINT),
};

static const struct verb_example examples[] = {
	{"doppel receive unix:/run/user/1000/moves", "takes machines that doppel migrate sends there"},
	{"doppel receive tls:0.0.0.0:7000 --tls ~/.doppel-tls",
	 "from hosts that have a certificate of ca.pem in that folder"},
	{"doppel receive tls:0.0.0.0:7000 --psk ~/moves.key", "from hosts that have the same key"},
	{"doppel receive tcp:127.0.0.1:7000 --once", "takes one machine by TCP, from this host"},
	{NULL, NULL},
};

const struct verb verb_receive = {
	.name = "receive",
	.summary = "take machines that are moved here",
	.operands = "ENDPOINT",
	.operands_min = 1,
	.operands_max = 1,
	.description =
		"Waits at unix:PATH, tls:HOST:PORT or tcp:HOST:PORT for machines that doppel migrate sends, "
		"and runs them with a process of their own each, until it is interrupted; machines that have "
		"arrived run on. It also answers those who ask whether a machine has arrived, so start it "
		"again after a move that was cut off.\n\n"
		"Who can connect decides what runs here, with your rights: a machine's document names files of "
		"this host. So a Unix socket is yours alone, by tls: both sides know each other by "
		"certificates of an authority in ca.pem, each for both of a server's and a client's purposes, "
		"or by a key that both have, and TCP beyond this host wants --plain. ssh -L /tmp/there:SOCKET "
		"HOST makes that socket of another host one of this.",
	.examples = examples,
	.options = options,
	.option_count = RECEIVE_OPTIONS,
	.run = run,
};
