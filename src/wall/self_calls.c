/* Which system calls each kind of thread of a monitor may make, and why: docs/internals/wall.md. */
#include "wall/private.h"

#define CALLS(...) (const char *const[]){__VA_ARGS__, NULL}

/* Also by the device thread, for requests that need no thread, and since a thread can have no calls that the one which
 * starts it lacks. */
#define DISK_CALLS CALLS("preadv", "pwritev", "fdatasync", "fallocate", "lseek", "ftruncate")

const struct wall_list wall_self_calls[THREAD_KINDS][WALL_SELF_LISTS] = {
	[THREAD_VCPU] = {
		{"let another vCPU go on", CALLS("sched_yield")},
		{"how long it waited for a CPU of the host", CALLS("pread64", "close")},
		{"guest code by KVM; its registers, when it can not go on; pages that it wrote; its output", CALLS("ioctl:kvm-run")},
		{"output that waits in a ring, but not for long", CALLS("timer_create:kvm", "timer_settime", "timer_delete")},
		{"interrupts and doorbells as the guest sets them up", CALLS("ioctl:kvm-line", "ioctl:kvm-ways", "eventfd2")},
	},
	[THREAD_DEVICES] = {
		{"the event loop", CALLS("epoll_wait", "epoll_ctl", "timerfd_settime", "read", "poll")},
		{"disks: by io_uring, whose rings allow no more than reads, writes and flushes", CALLS("io_uring_enter")},
		{"disks: by threads", DISK_CALLS},
		{"a disk goes under an overlay", CALLS("fcntl:lock", "fstat", "newfstatat:open")},
		{"starting such threads",
		 CALLS("clone", "clone3?", "rseq", "set_robust_list", "prctl:name", "prctl:filter")},
		{"a network device takes or leaves offloads", CALLS("ioctl:tap")},
		{"interrupt lines of KVM's", CALLS("ioctl:kvm-line")},
		{"packets, shared folders", CALLS("readv", "recvfrom", "sendmsg", "recvmsg", "sendto")},
		{"sockets between host and guest", CALLS("accept4", "shutdown", "close")},
		{"random numbers for the guest", CALLS("getrandom")},
		{"processes of a device that end", CALLS("kill?", "wait4", "clock_nanosleep")},
	},
	[THREAD_DISK] = {
		{"one job of a disk", DISK_CALLS},
	},
	[THREAD_OUTPUT] = {
		{"wait for the reader", CALLS("poll")},
		{"the console's log, which starts anew when it is full", CALLS("pread64", "pwrite64", "ftruncate")},
	},
	[THREAD_GOVERNOR] = {
		{"whether a CPU is halted, which KVM counts", CALLS("pread64")},
	},
	[THREAD_MOVER] = {
		{"the link to where a machine moves", CALLS("poll", "sendmsg", "recvfrom")},
		{"further links of a machine that arrives", CALLS("accept4", "recvmsg", "shutdown", "close")},
		{"memory that comes when it is touched", CALLS("read", "ioctl:absent", "pread64")},
		{"pages that KVM saw written", CALLS("ioctl:kvm-memory")},
		{"disks that move along", DISK_CALLS},
	},
	[THREAD_MAIN] = {
		{"the event loop", CALLS("epoll_wait", "epoll_ctl", "timerfd_settime", "read", "poll", "eventfd2")},
		{"the size of the terminal", CALLS("ioctl:size")},
		{"messages: stdio looks at what it writes to", CALLS("newfstatat:open", "fstat")},
		{"boot files, which are open, are read again at a reset", CALLS("pread64")},
		{"sorting: the C library looks how much memory there is", CALLS("sysinfo")},
		{"the control socket", CALLS("accept4", "getsockopt", "recvmsg", "sendmsg", "recvfrom", "sendto")},
		{"a connection to the program in the guest", CALLS("socketpair")},
		{"a seed for the guest at each reset", CALLS("getrandom")},
		{"which reserved huge pages a reset has to clear", CALLS("mincore")},
		{"a snapshot, whose memory a child writes", CALLS("clone:copy", "pwrite64", "close_range", "ioctl:touched")},
		{"the state of KVM's CPUs and chips, and guest time, which stands and goes on", CALLS("ioctl:kvm-state")},
		{"KVM's memory, and which pages the guest wrote", CALLS("ioctl:kvm-memory")},
		{"interrupt lines; interrupts and doorbells at a reset", CALLS("ioctl:kvm-line", "ioctl:kvm-ways")},
		{"a machine that moves: its thread is started, its disks and their locks change hands",
		 CALLS("clone", "clone3?", "rseq", "set_robust_list", "prctl:name", "prctl:filter", "fcntl:lock", "preadv", "pwritev",
		       "fdatasync", "fallocate", "lseek", "ftruncate")},
		{"what KVM keeps of a machine: at its start, pause, reset, save and load",
		 CALLS("ioctl:kvm-state", "ioctl:kvm-line", "ioctl:kvm-ways", "ioctl:kvm-memory")},
		{"memory that comes when it is touched: the mover, which it starts; the end of that",
		 CALLS("ioctl:absent", "shutdown")},
		{"the machine's end", CALLS("timer_delete", "close", "unlink?", "kill?", "wait4", "clock_nanosleep")},
	},
};

const struct wall_list wall_self_folder[] = {
	{"the machine's record in its folder", CALLS("openat", "unlinkat", "renameat", "fsync")},
	{"its log, which is cut off when it is long", CALLS("ftruncate")},
	{NULL, NULL},
};

const struct wall_list wall_self_base[] = {
	{"wait for other threads", CALLS("futex")},
	{"what SIGSTOP, a debugger or a freezer of the host interrupted goes on", CALLS("restart_syscall")},
	{"wake an event loop; console and log; last words of the C library", CALLS("write", "writev")},
	{"memory", CALLS("mmap", "munmap", "mremap", "mprotect", "madvise", "brk")},
	{"clocks, where the kernel maps none", CALLS("clock_gettime")},
	{"handlers of signals end; abort", CALLS("rt_sigreturn", "rt_sigprocmask", "tgkill:own", "getpid", "gettid")},
	{"whoever fails gives the terminal back first", CALLS("rt_sigaction:others", "ioctl:terminal", "getpgrp")},
	{"the end", CALLS("exit", "exit_group")},
	{"malloc looks for the number of CPUs and the host's policy", CALLS("sched_getaffinity", "openat?")},
	{NULL, NULL},
};
