/* A process behind its own walls, wholly in hostile hands: each kind of thread tries what it must not reach. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/types.h"
#include "wall/private.h"
#include "wall/self.h"

/* Another machine's: its disk, its control socket, its monitor and a secret in its memory. */
static struct {
	char folder[32], disk[64];
	struct sockaddr_un control;
	struct sockaddr_in service;
	pid_t monitor;
	int handle; /* a pidfd of the monitor, open before the walls went up */
	int terminal;
} other;
static char secret[] = "another machine's memory";

#define CALL(name, ...) syscall(SYS_##name, ##__VA_ARGS__)

static long open_disk(void)
{
	return CALL(openat, AT_FDCWD, other.disk, O_RDWR, 0);
}

static long open_old(void)
{
	return CALL(open, other.disk, O_RDONLY, 0);
}

static long open_how(void)
{
	const uint64_t how[3] = {O_RDONLY, 0, 0};

	return CALL(openat2, AT_FDCWD, other.disk, how, sizeof how);
}

static long make_file(void)
{
	return CALL(creat, "/tmp/wall-broken", 0600);
}

static long remove_disk(void)
{
	return CALL(unlink, other.disk);
}

static long rename_disk(void)
{
	return CALL(rename, other.disk, "/tmp/wall-broken");
}

static long truncate_disk(void)
{
	return CALL(truncate, other.disk, 0L);
}

static long link_disk(void)
{
	return CALL(link, other.disk, "/tmp/wall-broken");
}

static long change_mode(void)
{
	return CALL(chmod, other.disk, 0777);
}

static long execute(void)
{
	char *const argv[] = {(char *)"true", NULL};

	return CALL(execve, "/bin/true", argv, NULL);
}

static long execute_memory(void)
{
	char *const argv[] = {(char *)"true", NULL};
	long fd = CALL(memfd_create, "program", 0);

	return fd < 0 ? fd : CALL(execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
}

static long start_process(void)
{
	long pid = CALL(clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long start_process_newer(void)
{
	uint64_t arguments[8] = {[4] = SIGCHLD};
	long pid = CALL(clone3, arguments, sizeof arguments);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long fork_process(void)
{
	long pid = CALL(fork);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long connect_control(void)
{
	long fd = CALL(socket, AF_UNIX, SOCK_STREAM, 0);

	return fd < 0 ? fd : CALL(connect, fd, &other.control, sizeof other.control);
}

static long connect_any(void)
{
	return CALL(connect, 0, &other.control, sizeof other.control);
}

static long connect_network(void)
{
	long fd = CALL(socket, AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? fd : CALL(connect, fd, &other.service, sizeof other.service);
}

static long raw_socket(void)
{
	return CALL(socket, AF_PACKET, SOCK_RAW, 0);
}

static long netlink_socket(void)
{
	return CALL(socket, AF_NETLINK, SOCK_RAW, 0);
}

static long bind_any(void)
{
	return CALL(bind, 0, &other.service, sizeof other.service);
}

static long trace(void)
{
	return CALL(ptrace, PTRACE_ATTACH, other.monitor, 0, 0);
}

static long seize(void)
{
	return CALL(ptrace, PTRACE_SEIZE, other.monitor, 0, 0);
}

static long read_memory(void)
{
	char stolen[sizeof secret];
	struct iovec here = {stolen, sizeof stolen}, there = {secret, sizeof secret};

	return CALL(process_vm_readv, other.monitor, &here, 1, &there, 1, 0);
}

static long write_memory(void)
{
	char changed[sizeof secret] = "";
	struct iovec here = {changed, sizeof changed}, there = {secret, sizeof secret};

	return CALL(process_vm_writev, other.monitor, &here, 1, &there, 1, 0);
}

static long open_memory(void)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/mem", other.monitor);
	return CALL(openat, AT_FDCWD, path, O_RDWR, 0);
}

static long steal_descriptor(void)
{
	return CALL(pidfd_getfd, other.handle, 0, 0);
}

static long signal_by_handle(void)
{
	return CALL(pidfd_send_signal, other.handle, SIGTERM, NULL, 0);
}

static long kill_monitor(void)
{
	return CALL(kill, other.monitor, SIGTERM);
}

static long kill_thread(void)
{
	return CALL(tgkill, other.monitor, other.monitor, SIGTERM);
}

static long kill_thread_older(void)
{
	return CALL(tkill, other.monitor, SIGTERM);
}

static long queue_signal(void)
{
	siginfo_t info = {.si_signo = SIGTERM, .si_code = SI_QUEUE};

	return CALL(rt_sigqueueinfo, other.monitor, SIGTERM, &info);
}

static long limit_monitor(void)
{
	const uint64_t none[2] = {0, 0};

	return CALL(prlimit64, other.monitor, 7 /* RLIMIT_NOFILE */, none, NULL);
}

static long open_handle(void)
{
	return CALL(pidfd_open, other.monitor, 0);
}

static long mount_memory(void)
{
	return CALL(mount, "none", "/tmp", "tmpfs", 0, NULL);
}

static long enter_namespace(void)
{
	return CALL(setns, other.handle, CLONE_NEWNET);
}

static long leave_namespace(void)
{
	return CALL(unshare, CLONE_NEWUSER);
}

static long change_root(void)
{
	return CALL(chroot, "/");
}

static long become_root(void)
{
	return CALL(setresuid, 0, 0, 0);
}

static long raise_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct all[2] = {{~0u, ~0u, ~0u}, {~0u, ~0u, ~0u}};

	return CALL(capset, &header, all);
}

static long load_program(void)
{
	char attributes[64] = "";

	return CALL(bpf, 0, attributes, sizeof attributes);
}

static long watch_faults(void)
{
	return CALL(userfaultfd, O_CLOEXEC);
}

static long make_ring(void)
{
	char parameters[120] = "";

	return CALL(io_uring_setup, 4, parameters);
}

static long open_events(void)
{
	char attributes[128] = "";

	return CALL(perf_event_open, attributes, 0, -1, -1, 0);
}

static long type_for_user(void)
{
	return CALL(ioctl, other.terminal, TIOCSTI, "x");
}

static long map_code(void)
{
	return CALL(mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long protect_code(void)
{
	long memory = CALL(mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return CALL(mprotect, memory, 4096, PROT_READ | PROT_EXEC);
}

static long be_dumpable(void)
{
	return CALL(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long share_memory(void)
{
	return CALL(shmget, 0, 4096, 01600);
}

static long make_timer(clockid_t clock, int notify, pid_t whom)
{
	struct sigevent event = {.sigev_notify = notify, .sigev_signo = SIGTERM};
	int timer;

	event._sigev_un._tid = whom;
	return CALL(timer_create, clock, &event, &timer);
}

/* The kernel's name for a process's clock: clock_getcpuclockid's. */
static long time_monitor(void)
{
	return make_timer((clockid_t)(~(unsigned)other.monitor << 3 | 2), SIGEV_SIGNAL, 0);
}

static long wake_host(void)
{
	return make_timer(CLOCK_BOOTTIME_ALARM, SIGEV_SIGNAL, 0);
}

static long aim_timer(void)
{
	return make_timer(CLOCK_MONOTONIC, SIGEV_THREAD_ID, other.monitor);
}

static long make_timer_file(void)
{
	return CALL(timerfd_create, CLOCK_REALTIME, 0);
}

static long set_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return CALL(clock_settime, CLOCK_REALTIME, &now);
}

static long adjust_clock(void)
{
	char nothing[208] = "";

	return CALL(adjtimex, nothing);
}

/* Another one could let this process outlive what it must not do. */
static long catch_forbidden(void)
{
	unsigned long action[4] = {(unsigned long)SIG_IGN};

	return CALL(rt_sigaction, SIGSYS, action, NULL, sizeof(uint64_t));
}

struct attempt {
	const char *what;
	long (*fn)(void); /* -1 and errno: refused */
	bool sanitizers;  /* their walls let it through */
};

static const struct attempt attempts[] = {
	{"open another machine's disk", open_disk, true},
	{"open it by open", open_old, true},
	{"open it by openat2", open_how, false},
	{"make a file", make_file, false},
	{"remove another machine's disk", remove_disk, false},
	{"rename it", rename_disk, false},
	{"truncate it", truncate_disk, false},
	{"link it", link_disk, false},
	{"change its mode", change_mode, false},
	{"start a program", execute, false},
	{"start a program in memory", execute_memory, false},
	{"start a process by clone", start_process, true},
	{"start a process by clone3", start_process_newer, false},
	{"start a process by fork", fork_process, false},
	{"connect to another machine's control socket", connect_control, false},
	{"connect a socket that it has", connect_any, false},
	{"connect to the network", connect_network, false},
	{"make a raw socket", raw_socket, false},
	{"make a netlink socket", netlink_socket, false},
	{"bind a socket that it has", bind_any, false},
	{"trace another monitor", trace, true},
	{"seize another monitor", seize, true},
	{"read another monitor's memory", read_memory, false},
	{"write another monitor's memory", write_memory, false},
	{"open another monitor's memory", open_memory, true},
	{"take a descriptor of another monitor", steal_descriptor, false},
	{"signal another monitor by a handle", signal_by_handle, false},
	{"signal another monitor", kill_monitor, false},
	{"signal a thread of it", kill_thread, true},
	{"signal a thread of it by tkill", kill_thread_older, false},
	{"queue a signal for it", queue_signal, false},
	{"limit another monitor", limit_monitor, true},
	{"get a handle of another monitor", open_handle, false},
	{"mount", mount_memory, false},
	{"enter a namespace", enter_namespace, false},
	{"make a namespace", leave_namespace, false},
	{"change the root directory", change_root, false},
	{"become root", become_root, false},
	{"raise capabilities", raise_capabilities, false},
	{"load a BPF program", load_program, false},
	{"watch page faults", watch_faults, false},
	{"make a ring", make_ring, false},
	{"watch performance events", open_events, false},
	{"type on the user's terminal", type_for_user, true},
	{"map code", map_code, false},
	{"make memory executable", protect_code, false},
	{"become dumpable", be_dumpable, true},
	{"make shared memory", share_memory, false},
	{"handle the signal of a forbidden call", catch_forbidden, true},
	{"make a timer of another monitor's processor time", time_monitor, false},
	{"make a timer that wakes the host", wake_host, false},
	{"aim a timer at another monitor", aim_timer, false},
	{"make a timer that is a file", make_timer_file, false},
	{"set the host's clock", set_clock, false},
	{"read how the host's clock is kept", adjust_clock, false},
};

/* In the process behind walls: one attempt, on a thread of the kind. */

struct trial {
	enum thread_kind kind;
	long (*fn)(void);
	int number; /* of a system call, when there is no fn */
	int answer; /* a pipe */
	sem_t go;
};

static void try_it(struct trial *trial)
{
	int code = 0;

	if ((trial->fn ? trial->fn() : syscall(trial->number, -1L, -1L, -1L, -1L, -1L, -1L)) == -1)
		code = errno;
	(void)!write(trial->answer, &code, sizeof code);
	_exit(0);
}

static void *trying(void *arg)
{
	struct trial *trial = arg;

	while (sem_wait(&trial->go) < 0)
		;
	try_it(trial);
	return NULL;
}

static _Noreturn void be_attacked(struct trial *trial)
{
	struct error e = {.kind = ERROR_NONE};
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_fd(-1); /* thousands of lines */
	sem_init(&trial->go, 0, 0);
	if (trial->kind != THREAD_MAIN && thread_start(&thread, trial->kind, "attacker", trying, trial) < 0)
		_exit(3);
	if (wall_self_put_up(-1, NULL, &e) < 0)
		_exit(4);
	if (trial->kind == THREAD_MAIN)
		try_it(trial);
	sem_post(&trial->go);
	for (;;)
		poll(NULL, 0, -1);
}

/* What became of it: "was killed" as the wait status tells, or the errno in *code (0: it worked). */
static int try_in_child(struct trial *trial, int *code)
{
	int ends[2], status = 0;
	pid_t pid;

	*code = -1;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	trial->answer = ends[1];
	pid = fork();
	if (pid == 0)
		be_attacked(trial);
	close(ends[1]);
	(void)!read(ends[0], code, sizeof *code);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect_refused(enum thread_kind kind, const char *what, int status, int code)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || code <= 0)
		fail_msg("thread %s, %s: status %#x, errno %d (%s); it should be refused", thread_kind_name(kind), what,
			 (unsigned)status, code, code > 0 ? strerror(code) : "it worked");
}

/* The main thread makes copies of the process that write snapshots. They are behind the same walls. */
static bool is_allowed(enum thread_kind kind, const struct attempt *attempt)
{
	return kind == THREAD_MAIN && attempt->fn == start_process;
}

static void nothing_is_reached(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < THREAD_KINDS; kind++)
		for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
			struct trial trial = {.kind = (enum thread_kind)kind, .fn = attempts[i].fn};
			int code, status;

			if ((WALL_SANITIZED && attempts[i].sanitizers) || is_allowed(trial.kind, &attempts[i]))
				continue;
			status = try_in_child(&trial, &code);
			expect_refused(trial.kind, attempts[i].what, status, code);
		}
}

/* What was tried works without walls, or the test above shows nothing. */
static void without_walls_it_works(void **state)
{
	static long (*const works[])(void) = {open_disk,   connect_control, connect_network, read_memory, open_memory,
					      execute,	   map_code,	    make_ring,	     start_process,
					      time_monitor, make_timer_file, adjust_clock};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(works[i]() < 0 ? 1 + (errno & 63) : 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status != 0)
			fail_msg("attempt %zu: wait status %#x, not 0", i, (unsigned)status);
	}
}

static bool names_call(const struct wall_list *lists, const char *call)
{
	size_t length = strlen(call);

	for (; lists->calls; lists++)
		for (const char *const *name = lists->calls; *name; name++)
			if (strncmp(*name, call, length) == 0 && strchr(":?", (*name)[length]))
				return true;
	return false;
}

static bool is_listed(enum thread_kind kind, const char *call)
{
	if (names_call(wall_self_calls[kind], call) || names_call(wall_self_base, call))
		return true;
	for (const char *const *name = wall_sanitizer_calls; *name; name++)
		if (strcmp(*name, call) == 0)
			return true;
	return names_call((const struct wall_list[]){{NULL, wall_sanitizer_end_calls}, {NULL, NULL}}, call);
}

/* Every call that this host's library knows and no table names ends the process. Thousands of processes: without
 * sanitizers only. */
static void all_else_kills(void **state)
{
	(void)state;
	if (WALL_SANITIZED)
		skip();
	for (unsigned kind = 0; kind < THREAD_KINDS; kind++)
		for (int number = 0; number < 462; number++) {
			char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
			struct trial trial = {.kind = (enum thread_kind)kind, .number = number};
			int code, status;

			if (name && !is_listed(trial.kind, name)) {
				status = try_in_child(&trial, &code);
				if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
					fail_msg("thread %s, %s: status %#x, errno %d; it should be killed by SIGSYS",
						 thread_kind_name(trial.kind), name, (unsigned)status, code);
			}
			free(name);
		}
}

/* As /proc tells it, from outside. */

struct status {
	unsigned long seccomp, no_new_privileges, user, effective, permitted, bounding;
};

static struct status read_status(const char *path)
{
	struct status s = {.seccomp = 99, .effective = 99};
	char line[256];
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof line, file)) {
		(void)!sscanf(line, "Seccomp: %lu", &s.seccomp);
		(void)!sscanf(line, "NoNewPrivs: %lu", &s.no_new_privileges);
		(void)!sscanf(line, "Uid: %lu", &s.user);
		(void)!sscanf(line, "CapEff: %lx", &s.effective);
		(void)!sscanf(line, "CapPrm: %lx", &s.permitted);
		(void)!sscanf(line, "CapBnd: %lx", &s.bounding);
	}
	fclose(file);
	return s;
}

static void *wait_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		sched_yield();
	return NULL;
}

static void *sleep_for_ever(void *arg)
{
	sem_t never;

	(void)arg;
	sem_init(&never, 0, 0);
	for (;;)
		sem_wait(&never);
	return NULL;
}

/* Threads before and after; tells the walls that it counts. */
static _Noreturn void live_behind_walls(int answer)
{
	pthread_t thread;
	unsigned told[2 * THREAD_KINDS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (thread_start(&thread, THREAD_VCPU, "vcpu0", wait_for_ever, NULL) < 0 ||
	    thread_start(&thread, THREAD_DEVICES, "devices", sleep_for_ever, NULL) < 0 ||
	    thread_start(&thread, THREAD_OUTPUT, "output", sleep_for_ever, NULL) < 0 ||
	    thread_start(&thread, THREAD_GOVERNOR, "governor", sleep_for_ever, NULL) < 0 ||
	    wall_self_put_up(-1, NULL, NULL) < 0 || thread_start(&thread, THREAD_MOVER, "mover", sleep_for_ever, NULL) < 0)
		_exit(1);
	/* One that starts later tells so itself. */
	do
		told[1] = 0;
	while ((void)wall_self_parts(THREAD_MOVER, &told[1]), told[1] == 0);
	for (unsigned kind = 0; kind < THREAD_KINDS; kind++)
		told[2 * kind] = wall_self_parts((enum thread_kind)kind, &told[2 * kind + 1]);
	(void)!write(answer, told, sizeof told);
	for (;;)
		poll(NULL, 0, -1);
}

static unsigned check_threads(pid_t pid)
{
	char path[64];
	unsigned count = 0;
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	tasks = opendir(path);
	assert_non_null(tasks);
	while ((entry = readdir(tasks))) {
		char file[sizeof path + 280];
		struct status s;

		if (*entry->d_name == '.')
			continue;
		snprintf(file, sizeof file, "%s/%s/status", path, entry->d_name);
		s = read_status(file);
		assert_int_equal(s.seccomp, 2);
		assert_int_equal(s.no_new_privileges, 1);
		assert_int_equal(s.effective | s.permitted, 0);
		if (geteuid() == 0 && !WALL_SANITIZED) {
			assert_int_equal(s.user, 0x70000000 + pid);
			assert_int_equal(s.bounding, 0);
		}
		count++;
	}
	closedir(tasks);
	return count;
}

static void proc_agrees(void **state)
{
	unsigned told[2 * THREAD_KINDS] = {0}, threads = 0;
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		live_behind_walls(ends[1]);
	assert_int_equal(read(ends[0], told, sizeof told), sizeof told);
	for (unsigned kind = 0; kind < THREAD_KINDS; kind++) {
		unsigned least = WALL_NO_NEW_PRIVILEGES | WALL_SECCOMP | WALL_CAPABILITIES;

		assert_int_equal(told[2 * kind + 1], kind == THREAD_DISK ? 0 : 1);
		assert_int_equal(told[2 * kind] & least, kind == THREAD_DISK ? 0 : least);
		threads += told[2 * kind + 1];
	}
	assert_int_equal(check_threads(pid), threads);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ends[0]);
	close(ends[1]);
}

/* A device thread makes the threads of disks, which are behind their own kind's walls before they begin. */
static void *start_disk_thread(void *arg)
{
	struct trial *trial = arg;
	pthread_t thread;

	while (sem_wait(&trial->go) < 0)
		;
	if (thread_start(&thread, THREAD_DISK, "disk", trying, trial) < 0)
		_exit(5);
	sem_post(&trial->go);
	return sleep_for_ever(NULL);
}

static long wait_for_events(void)
{
	return syscall(SYS_epoll_wait, -1, NULL, 1, 0);
}

static int try_on_later_thread(long (*fn)(void), int *code)
{
	struct trial trial = {.kind = THREAD_DISK, .fn = fn};
	int ends[2], status = 0;
	pthread_t thread;
	pid_t pid;

	*code = -1;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	trial.answer = ends[1];
	pid = fork();
	if (pid == 0) {
		sem_init(&trial.go, 0, 0);
		if (thread_start(&thread, THREAD_DEVICES, "devices", start_disk_thread, &trial) < 0 ||
		    wall_self_put_up(-1, NULL, NULL) < 0)
			_exit(6);
		sem_post(&trial.go);
		for (;;)
			poll(NULL, 0, -1);
	}
	close(ends[1]);
	(void)!read(ends[0], code, sizeof *code);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static long write_nowhere(void)
{
	return syscall(SYS_pwritev, -1, NULL, 0, 0, 0);
}

static void later_threads_are_behind_walls(void **state)
{
	int code, status = try_on_later_thread(write_nowhere, &code);

	(void)state;
	if (status != 0 || code != EBADF)
		fail_msg("a disk's own call: status %#x, errno %d, not 0 and EBADF", (unsigned)status, code);
	status = try_on_later_thread(wait_for_events, &code);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		fail_msg("a call of device threads only: status %#x, errno %d, not SIGSYS", (unsigned)status, code);
}

static long give_memory_back(void)
{
	malloc_trim(0);
	return 0;
}

/* As a vCPU does that rests, in a process whose C library may have had nothing to do with memory before. */
static void vcpus_may_rest(void **state)
{
	struct trial trial = {.kind = THREAD_VCPU, .fn = give_memory_back};
	int code, status = try_in_child(&trial, &code);

	(void)state;
	if (status != 0 || code != 0)
		fail_msg("status %#x, errno %d, not 0 and 0", (unsigned)status, code);
}

static void make_sockets(void)
{
	socklen_t size = sizeof other.service;
	int control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int service = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	other.control = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(other.control.sun_path, sizeof other.control.sun_path, "%s/control", other.folder);
	other.service = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(control, (struct sockaddr *)&other.control, sizeof other.control), 0);
	assert_int_equal(listen(control, 1000), 0);
	assert_int_equal(bind(service, (struct sockaddr *)&other.service, sizeof other.service), 0);
	assert_int_equal(listen(service, 1000), 0);
	assert_int_equal(getsockname(service, (struct sockaddr *)&other.service, &size), 0);
}

static int set_up(void **state)
{
	int disk;

	(void)state;
	strcpy(other.folder, "/tmp/wall-self-XXXXXX");
	assert_non_null(mkdtemp(other.folder));
	assert_int_equal(chmod(other.folder, 0777), 0);
	snprintf(other.disk, sizeof other.disk, "%s/disk", other.folder);
	disk = open(other.disk, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	assert_true(disk >= 0);
	close(disk);
	assert_int_equal(chmod(other.disk, 0666), 0);
	make_sockets();
	other.monitor = fork();
	if (other.monitor == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	other.handle = (int)syscall(SYS_pidfd_open, other.monitor, 0);
	other.terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	return 0;
}

/* After all attempts: nothing of the other machine was touched. */
static void the_other_machine_is_unharmed(void **state)
{
	struct stat file;

	(void)state;
	assert_int_equal(kill(other.monitor, 0), 0);
	assert_int_equal(waitpid(other.monitor, NULL, WNOHANG), 0);
	assert_int_equal(stat(other.disk, &file), 0);
	assert_int_equal(access("/tmp/wall-broken", F_OK), -1);
}

static int tear_down(void **state)
{
	(void)state;
	kill(other.monitor, SIGKILL);
	waitpid(other.monitor, NULL, 0);
	unlink(other.disk);
	unlink(other.control.sun_path);
	rmdir(other.folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_walls_it_works),
		cmocka_unit_test(nothing_is_reached),
		cmocka_unit_test(all_else_kills),
		cmocka_unit_test(proc_agrees),
		cmocka_unit_test(later_threads_are_behind_walls),
		cmocka_unit_test(vcpus_may_rest),
		cmocka_unit_test(the_other_machine_is_unharmed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
