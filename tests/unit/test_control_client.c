/* A client of the control socket whose monitor is dead, slow or hostile. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/socket.h"
#include "control/client.h"
#include "control/frame.h"

#define PATIENT 20000

/* What the other side sends to whoever comes, whatever is asked. */
struct script {
	const char *bytes;
	size_t length;
	unsigned repeat; /* of the last text */
	bool descriptor; /* one comes along */
	bool stays; /* until the client leaves */
	const char *rest; /* sent when the client sends more */
};

static char folder_path[] = "/tmp/doppel-control-XXXXXX";
static int folder = -1, listener = -1;
static struct error failure;

static int setup(void **state)
{
	(void)state;
	strcpy(folder_path + strlen(folder_path) - 6, "XXXXXX");
	if (!mkdtemp(folder_path))
		return -1;
	folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	if (listener >= 0)
		close(listener);
	listener = -1;
	(void)unlinkat(folder, "control", 0);
	close(folder);
	return rmdir(folder_path);
}

static void send_frame(int fd, const char *text, bool descriptor)
{
	size_t length = strlen(text);
	uint8_t frame[4096];
	le32_t header = le32_put((uint32_t)length);

	memcpy(frame, &header, sizeof header);
	memcpy(frame + sizeof header, text, length);
	if (descriptor)
		(void)!frame_send(fd, frame, sizeof header + length, folder);
	else
		(void)!send(fd, frame, sizeof header + length, MSG_NOSIGNAL);
}

static void *play(void *arg)
{
	const struct script *script = arg;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char bytes[4096];

	(void)!recv(fd, bytes, sizeof bytes, 0);
	if (script->length)
		(void)!send(fd, script->bytes, script->length, MSG_NOSIGNAL);
	else
		for (unsigned i = 0; i <= script->repeat; i++)
			send_frame(fd, script->bytes, script->descriptor);
	while (script->stays && recv(fd, bytes, sizeof bytes, 0) > 0)
		if (script->rest)
			(void)!send(fd, script->rest, strlen(script->rest), MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static struct control_client *client;
static pthread_t thread;

static void begin(struct script *script)
{
	assert_int_equal(socket_listen_at(folder, "control", &listener, &failure), 0);
	assert_int_equal(fcntl(listener, F_SETFL, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, play, script), 0);
	assert_int_equal(control_connect(&client, folder, "control", &failure), 0);
}

static void end(void)
{
	control_close(client);
	pthread_join(thread, NULL);
	close(listener);
	listener = -1;
}

static int request(void)
{
	json_t *result = NULL;
	int r = control_request(client, "x", NULL, PATIENT, &result, NULL, &failure);

	json_decref(result);
	return r;
}

static void nobody_listens(void **state)
{
	struct control_client *none = NULL;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(control_connect(&none, folder, "control", &failure), -ENOENT);
	assert_int_equal(failure.kind, ERROR_STATE);
	/* A killed monitor leaves its socket; the next one takes its place. */
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = -1;

		_exit(socket_listen_at(folder, "control", &fd, NULL) < 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(control_connect(&none, folder, "control", &failure), -ECONNREFUSED);
	assert_int_equal(failure.kind, ERROR_STATE);
	assert_null(none);
	assert_int_equal(socket_listen_at(folder, "control", &listener, &failure), 0);
	assert_int_equal(control_connect(&none, folder, "control", &failure), 0);
	control_close(none);
}

static void what_is_no_socket_stays(void **state)
{
	int fd = openat(folder, "control", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(socket_listen_at(folder, "control", &listener, &failure), -EEXIST);
	assert_int_equal(listener, -1);
}

/* Paths of sockets end at 107 bytes. */
static void no_path_is_too_long(void **state)
{
	static char name[201];
	struct control_client *far = NULL;
	int deep = folder;

	(void)state;
	memset(name, 'd', sizeof name - 1);
	for (unsigned i = 0; i < 3; i++) {
		int inner;

		assert_int_equal(mkdirat(deep, name, 0700), 0);
		inner = openat(deep, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(inner >= 0);
		if (deep != folder)
			close(deep);
		deep = inner;
	}
	assert_int_equal(socket_listen_at(deep, "control", &listener, &failure), 0);
	assert_int_equal(control_connect(&far, deep, "control", &failure), 0);
	control_close(far);
	assert_int_equal(unlinkat(deep, "control", 0), 0);
	close(deep);
	for (unsigned i = 3; i > 0; i--) {
		char path[PATH_MAX];
		size_t used = 0;

		for (unsigned j = 0; j < i; j++)
			used += (size_t)snprintf(path + used, sizeof path - used, "%s%s", j ? "/" : "", name);
		assert_int_equal(unlinkat(folder, path, AT_REMOVEDIR), 0);
	}
}

static void answers_that_are_none(void **state)
{
	static struct script scripts[] = {
		{"{}", .stays = true},
		{"{\"error\":{}}", .stays = true},
		{"{\"error\":{\"kind\":\"state\",\"message\":1}}", .stays = true},
		{"{\"error\":7}", .stays = true},
		{"[]", .stays = true},
		{"\xff\xff\xff\x7f", 4, .stays = true},
		{"\2\0\0\0xx", 6, .stays = true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		begin(&scripts[i]);
		if (request() != -EPROTO)
			fail_msg("script %zu: '%s'", i, failure.message);
		end();
	}
}

static void an_unknown_kind_is_a_failure(void **state)
{
	static struct script script = {
		"{\"error\":{\"kind\":\"none\",\"message\":\"a\\u001b[2Jb\\u009bc\\nd\xc3\xa9\"}}", .stays = true};

	(void)state;
	begin(&script);
	assert_int_equal(request(), -EIO);
	assert_int_equal(failure.kind, ERROR_FAILED);
	assert_string_equal(failure.message, "a?[2Jb??c?d\xc3\xa9");
	end();
}

static void a_monitor_that_ends_amid_it(void **state)
{
	static struct script nothing = {.bytes = "\1", .length = 1}, half = {.bytes = "\x20\0\0\0{\"res", .length = 9};

	(void)state;
	begin(&nothing);
	assert_int_equal(request(), -EPIPE);
	assert_int_equal(failure.kind, ERROR_STATE);
	end();
	begin(&half);
	assert_int_equal(request(), -EPIPE);
	assert_int_equal(request(), -EPIPE);
	end();
}

static void events_without_end_and_no_answer(void **state)
{
	static struct script script = {"{\"event\":{\"a\":1}}", .repeat = 5000};

	(void)state;
	begin(&script);
	assert_int_equal(request(), -EPROTO);
	end();
}

static void descriptors_unasked_are_closed(void **state)
{
	static struct script script = {"{\"result\":{}}", .descriptor = true, .stays = true}, event = {"{\"event\":{}}", .repeat = 3, .descriptor = true, .stays = true};
	int before = dup(folder), after;

	(void)state;
	close(before);
	begin(&script);
	assert_int_equal(request(), 0);
	end();
	begin(&event);
	assert_int_equal(control_request(client, "x", NULL, 200, NULL, NULL, &failure), -ETIMEDOUT);
	for (unsigned i = 0; i < 4; i++) {
		json_t *got;

		assert_int_equal(control_next(client, PATIENT, &got, &failure), 0);
		json_decref(got);
	}
	end();
	after = dup(folder);
	close(after);
	assert_int_equal(after, before);
}

/* The second half of an event comes when the client has waited for it once. */
static void a_slow_event_is_not_lost(void **state)
{
	static struct script script = {"\x0c\0\0\0{\"eve", 9, .stays = true, .rest = "nt\":{}}"};
	json_t *event = NULL;

	(void)state;
	begin(&script);
	assert_int_equal(control_request(client, "x", NULL, 50, NULL, NULL, &failure), -ETIMEDOUT);
	assert_int_equal(failure.kind, ERROR_TIMEOUT);
	assert_int_equal(control_next(client, 0, &event, &failure), -ETIMEDOUT);
	assert_int_equal(send(control_descriptor(client), "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(control_next(client, PATIENT, &event, &failure), 0);
	assert_true(json_is_object(event));
	json_decref(event);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_socket_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(no_path_is_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(an_unknown_kind_is_a_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(a_monitor_that_ends_amid_it, setup, teardown),
		cmocka_unit_test_setup_teardown(events_without_end_and_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors_unasked_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_event_is_not_lost, setup, teardown),
	};

	return cmocka_run_group_tests_name("control-client", tests, NULL, NULL);
}
