#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control_bench.h"

#define PATIENT 20000

static void a_call_is_answered(void **state)
{
	struct control_client *client = connect_client();
	json_t *result = NULL;

	(void)state;
	assert_ok(control_request(client, "echo", json_pack("{s:s}", "name", "web"), PATIENT, &result, NULL, &failure));
	assert_string_equal(json_string_value(json_object_get(result, "name")), "web");
	json_decref(result);
	assert_ok(control_request(client, "echo", NULL, PATIENT, NULL, NULL, &failure));
	control_close(client);
}

static void errors_keep_their_kind(void **state)
{
	struct control_client *client = connect_client();

	(void)state;
	assert_int_equal(control_request(client, "refuse", NULL, PATIENT, NULL, NULL, &failure), -ENOENT);
	assert_int_equal(failure.kind, ERROR_NOT_FOUND);
	assert_string_equal(failure.message, "there is no such?thing");
	assert_int_equal(control_request(client, "nonsense", NULL, PATIENT, NULL, NULL, &failure), -EINVAL);
	assert_int_equal(failure.kind, ERROR_USAGE);
	/* The connection is as it was. */
	assert_ok(control_request(client, "echo", NULL, PATIENT, NULL, NULL, &failure));
	control_close(client);
}

static void descriptors_pass_both_ways(void **state)
{
	struct control_client *client = connect_client();
	struct stat own, passed;
	json_t *result = NULL;
	int fd = -1;

	(void)state;
	assert_int_equal(fstat(folder, &own), 0);
	control_pass(client, folder);
	assert_ok(control_request(client, "pass", NULL, PATIENT, &result, &fd, &failure));
	assert_int_equal(json_integer_value(result), own.st_ino);
	assert_int_equal(fstat(fd, &passed), 0);
	assert_int_equal(passed.st_ino, own.st_ino);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	json_decref(result);
	control_close(client);
}

static void a_kept_call_is_answered_later(void **state)
{
	struct control_client *client = connect_client(), *other = connect_client();

	(void)state;
	assert_int_equal(control_request(client, "keep", NULL, 20, NULL, NULL, &failure), -ETIMEDOUT);
	assert_int_equal(failure.kind, ERROR_TIMEOUT);
	wait_until(&subject.keeping, 1);
	assert_ok(control_request(other, "release", NULL, PATIENT, NULL, NULL, &failure));
	/* Its answer would be taken for another's. */
	assert_int_equal(control_request(client, "echo", NULL, PATIENT, NULL, NULL, &failure), -EPIPE);
	control_close(client);
	control_close(other);
}

static void events_reach_listeners(void **state)
{
	struct control_client *client = connect_client(), *other = connect_client();
	json_t *event = NULL;

	(void)state;
	assert_int_equal(control_next(client, 10, &event, &failure), -ETIMEDOUT);
	assert_ok(control_request(client, "listen", NULL, PATIENT, NULL, NULL, &failure));
	assert_ok(control_request(other, "tell", json_pack("{s:i, s:i}", "count", 3, "size", 5), PATIENT, NULL, NULL,
				  &failure));
	/* Those that come before an answer are not lost. */
	assert_ok(control_request(client, "echo", NULL, PATIENT, NULL, NULL, &failure));
	for (int i = 0; i < 3; i++) {
		assert_ok(control_next(client, PATIENT, &event, &failure));
		assert_int_equal(json_integer_value(json_object_get(event, "number")), i);
		json_decref(event);
	}
	control_close(other);
	control_close(client);
}

static void take(void *arg, const json_t *event)
{
	*(json_int_t *)arg = 10 + json_integer_value(json_object_get(event, "number"));
}

static void one_event_can_be_taken_before_the_answer(void **state)
{
	struct control_client *client = connect_client(), *other = connect_client();
	json_int_t taken = 0;
	json_t *event = NULL;

	(void)state;
	assert_ok(control_request(other, "listen", NULL, PATIENT, NULL, NULL, &failure));
	control_on_event(client, take, &taken);
	assert_ok(control_request(client, "whisper", NULL, PATIENT, NULL, NULL, &failure));
	assert_int_equal(taken, 10);
	assert_ok(control_next(client, PATIENT, &event, &failure));
	assert_int_equal(json_integer_value(json_object_get(event, "number")), 1);
	json_decref(event);
	/* Nobody else hears of it. */
	assert_int_equal(control_next(other, 10, &event, &failure), -ETIMEDOUT);
	control_close(other);
	control_close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_server(a_call_is_answered),	     with_server(errors_keep_their_kind),
		with_server(descriptors_pass_both_ways),     with_server(a_kept_call_is_answered_later),
		with_server(events_reach_listeners),	     with_server(one_event_can_be_taken_before_the_answer),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
