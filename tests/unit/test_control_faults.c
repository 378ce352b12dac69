/* Clients that send anything, read nothing, or leave; servers that end, die, or are hostile. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control_bench.h"

#define PATIENT 20000

/* A socket of the same kind that the library's client has, blocking. */
static int connect_raw(void)
{
	const struct timeval patience = {.tv_sec = PATIENT / 1000};
	int fd = -1;

	assert_int_equal(socket_connect_at(folder, "control", PATIENT, &fd), 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	return fd;
}

static void send_raw(int fd, const void *bytes, size_t length)
{
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

static void send_text(int fd, const char *text)
{
	uint8_t frame[4096];
	size_t length = strlen(text);
	le32_t header = le32_put((uint32_t)length);

	memcpy(frame, &header, sizeof header);
	memcpy(frame + sizeof header, text, length);
	send_raw(fd, frame, sizeof header + length);
}

/* Until the other side ends it; what came. */
static size_t read_to_end(int fd)
{
	char bytes[4096];
	size_t all = 0;
	ssize_t count;

	while ((count = recv(fd, bytes, sizeof bytes, 0)) > 0)
		all += (size_t)count;
	if (count < 0)
		assert_int_equal(errno, ECONNRESET);
	return all;
}

static json_t *read_answer(int fd)
{
	struct frame_reader reader = {0};
	json_t *object = NULL;
	int passed = -1;

	assert_int_equal(frame_read(&reader, fd, &object, &passed, &failure), 1);
	assert_int_equal(passed, -1);
	frame_reader_finish(&reader);
	return object;
}

static void assert_served(void)
{
	struct control_client *client = connect_client();

	assert_ok(control_request(client, "echo", NULL, PATIENT, NULL, NULL, &failure));
	control_close(client);
}

static char *nested(unsigned depth)
{
	char *text = calloc(1, 2 * depth + 64);

	assert_non_null(text);
	strcpy(text, "{\"call\":\"echo\",\"with\":{\"a\":");
	memset(text + strlen(text), '[', depth);
	memset(text + strlen(text), ']', depth);
	strcat(text, "}}");
	return text;
}

static void who_sends_garbage_is_cut_off(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} garbage[] = {
		{"\0\0\0\0", 4},	       /* no text */
		{"\1\0\x10\0", 4},	     /* one byte more than there may be */
		{"\xff\xff\xff\xff{}", 6},
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"\2\0\0\0[]", 6},
		{"\4\0\0\0null", 8},
		{"\2\0\0\0{]", 6},
		{"\3\0\0\0{}x", 7},
		{"\6\0\0\0{\"a\":1", 10},
		{"\x0d\0\0\0{\"a\":1,\"a\":2}", 17},
		{"\7\0\0\0{\"\xff\":1}", 11},
		{"\3\0\0\0{}\0", 7},
		{"\2\0\0\0\0\0", 6},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		int fd = connect_raw();
		size_t count;

		send_raw(fd, garbage[i].bytes, garbage[i].length);
		count = read_to_end(fd);
		if (count)
			fail_msg("garbage %zu: %zu bytes were answered", i, count);
		close(fd);
	}
	assert_served();
}

static void depth_and_values_are_bounded(void **state)
{
	static char values[200000] = "{\"call\":\"echo\",\"with\":{\"a\":[0";
	struct control_client *client;
	char *text = nested(FRAME_DEPTH - 2);
	int fd = connect_raw();
	json_t *answer;
	le32_t length;

	(void)state;
	send_text(fd, text);
	answer = read_answer(fd);
	assert_non_null(json_object_get(answer, "result"));
	json_decref(answer);
	free(text);
	text = nested(FRAME_DEPTH - 1);
	send_text(fd, text);
	assert_int_equal(read_to_end(fd), 0);
	free(text);
	close(fd);
	fd = connect_raw();
	for (unsigned i = 0; i < FRAME_VALUES; i++)
		strcpy(values + 30 + 2 * i, ",0");
	strcat(values + 30, "]}}");
	length = le32_put((uint32_t)strlen(values));
	send_raw(fd, &length, sizeof length);
	send_raw(fd, values, strlen(values));
	assert_int_equal(read_to_end(fd), 0);
	close(fd);
	/* Brackets and commas in strings are text, also behind quoted quotes. */
	client = connect_client();
	memset(values, '[', sizeof values - 1);
	memcpy(values, "\\\",[", 4);
	assert_ok(control_request(client, "echo", json_pack("{s:s}", "a", values), PATIENT, NULL, NULL, &failure));
	control_close(client);
}

static void a_frame_may_come_in_pieces(void **state)
{
	static const char frame[] = "\x19\0\0\0{\"call\":\"echo\",\"with\":{}}";
	int fd = connect_raw();
	json_t *answer;

	(void)state;
	for (size_t i = 0; i < sizeof frame - 1; i++)
		send_raw(fd, frame + i, 1);
	answer = read_answer(fd);
	assert_non_null(json_object_get(answer, "result"));
	json_decref(answer);
	/* Half of one, and silence: others are served; then it leaves. */
	send_raw(fd, frame, 9);
	assert_served();
	close(fd);
	assert_served();
}

static void what_is_no_request_is_an_error(void **state)
{
	static const char *const texts[] = {
		"{}", "{\"call\":1,\"with\":{}}", "{\"call\":\"echo\"}", "{\"call\":\"echo\",\"with\":[]}",
		"{\"call\":\"\",\"with\":{}}",
	};
	int fd = connect_raw();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *answer;

		send_text(fd, texts[i]);
		answer = read_answer(fd);
		assert_int_equal(frame_to_error(answer, &failure), -EINVAL);
		json_decref(answer);
	}
	close(fd);
}

static void requests_are_answered_in_order(void **state)
{
	int fd = connect_raw();

	(void)state;
	for (int i = 0; i < 100; i++) {
		char text[80];

		snprintf(text, sizeof text, "{\"call\":\"echo\",\"with\":{\"n\":%d}}", i);
		send_text(fd, text);
	}
	/* It sends nothing more, and gets what is due. */
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (int i = 0; i < 100; i++) {
		json_t *answer = read_answer(fd);

		assert_int_equal(json_integer_value(json_object_get(json_object_get(answer, "result"), "n")), i);
		json_decref(answer);
	}
	assert_int_equal(read_to_end(fd), 0);
	close(fd);
}

static void send_with_descriptors(int fd, const char *bytes, size_t length, unsigned count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(count * sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS}};
	struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = CMSG_LEN(count * sizeof(int))};

	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &folder, sizeof folder);
	assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), length);
}

static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static void descriptors_do_not_pile_up(void **state)
{
	static const char frame[] = "\x19\0\0\0{\"call\":\"echo\",\"with\":{}}";
	unsigned before = open_descriptors();

	(void)state;
	for (unsigned count = 2; count <= 8; count += 3) {
		int fd = connect_raw();

		send_with_descriptors(fd, frame, sizeof frame - 1, count);
		assert_int_equal(read_to_end(fd), 0);
		close(fd);
	}
	for (unsigned round = 0; round < 3; round++) {
		int fd = connect_raw();

		/* One that nobody takes, and is closed with its call. */
		send_with_descriptors(fd, frame, sizeof frame - 1, 1);
		json_decref(read_answer(fd));
		/* One in half a frame; a second one for it. */
		send_with_descriptors(fd, frame, 2, 1);
		if (round)
			send_with_descriptors(fd, frame + 2, 4, 1);
		else
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		assert_int_equal(read_to_end(fd), 0);
		close(fd);
	}
	/* What the server still has is its own affair until it has gone through its loop once more. */
	assert_served();
	for (unsigned i = 0; i < 2000 && open_descriptors() != before; i++)
		usleep(1000);
	assert_int_equal(open_descriptors(), before);
}

static void tell(struct control_client *client, int count, int size)
{
	assert_ok(control_request(client, "tell", json_pack("{s:i, s:i}", "count", count, "size", size), PATIENT, NULL,
				  NULL, &failure));
}

/* Who reads gets every event; who does not is cut off, and nobody waits for it. */
static void who_does_not_read_is_cut_off(void **state)
{
	struct control_client *reader = connect_client(), *teller = connect_client();
	int sleeper = connect_raw(), number = 0;

	(void)state;
	assert_ok(control_request(reader, "listen", NULL, PATIENT, NULL, NULL, &failure));
	send_text(sleeper, "{\"call\":\"listen\",\"with\":{}}");
	json_decref(read_answer(sleeper));
	for (unsigned round = 0; round < 80; round++) {
		tell(teller, 8, 4000);
		for (unsigned i = 0; i < 8; i++) {
			json_t *event;

			assert_ok(control_next(reader, PATIENT, &event, &failure));
			assert_int_equal(json_integer_value(json_object_get(event, "number")), number % 8);
			json_decref(event);
			number++;
		}
	}
	/* 2.5 MB were told: more than the kernel and the server keep for one. */
	assert_in_range(read_to_end(sleeper), 1, 80 * 8 * 4000);
	close(sleeper);
	control_close(reader);
	control_close(teller);
}

static void who_only_asks_is_cut_off(void **state)
{
	int fd = connect_raw();
	unsigned sent = 0;
	ssize_t r = 1;

	(void)state;
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 100000 && r > 0; i++) {
		struct pollfd ready = {.fd = fd, .events = POLLOUT};
		static const char frame[] = "\x27\0\0\0{\"call\":\"long\",\"with\":{\"size\": 100000}}";

		assert_true(poll(&ready, 1, PATIENT) > 0);
		r = send(fd, frame, sizeof frame - 1, MSG_NOSIGNAL);
		if (r == (ssize_t)sizeof frame - 1)
			sent++;
		else if (r < 0 && errno == EAGAIN)
			r = 1;
		else
			break;
	}
	assert_true(sent > 10);
	assert_int_equal(r, -1);
	close(fd);
	assert_served();
}

static void an_answer_that_is_too_long_is_an_error(void **state)
{
	struct control_client *client = connect_client();
	json_t *result;

	(void)state;
	assert_ok(control_request(client, "long", json_pack("{s:i}", "size", (int)FRAME_MAX - 13), PATIENT, &result, NULL,
				  &failure));
	assert_int_equal(json_string_length(result), FRAME_MAX - 13);
	json_decref(result);
	assert_int_equal(control_request(client, "long", json_pack("{s:i}", "size", (int)FRAME_MAX - 12), PATIENT, NULL,
					 NULL, &failure),
			 -EIO);
	assert_int_equal(failure.kind, ERROR_FAILED);
	control_close(client);
}

static void a_kept_call_ends_with_its_client(void **state)
{
	struct control_client *client = connect_client();
	int fd = connect_raw();

	(void)state;
	send_text(fd, "{\"call\":\"keep\",\"with\":{}}");
	wait_until(&subject.keeping, 1);
	/* It may send more meanwhile; that is not read. */
	send_text(fd, "{\"call\":\"echo\",\"with\":{}}");
	close(fd);
	wait_until(&subject.gone, 1);
	assert_int_equal(control_request(client, "release", NULL, PATIENT, NULL, NULL, &failure), -EBUSY);
	/* One that only will not send more still waits for its answer. */
	fd = connect_raw();
	send_text(fd, "{\"call\":\"keep\",\"with\":{}}");
	wait_until(&subject.keeping, 2);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_ok(control_request(client, "release", NULL, PATIENT, NULL, NULL, &failure));
	json_decref(read_answer(fd));
	assert_int_equal(read_to_end(fd), 0);
	assert_int_equal(atomic_load(&subject.gone), 1);
	close(fd);
	control_close(client);
}

static void a_server_ends_with_an_answer_to_all(void **state)
{
	int fd = connect_raw(), listening = connect_raw(), sleeper = connect_raw();
	json_t *answer;

	(void)state;
	send_text(listening, "{\"call\":\"listen\",\"with\":{}}");
	json_decref(read_answer(listening));
	send_text(sleeper, "{\"call\":\"long\",\"with\":{\"size\": 900000}}");
	send_text(fd, "{\"call\":\"keep\",\"with\":{}}");
	wait_until(&subject.keeping, 1);
	stop_serving();
	answer = json_pack("{s:s}", "event", "ended");
	control_tell(subject.server, answer);
	json_decref(answer);
	control_server_free(subject.server, 50); /* the sleeper does not take its answer */
	subject.server = NULL;
	assert_int_equal(atomic_load(&subject.gone), 1);
	answer = read_answer(fd);
	assert_int_equal(frame_to_error(answer, &failure), -EBUSY);
	assert_int_equal(failure.kind, ERROR_STATE);
	json_decref(answer);
	assert_int_equal(read_to_end(fd), 0);
	answer = read_answer(listening);
	assert_non_null(json_object_get(answer, "event"));
	json_decref(answer);
	assert_in_range(read_to_end(sleeper), 0, 900000);
	close(fd);
	close(listening);
	close(sleeper);
}

static void more_clients_than_places_wait(void **state)
{
	struct control_client *client[SERVER_CLIENTS + 1];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(client); i++)
		client[i] = connect_client();
	for (unsigned i = 0; i < SERVER_CLIENTS; i++)
		assert_ok(control_request(client[i], "echo", NULL, PATIENT, NULL, NULL, &failure));
	assert_int_equal(control_next(client[SERVER_CLIENTS], 20, &(json_t *){NULL}, &failure), -ETIMEDOUT);
	control_close(client[7]);
	assert_ok(control_request(client[SERVER_CLIENTS], "echo", NULL, PATIENT, NULL, NULL, &failure));
	for (unsigned i = 0; i < ARRAY_SIZE(client); i++)
		if (i != 7)
			control_close(client[i]);
	assert_served();
}

static void other_users_are_cut_off(void **state)
{
	int status;
	pid_t child;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(fchmod(folder, 0755), 0);
	assert_int_equal(fchmodat(folder, "control", 0777, 0), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char byte;
		int fd = -1;

		if (setresuid(65534, 65534, 65534) < 0 || socket_connect_at(folder, "control", PATIENT, &fd) < 0)
			_exit(1);
		(void)!fcntl(fd, F_SETFL, 0);
		_exit(recv(fd, &byte, 1, 0) > 0 ? 2 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_served();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_server(who_sends_garbage_is_cut_off),
		with_server(depth_and_values_are_bounded),
		with_server(a_frame_may_come_in_pieces),
		with_server(what_is_no_request_is_an_error),
		with_server(requests_are_answered_in_order),
		with_server(descriptors_do_not_pile_up),
		with_server(who_does_not_read_is_cut_off),
		with_server(who_only_asks_is_cut_off),
		with_server(an_answer_that_is_too_long_is_an_error),
		with_server(a_kept_call_ends_with_its_client),
		with_server(a_server_ends_with_an_answer_to_all),
		with_server(more_clients_than_places_wait),
		with_server(other_users_are_cut_off),
	};

	return cmocka_run_group_tests_name("control-faults", tests, NULL, NULL);
}
