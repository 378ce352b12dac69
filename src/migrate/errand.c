#include "migrate/errand.h"

#include <errno.h>

/* The lock is not held meanwhile; the mover waits, so nothing of its errand changes. */
static void attend(void *arg)
{
	struct errands *errands = arg;
	errand_fn *fn;
	int r;

	pthread_mutex_lock(&errands->lock);
	fn = errands->fn;
	errands->fn = NULL;
	pthread_mutex_unlock(&errands->lock);
	if (!fn)
		return;
	r = fn(errands->arg, &errands->error);
	pthread_mutex_lock(&errands->lock);
	errands->result = r;
	errands->done = true;
	pthread_cond_signal(&errands->changed);
	pthread_mutex_unlock(&errands->lock);
}

void errands_init(struct errands *errands, struct loop *loop)
{
	*errands = (struct errands){.bell = {.loop = loop, .fn = attend, .arg = errands}};
	pthread_mutex_init(&errands->lock, NULL);
	pthread_cond_init(&errands->changed, NULL);
}

static int result_of(const struct errands *errands, struct error *e)
{
	if (!errands->done)
		return error_set(e, ERROR_STATE, -ECANCELED, "the move was cancelled");
	if (errands->result < 0)
		return error_set(e, errands->error.kind, errands->result, "%s", errands->error.message);
	return errands->result;
}

int errand_run(struct errands *errands, errand_fn *fn, void *arg, struct error *e)
{
	int r;

	pthread_mutex_lock(&errands->lock);
	errands->done = false;
	if (!errands->closed) {
		errands->fn = fn;
		errands->arg = arg;
		bell_ring(&errands->bell);
	}
	while (!errands->done && !errands->closed)
		pthread_cond_wait(&errands->changed, &errands->lock);
	r = result_of(errands, e);
	pthread_mutex_unlock(&errands->lock);
	return r;
}

void errands_close(struct errands *errands)
{
	pthread_mutex_lock(&errands->lock);
	errands->closed = true;
	errands->fn = NULL;
	pthread_cond_signal(&errands->changed);
	pthread_mutex_unlock(&errands->lock);
}

void errands_finish(struct errands *errands)
{
	bell_silence(&errands->bell);
	pthread_cond_destroy(&errands->changed);
	pthread_mutex_destroy(&errands->lock);
}
