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

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	/* Only loop_quit ends it; a loop that fails would leave every device without service. */
	if (loop_run(worker->loop, -1) < 0)
		abort();
	return NULL;
}

int worker_new(struct worker **out, const char *name, struct error *e)
{
	struct worker *worker = calloc(1, sizeof *worker);
	int r;

	if (!worker)
		return error_errno(e, -ENOMEM, "worker %s", name);
	r = loop_new(&worker->loop, e);
	if (r == 0) {
		r = thread_start(&worker->thread, THREAD_DEVICES, name, worker_main, worker);
		worker->threaded = r == 0;
		if (r < 0)
			error_errno(e, r, "a thread for the worker %s", name);
	}
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
	return pthread_equal(worker->thread, pthread_self());
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
