/*
 * A monitor on a thread of the test, whose machine's guest is a function (fake_engine.h), in a registry of its own; and a
 * client at its control socket. Included once in a program.
 */
#ifndef TESTS_MONITOR_BENCH_H
#define TESTS_MONITOR_BENCH_H

#include "boot_files.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "control/client.h"
#include "fake_engine.h"
#include "monitor/monitor.h"
#include "registry_bench.h"

#define LONG_MS 20000 /* never reached unless something hangs */

static struct boot_directory boot;
static const char *kernel;

struct bench {
	pthread_t thread;
	struct monitor_options options;
	struct machine_outcome outcome;
	struct error e;
	int result;
	bool held;    /* configure waits for `go` */
	bool no_kernel;
	int starter; /* handed on; 0: none */
	sem_t inside; /* configure was entered */
	sem_t go;
	struct control_client *client;
};

static struct bench bench;

static int bench_configure(void *context, struct monitor_setup *out, struct error *e)
{
	struct bench *b = context;

	(void)e;
	sem_post(&b->inside);
	if (b->held)
		sem_wait(&b->go);
	out->config = (struct machine_config){
		.memory_bytes = 16 * MIB,
		.cpus = 2,
		.engine = &fake_engine,
		.kernel = b->no_kernel ? "/nowhere/kernel" : kernel,
		.console = CONSOLE_NONE,
	};
	return 0;
}

static void *bench_main(void *arg)
{
	struct bench *b = arg;
	struct registry *own;

	assert_int_equal(registry_open(&own, &b->e), 0);
	b->result = monitor_run(own, &b->options, &b->outcome, &b->e);
	registry_close(own);
	return NULL;
}

static inline void bench_create(const char *name)
{
	const struct record record = {.image = "none", .memory_bytes = 16 * MIB, .cpus = 2};

	assert_ok(registry_create(registry, name, "image: none\n", 12, &record, &failure));
}

/* The guest is set, the machine `web` exists. */
static inline void bench_begin(fake_program *guest)
{
	fake_guest = guest;
	bench.options = (struct monitor_options){
		.name = "web",
		.starter = bench.starter ? bench.starter : -1,
		.hooks = {.configure = bench_configure, .context = &bench},
	};
	bench.outcome = (struct machine_outcome){.state = MACHINE_CREATED};
	sem_init(&bench.inside, 0, 0);
	sem_init(&bench.go, 0, 0);
	assert_int_equal(pthread_create(&bench.thread, NULL, bench_main, &bench), 0);
	sem_wait(&bench.inside);
}

static inline int bench_end(void)
{
	control_close(bench.client);
	bench.client = NULL;
	pthread_join(bench.thread, NULL);
	return bench.result;
}

static inline struct control_client *bench_connect(const char *name)
{
	struct control_client *client;
	int folder;

	assert_ok(registry_folder(registry, name, &folder, &failure));
	assert_ok(control_connect(&client, folder, MONITOR_CONTROL, &failure));
	close(folder);
	return client;
}

/* On a connection of its own; the error is in `failure`. */
static inline int bench_call(const char *call, json_t *with, json_t **result)
{
	struct control_client *client = bench_connect("web");
	int r = control_request(client, call, with, LONG_MS, result, NULL, &failure);

	control_close(client);
	return r;
}

static inline void bench_until(const char *state)
{
	json_t *answer;

	assert_ok(bench_call("wait", json_pack("{s:[s]}", "states", state), &answer));
	assert_string_equal(json_string_value(json_object_get(answer, "state")), state);
	json_decref(answer);
}

static inline void bench_run(fake_program *guest)
{
	bench_begin(guest);
	bench_until("running");
}

static inline struct record bench_record(void)
{
	struct record record;

	assert_ok(registry_record(registry, "web", &record, &failure));
	return record;
}

static inline void assert_failure(int r, int code, const char *text)
{
	if (r != code || !strstr(failure.message, text))
		fail_msg("%d instead of %d, '%s' instead of '%s'", r, code, failure.message, text);
}

static int bench_setup(void **state)
{
	bench = (struct bench){.result = 0};
	if (setup(state) < 0)
		return -1;
	bench_create("web");
	return 0;
}

static int bench_make_files(void **state)
{
	struct blob image = make_image(100000, 0x200000, 200000);

	(void)state;
	directory_init(&boot);
	kernel = directory_add(&boot, "Image", &image);
	return 0;
}

static int bench_remove_files(void **state)
{
	(void)state;
	directory_finish(&boot);
	return 0;
}

#define with_monitor(test) cmocka_unit_test_setup_teardown(test, bench_setup, teardown)

#endif
