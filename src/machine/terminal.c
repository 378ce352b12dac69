#include "machine/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/types.h"

/* Everything that ends a process unless it is handled, but for SIGKILL and SIGSTKFLT, which is the engine kvm's. */
static const int fatal[] = {
	SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGILL,  SIGABRT, SIGBUS,  SIGFPE,    SIGSEGV,
	SIGSYS,  SIGTRAP, SIGXCPU, SIGXFSZ, SIGALRM, SIGPIPE, SIGUSR1, SIGUSR2, SIGVTALRM,
	SIGPROF, SIGPOLL, SIGPWR,
};

/* What handlers need; written before they are put in place. */
static struct {
	atomic_bool active;
	int fd;
	pid_t owner; /* a child forked from here leaves the terminal alone */
	struct termios saved, raw;
	struct sigaction before[ARRAY_SIZE(fatal)], before_stop, before_continue;
} terminal;

/* All functions down to put_back are called in handlers: async-signal-safe. */
static void set(const struct termios *modes)
{
	pid_t foreground = tcgetpgrp(terminal.fd);

	/* Below 0: not this process's controlling terminal, so there is no foreground. At once, never waiting for
	 * output that a stopped terminal may hold back for ever. */
	if (getpid() == terminal.owner && (foreground < 0 || foreground == getpgrp()))
		tcsetattr(terminal.fd, TCSANOW, modes);
}

/* What is ignored stays ignored. The handler that walls put in place for forbidden calls (wall/self.h) calls
 * terminal_restore itself, and nobody may change it. */
static bool is_left_alone(int number, const struct sigaction *before)
{
	return before->sa_handler == SIG_IGN || (number == SIGSYS && before->sa_handler != SIG_DFL);
}

static void put_back_actions(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		if (!is_left_alone(fatal[i], &terminal.before[i]))
			sigaction(fatal[i], &terminal.before[i], NULL);
	sigaction(SIGTSTP, &terminal.before_stop, NULL);
	sigaction(SIGCONT, &terminal.before_continue, NULL);
}

static void put_back(void)
{
	if (!atomic_exchange(&terminal.active, false))
		return;
	set(&terminal.saved);
	put_back_actions();
}

/* Whether the instruction that faulted runs again when the handler returns, and faults again. */
static bool happens_again(int number, const siginfo_t *info)
{
	return info->si_code > 0 &&
	       (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL);
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
	(void)context;
	put_back();
	if (!happens_again(number, info))
		raise(number); /* blocked until this returns; then what was there before handles it */
}

static void on_stop(int number)
{
	struct sigaction mine;
	sigset_t this, before;
	int saved = errno;

	set(&terminal.saved);
	sigaction(number, &terminal.before_stop, &mine);
	sigemptyset(&this);
	sigaddset(&this, number);
	raise(number);
	pthread_sigmask(SIG_UNBLOCK, &this, &before); /* stops here */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	sigaction(number, &mine, NULL);
	errno = saved;
}

static void on_continue(int number)
{
	int saved = errno;

	(void)number;
	if (atomic_load(&terminal.active))
		set(&terminal.raw);
	errno = saved;
}

/* Puts the handler in place unless the signal is left alone; what was there goes to *before. */
static void handle(int number, const struct sigaction *action, struct sigaction *before)
{
	sigaction(number, NULL, before);
	if (!is_left_alone(number, before))
		sigaction(number, action, NULL);
}

static void handle_all(void)
{
	struct sigaction die = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
	struct sigaction go_on = {.sa_handler = on_continue, .sa_flags = SA_RESTART};

	sigfillset(&die.sa_mask);
	sigaddset(&stop.sa_mask, SIGCONT);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		handle(fatal[i], &die, &terminal.before[i]);
	handle(SIGTSTP, &stop, &terminal.before_stop);
	handle(SIGCONT, &go_on, &terminal.before_continue);
}

int terminal_raw(int fd, struct error *e)
{
	static bool at_exit;

	if (atomic_load(&terminal.active))
		return error_set(e, ERROR_STATE, -EBUSY, "another machine's console has this terminal");
	if (tcgetattr(fd, &terminal.saved) < 0)
		return error_errno(e, -errno, "the terminal");
	if (!at_exit && atexit(terminal_restore))
		return error_errno(e, -ENOMEM, "the terminal");
	at_exit = true;
	terminal.fd = fd;
	terminal.owner = getpid();
	terminal.raw = terminal.saved;
	cfmakeraw(&terminal.raw);
	terminal.raw.c_cc[VMIN] = 1;
	terminal.raw.c_cc[VTIME] = 0;
	handle_all();
	atomic_store(&terminal.active, true);
	set(&terminal.raw);
	return 0;
}

void terminal_restore(void)
{
	if (getpid() == terminal.owner)
		put_back();
}
