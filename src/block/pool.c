#include "block/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/threads.h"

#define POOL_THREADS_MAX 32

struct queue {
	struct pool_job *first, **last;
};

struct pool {
	struct bell bell;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	struct queue waiting, finished;
	pthread_t threads[POOL_THREADS_MAX];
	unsigned thread_count, threads_max, idle, backlog;
	bool ending;
};

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_add(struct queue *queue, struct pool_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct pool_job *queue_take(struct queue *queue)
{
	struct pool_job *job = queue->first;

	if (job)
		queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

/* With the lock held, which is given up while the job runs. */
static void work(struct pool *pool, struct pool_job *job)
{
	bool first;

	pool->backlog--;
	pthread_mutex_unlock(&pool->lock);
	job->result = job->run(job->arg);
	pthread_mutex_lock(&pool->lock);
	first = pool->finished.first == NULL;
	queue_add(&pool->finished, job);
	if (first)
		bell_ring(&pool->bell);
}

static void *thread_main(void *arg)
{
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	while (!pool->ending) {
		struct pool_job *job = queue_take(&pool->waiting);

		if (job) {
			work(pool, job);
			continue;
		}
		pool->idle++;
		pthread_cond_wait(&pool->wake, &pool->lock);
		pool->idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void report(void *arg)
{
	struct pool *pool = arg;
	struct pool_job *job, *next;

	pthread_mutex_lock(&pool->lock);
	job = pool->finished.first;
	queue_init(&pool->finished);
	pthread_mutex_unlock(&pool->lock);
	for (; job; job = next) {
		next = job->next;
		job->done(job->arg, job->result);
	}
}

int pool_new(struct pool **out, struct loop *loop, unsigned threads_max, struct error *e)
{
	struct pool *pool = calloc(1, sizeof *pool);

	if (!pool)
		return error_errno(e, -ENOMEM, "cannot make threads for disks");
	pool->bell = (struct bell){.loop = loop, .fn = report, .arg = pool};
	pool->threads_max = threads_max < POOL_THREADS_MAX ? threads_max : POOL_THREADS_MAX;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	queue_init(&pool->waiting);
	queue_init(&pool->finished);
	*out = pool;
	return 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* With the lock held. Whether there is a thread at all. */
static bool provide_thread(struct pool *pool)
{
	if (pool->backlog <= pool->idle || pool->thread_count == pool->threads_max)
		return pool->thread_count > 0;
	if (thread_start(&pool->threads[pool->thread_count], THREAD_DISK, "doppel-disk", thread_main, pool) == 0)
		pool->thread_count++;
	return pool->thread_count > 0;
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
	bool served;

	pthread_mutex_lock(&pool->lock);
	pool->backlog++;
	served = provide_thread(pool);
	if (served) {
		queue_add(&pool->waiting, job);
		pthread_cond_signal(&pool->wake);
	} else {
		pool->backlog--;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!served)
		job->done(job->arg, -EAGAIN);
}
