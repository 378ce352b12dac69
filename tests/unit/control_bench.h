/* A control server on a thread of its own, in a temporary folder, for its tests. Included once in a program. */
#ifndef TESTS_CONTROL_BENCH_H
#define TESTS_CONTROL_BENCH_H

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/socket.h"
#include "control/client.h"
#include "control/frame.h"
#include "control/server.h"
#include "failure.h"

/* What the calls do, on the loop's thread. */
struct subject {
	struct control_server *server;
	struct control_call *kept;
	atomic_uint keeping, gone, closing;
};

static char folder_path[] = "/tmp/doppel-control-XXXXXX";
static int folder = -1, listener = -1;
static struct loop *loop;
static struct subject subject;
static pthread_t thread;
static bool runs;

static int run_echo(struct control_call *call, const json_t *with, struct error *e)
{
	(void)e;
	control_answer(call, json_deep_copy(with), -1);
	return 0;
}

static int run_refuse(struct control_call *call, const json_t *with, struct error *e)
{
	(void)call;
	(void)with;
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no such\tthing");
}

/* The inode of what was passed, and a descriptor of the folder. */
static int run_pass(struct control_call *call, const json_t *with, struct error *e)
{
	int fd = control_take_passed(call);
	struct stat status = {0};

	(void)with;
	(void)e;
	if (fd >= 0 && fstat(fd, &status) < 0)
		status.st_ino = 0;
	if (fd >= 0)
		close(fd);
	control_answer(call, json_integer((json_int_t)status.st_ino), dup(folder));
	return 0;
}

static void went(struct control_call *call, void *arg)
{
	struct subject *own = arg;

	if (own->kept == call)
		own->kept = NULL;
	atomic_fetch_add(&own->gone, 1);
}

static int run_keep(struct control_call *call, const json_t *with, struct error *e)
{
	struct subject *own = control_opaque(call);

	(void)with;
	(void)e;
	own->kept = call;
	control_keep(call, went, own);
	atomic_fetch_add(&own->keeping, 1);
	return 0;
}

/* Answers the call that was kept last. */
static int run_release(struct control_call *call, const json_t *with, struct error *e)
{
	struct subject *own = control_opaque(call);
	struct control_call *kept = own->kept;

	(void)with;
	own->kept = NULL;
	if (!kept)
		return error_set(e, ERROR_STATE, -EBUSY, "no call is kept");
	control_answer(kept, json_string("released"), -1);
	control_answer(call, NULL, -1);
	return 0;
}

static int run_listen(struct control_call *call, const json_t *with, struct error *e)
{
	(void)with;
	(void)e;
	control_subscribe(call);
	return 0;
}

/* `count` events of `size` bytes each, before the answer. */
static int run_tell(struct control_call *call, const json_t *with, struct error *e)
{
	struct subject *own = control_opaque(call);
	json_int_t count = json_integer_value(json_object_get(with, "count"));
	size_t size = (size_t)json_integer_value(json_object_get(with, "size"));
	char *text = calloc(1, size + 1);

	(void)e;
	if (!text)
		return -ENOMEM;
	memset(text, 'x', size);
	for (json_int_t i = 0; i < count; i++) {
		json_t *event = json_pack("{s:I, s:s}", "number", i, "text", text);

		control_tell(own->server, event);
		json_decref(event);
	}
	free(text);
	control_answer(call, NULL, -1);
	return 0;
}

/* Two events for the caller alone, before its answer. */
static int run_whisper(struct control_call *call, const json_t *with, struct error *e)
{
	(void)with;
	(void)e;
	control_keep(call, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		json_t *event = json_pack("{s:i}", "number", i);

		control_tell_caller(call, event);
		json_decref(event);
	}
	control_answer(call, json_string("done"), -1);
	return 0;
}

static int run_long(struct control_call *call, const json_t *with, struct error *e)
{
	size_t size = (size_t)json_integer_value(json_object_get(with, "size"));
	char *text = calloc(1, size + 1);

	(void)e;
	if (!text)
		return -ENOMEM;
	memset(text, 'y', size);
	control_answer(call, json_string(text), -1);
	free(text);
	return 0;
}

static const struct control_verb verbs[] = {
	{"echo", run_echo}, {"refuse", run_refuse}, {"pass", run_pass}, {"keep", run_keep}, {"release", run_release},
	{"listen", run_listen}, {"tell", run_tell},
	{"whisper", run_whisper}, {"long", run_long}, {0},
};

static void *serve(void *arg)
{
	(void)arg;
	(void)!loop_run(loop, -1);
	return NULL;
}

static void start_serving(void)
{
	runs = pthread_create(&thread, NULL, serve, NULL) == 0;
	assert_true(runs);
}

/* The loop stands still afterwards, so that the test may look at the server. */
static void stop_serving(void)
{
	if (!runs)
		return;
	loop_quit(loop);
	pthread_join(thread, NULL);
	runs = false;
}

static int setup(void **state)
{
	(void)state;
	memset(&subject, 0, sizeof subject);
	strcpy(folder_path + strlen(folder_path) - 6, "XXXXXX");
	if (!mkdtemp(folder_path))
		return -1;
	folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || socket_listen_at(folder, "control", &listener, &failure) < 0 || loop_new(&loop, &failure) < 0 ||
	    control_server_new(&subject.server, loop, listener, verbs, &subject, &failure) < 0)
		return -1;
	start_serving();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_serving();
	control_server_free(subject.server, 1000);
	loop_free(loop);
	close(listener);
	(void)unlinkat(folder, "control", 0);
	close(folder);
	return rmdir(folder_path);
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static inline struct control_client *connect_client(void)
{
	struct control_client *client = NULL;

	assert_ok(control_connect(&client, folder, "control", &failure));
	return client;
}

static inline void wait_until(const atomic_uint *counter, unsigned value)
{
	for (unsigned i = 0; i < 20000 && atomic_load(counter) != value; i++)
		usleep(1000);
	assert_int_equal(atomic_load(counter), value);
}

#endif
