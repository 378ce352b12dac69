#include "wall/self.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "wall/private.h"

/* Made by wall_self_put_up before any thread looks, and never changed. */
static struct {
	struct sock_fprog filters[THREAD_KINDS];
	int rules;      /* of Landlock, or a negative errno */
	uid_t user;     /* to become, and the group of that number; 0: who it is */
	unsigned limits; /* WALL_LIMITS or 0: of the whole process */
	void (*last)(void);
} own;

static _Thread_local enum thread_kind here;

static atomic_bool up;
static atomic_bool failed; /* a thread kept power */
static atomic_uint lacking[THREAD_KINDS], threads[THREAD_KINDS];

/* From here to enter_thread: on each thread, in a signal handler on most; raw calls, as the C library's would change
 * all threads. */

static bool become(uid_t user)
{
	return syscall(SYS_setgroups, 0, NULL) == 0 && syscall(SYS_setresgid, user, user, user) == 0 &&
	       syscall(SYS_setresuid, user, user, user) == 0;
}

static unsigned change_user(void)
{
	if (!own.user)
		return geteuid() ? WALL_USER : 0;
	/* A user namespace may know only few users. */
	return become(own.user) || become(WALL_NOBODY) ? WALL_USER : 0;
}

void wall_self_begin(void)
{
	int there;

	for (unsigned long capability = 0; (there = prctl(PR_CAPBSET_READ, capability)) >= 0; capability++)
		if (there)
			(void)prctl(PR_CAPBSET_DROP, capability);
}

static void limit_capabilities(void)
{
	wall_self_begin();
	(void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
					       SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static unsigned drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	return syscall(SYS_capset, &header, none) == 0 ? WALL_CAPABILITIES : 0;
}

/* Each part needs powers that a later one takes away. */
static unsigned give_up(void)
{
	unsigned parts;

	limit_capabilities();
	parts = change_user();
	parts |= drop_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		parts |= WALL_NO_NEW_PRIVILEGES;
	return parts | wall_landlock_enter(own.rules);
}

static unsigned lacking_anywhere(void)
{
	unsigned parts = 0;

	for (unsigned kind = 0; kind < THREAD_KINDS; kind++)
		parts |= atomic_load(&lacking[kind]);
	return parts;
}

/* A later thread is behind the walls of the one that started it already. */
static void enter_thread(enum thread_kind kind, bool later)
{
	unsigned parts;

	here = kind;
	parts = later ? ~(lacking_anywhere() | WALL_SECCOMP | WALL_LIMITS) : give_up();

	parts |= wall_filter_install(&own.filters[kind]) | own.limits;
	if (!(parts & WALL_CAPABILITIES))
		atomic_store(&failed, true);
	atomic_fetch_or(&lacking[kind], WALL_SELF_ALL & ~parts);
	atomic_fetch_add(&threads[kind], 1);
}

#define FORBIDDEN 1 /* si_code, SYS_SECCOMP of the kernel, which the C library does not name */

/* Where a forbidden call was made; async-signal-safe, as log_line is with such a format. The signal's default is in place
 * already (SA_RESETHAND), and no filter lets anyone change it. */
static void on_forbidden(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code == FORBIDDEN)
		log_line(LOG_ERROR, "wall",
			 "a thread of kind %s made system call %d, which its walls forbid; the machine ends here",
			 thread_kind_name(here), info->si_syscall);
	if (own.last)
		own.last();
	raise(number); /* blocked until this returns */
}

/* On the main thread. */

static void tell_forbidden(void (*last)(void))
{
	struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND};

	own.last = last;
	sigfillset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
}

static int make_filters(int folder, struct error *e)
{
	int r = 0;

	for (unsigned kind = 0; r == 0 && kind < THREAD_KINDS; kind++)
		r = wall_self_filter((enum thread_kind)kind, folder >= 0, &own.filters[kind], e);
	return r;
}

/* Ids that no system gives to a user and no container to its own; a process's number is nobody else's while it lives,
 * so no two monitors of a host are one user. */
#define FIRST_USER UINT32_C(0x70000000)

static uid_t choose_user(void)
{
	return geteuid() == 0 && !WALL_SANITIZED ? FIRST_USER + (uid_t)getpid() : 0;
}

static unsigned limit_process(void)
{
	const struct rlimit none = {0};

	if (WALL_SANITIZED)
		return 0;
	return setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 ? WALL_LIMITS : 0;
}

bool wall_self_is_up(void)
{
	return atomic_load(&up);
}

int wall_self_put_up(int folder, void (*last)(void), struct error *e)
{
	int r = make_filters(folder, e);

	if (r < 0)
		return r;
	/* The C library reads the time zone when a time is first told, and never again. */
	tzset();
	/* Sanitizers read files of /proc at the end. */
	own.rules = WALL_SANITIZED ? -ENOSYS : wall_landlock_self(folder);
	own.user = choose_user();
	if (own.user && folder >= 0 && fchown(folder, own.user, own.user) < 0)
		return error_errno(e, -errno, "cannot give the machine's folder to user %u", own.user);
	own.limits = limit_process();
	tell_forbidden(last);
	threads_guard(enter_thread);
	atomic_store(&up, true);
	if (own.rules >= 0)
		close(own.rules);
	if (atomic_load(&failed))
		return error_set(e, ERROR_PERMISSION, -EPERM, "cannot give up capabilities");
	return 0;
}

unsigned wall_self_parts(enum thread_kind kind, unsigned *count)
{
	*count = atomic_load(&threads[kind]);
	return *count ? WALL_SELF_ALL & ~atomic_load(&lacking[kind]) : 0;
}

unsigned wall_self_parts_of_all(void)
{
	return atomic_load(&up) ? WALL_SELF_ALL & ~lacking_anywhere() : 0;
}
