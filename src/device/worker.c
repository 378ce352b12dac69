#include "device/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/threads.h"

struct worker {
	struct loop *loop;
	pthread_t thread;
	bool threaded;
};

/* Whose thread this is. */
static _Thread_local const struct worker *here;

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	here = worker;
	/* Only loop_quit ends it; a loop that fails would leave every device without service. */
	if (loop_run(worker->loop, -1) < 0)
		abort();
	return NULL;
}

int worker_make(struct worker **out, struct error *e)
{
	struct worker *worker = calloc(1, sizeof *worker);
	int r = worker ? loop_new(&worker->loop, e) : error_errno(e, -ENOMEM, "a worker");

	if (r < 0)
		free(worker);
	else
		*out = worker;
	return r;
}

int worker_start(struct worker *worker, const char *name, struct error *e)
{
	int r;

	worker->threaded = true;
	r = thread_start(&worker->thread, THREAD_DEVICES, name, worker_main, worker);
	if (r < 0)
		worker->threaded = false;
	return r < 0 ? error_errno(e, r, "a thread for the worker %s", name) : 0;
}

int worker_new(struct worker **out, const char *name, struct error *e)
{
	struct worker *worker;
	int r = worker_make(&worker, e);

	if (r < 0)
		return r;
	r = worker_start(worker, name, e);
	if (r < 0)
		worker_free(worker);
	else
		*out = worker;
	return r;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	if (worker->threaded) {
		loop_quit(worker->loop);
		pthread_join(worker->thread, NULL);
	}
	loop_free(worker->loop);
	free(worker);
}

struct loop *worker_loop(struct worker *worker)
{
	return worker->loop;
}

bool worker_is_current(const struct worker *worker)
{
	return !worker->threaded || here == worker;
}

/* A call that its caller waits for. */
struct call {
	loop_fn *fn;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
};

static void run_call(void *arg)
{
	struct call *call = arg;

	call->fn(call->arg);
	pthread_mutex_lock(&call->lock);
	call->done = true;
	pthread_cond_signal(&call->changed);
	pthread_mutex_unlock(&call->lock);
}

/* A loop that stands: after a call, bells that were rung before are answered. */
static void catch_up(struct worker *worker)
{
	int ignored = worker->threaded ? 0 : loop_run(worker->loop, 0);

	(void)ignored;
}

void worker_call(struct worker *worker, loop_fn *fn, void *arg)
{
	struct call call = {
		.fn = fn,
		.arg = arg,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	struct bell bell = {.loop = worker->loop, .fn = run_call, .arg = &call};

	if (worker_is_current(worker)) {
		fn(arg);
		catch_up(worker);
		return;
	}
	bell_ring(&bell);
	pthread_mutex_lock(&call.lock);
	while (!call.done)
		pthread_cond_wait(&call.changed, &call.lock);
	pthread_mutex_unlock(&call.lock);
	pthread_cond_destroy(&call.changed);
	pthread_mutex_destroy(&call.lock);
}

struct attempt {
	int (*fn)(void *arg, struct error *e);
	void *arg;
	struct error *e;
	int result;
};

static void run_attempt(void *arg)
{
	struct attempt *attempt = arg;

	attempt->result = attempt->fn(attempt->arg, attempt->e);
}

int worker_try(struct worker *worker, int (*fn)(void *arg, struct error *e), void *arg, struct error *e)
{
	struct attempt attempt = {.fn = fn, .arg = arg, .e = e};

	worker_call(worker, run_attempt, &attempt);
	return attempt.result;
}
