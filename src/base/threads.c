#include "base/threads.h"

#include <signal.h>
#include <stdio.h>

#include "base/types.h"

int thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg), void *arg)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t blocked, before;
	char short_name[16];
	int r;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&blocked, faults[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	r = pthread_create(thread, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	snprintf(short_name, sizeof short_name, "%s", name);
	pthread_setname_np(*thread, short_name);
	return 0;
}
