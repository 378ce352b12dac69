#include "base/threads.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/types.h"

struct thread {
	enum thread_kind kind;
	char name[16];
	pthread_t id;
	void *(*main)(void *arg);
	void *arg;
	void (*guard)(enum thread_kind kind, bool later); /* or NULL: to be called when it begins */
	struct thread *previous, *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for the two below */
static struct thread *all;
static void (*_Atomic guard)(enum thread_kind kind, bool later); /* read without it by those that are interrupted */

static sem_t guarded; /* posted by each thread that was interrupted */
static _Thread_local const struct thread *self;

static void enlist(struct thread *thread)
{
	thread->previous = NULL;
	thread->next = all;
	if (all)
		all->previous = thread;
	all = thread;
}

static void strike(struct thread *thread)
{
	if (thread->next)
		thread->next->previous = thread->previous;
	if (thread->previous)
		thread->previous->next = thread->next;
	else
		all = thread->next;
}

/* `self` is set: a signal that came before has waited for that. */
static void let_interrupt(void)
{
	sigset_t own;

	sigemptyset(&own);
	sigaddset(&own, THREADS_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &own, NULL);
}

static void *thread_main(void *arg)
{
	struct thread *thread = arg;
	void *result;

	self = thread;
	/* Here, as naming another thread takes a file of /proc. */
	prctl(PR_SET_NAME, thread->name);
	let_interrupt();
	if (thread->guard)
		thread->guard(thread->kind, true);
	result = thread->main(thread->arg);
	pthread_mutex_lock(&lock);
	strike(thread);
	pthread_mutex_unlock(&lock);
	free(thread);
	return result;
}

/* With the lock held. The thread is not waited for: on an idle host that takes longer than all else here. */
static int create(struct thread *thread)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t blocked, before;
	int r;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&blocked, faults[i]);
	thread->guard = guard;
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	r = pthread_create(&thread->id, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	enlist(thread);
	return 0;
}

int thread_start(pthread_t *id, enum thread_kind kind, const char *name, void *(*main)(void *arg), void *arg)
{
	struct thread *thread = malloc(sizeof *thread);
	int r;

	if (!thread)
		return -ENOMEM;
	*thread = (struct thread){.kind = kind, .main = main, .arg = arg};
	snprintf(thread->name, sizeof thread->name, "%s", name);
	pthread_mutex_lock(&lock);
	r = create(thread);
	/* Before the thread can be at its end, which waits for the lock. */
	if (r == 0)
		*id = thread->id;
	pthread_mutex_unlock(&lock);
	if (r < 0)
		free(thread);
	return r;
}

static void on_signal(int number)
{
	int saved = errno;

	(void)number;
	guard(self->kind, false);
	sem_post(&guarded);
	errno = saved;
}

void threads_guard(void (*fn)(enum thread_kind kind, bool later))
{
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
	unsigned count = 0;

	sem_init(&guarded, 0, 0);
	sigaction(THREADS_SIGNAL, &action, NULL);
	pthread_mutex_lock(&lock);
	guard = fn;
	for (const struct thread *thread = all; thread; thread = thread->next)
		count += pthread_kill(thread->id, THREADS_SIGNAL) == 0;
	fn(THREAD_MAIN, false);
	/* With the lock held, so that none of them ends before it did this. */
	while (count > 0)
		count -= sem_wait(&guarded) == 0;
	pthread_mutex_unlock(&lock);
}

void thread_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

bool thread_wait_until(pthread_cond_t *condition, pthread_mutex_t *held, uint64_t ns)
{
	const struct timespec until = {.tv_sec = (time_t)(ns / NS_PER_SECOND), .tv_nsec = (long)(ns % NS_PER_SECOND)};

	return pthread_cond_timedwait(condition, held, &until) == 0;
}

const char *thread_kind_name(enum thread_kind kind)
{
	static const char *const names[THREAD_KINDS] = {"main", "vcpu", "devices", "disk", "output", "governor", "mover"};

	return names[kind];
}
