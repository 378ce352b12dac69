#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/userfaultfd.h>
#ifdef __x86_64__
#include <linux/kvm.h>
#endif
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "memory/memory.h"
#include "wall/private.h"
#include "wall/program.h"

/* What any of our processes does: memory, its socket, time, its end. */
static const char *const base_calls[] = {
	"read",         "write",         "readv",    "writev",   "close",        "mmap",         "munmap",
	"mremap",       "mprotect",      "madvise",  "brk",      "futex",        "rt_sigreturn", "rt_sigprocmask",
	"exit",         "exit_group",    "poll",     "ppoll",    "recvmsg",      "sendmsg",      "recvfrom",
	"sendto",       "clock_gettime", "getpid",   "gettid",   "gettimeofday", "getrandom",    "clock_nanosleep",
	"restart_syscall", NULL,
};

/* Of newer C libraries; the headers of older ones have them with the kernel's own types only. */
#define TCGETS2_NUMBER _IOC(_IOC_READ, 'T', 0x2a, 44)
#define TCSETS2_NUMBER _IOC(_IOC_WRITE, 'T', 0x2b, 44)

struct argument_rule {
	const char *call;
	bool without_folder_only; /* with a folder the call is allowed whole */
	bool own;                 /* the value is this process's id */
	enum program_kind kind;
	unsigned argument;
	uint64_t mask, value;
};

#define MASKED(argument, mask, value) PROGRAM_EQUAL, (argument), (uint64_t)(mask), (value)
#define EQUAL(argument, value)        PROGRAM_EQUAL, (argument), UINT64_MAX, (value)
#define OTHER(argument, value)        PROGRAM_OTHER, (argument), UINT64_MAX, (value)

/* Calls that are allowed only with one of these arguments. A name with a colon is of tables that mean less than the
 * whole call. */
static const struct argument_rule argument_rules[] = {
	{"mmap", false, false, MASKED(2, PROT_EXEC, 0)},
	{"mprotect", false, false, MASKED(2, PROT_EXEC, 0)},
	{"socket", false, false, EQUAL(0, AF_INET)},
	{"socket", false, false, EQUAL(0, AF_INET6)},
	{"socket:unix", false, false, EQUAL(0, AF_UNIX)},
	{"clone", false, false, MASKED(0, CLONE_THREAD, CLONE_THREAD)},
	/* A copy of the process: nothing shared, and no namespaces. */
	{"clone:copy", false, false, EQUAL(0, SIGCHLD)},
	{"openat", true, false, MASKED(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)},
	{"ioctl", true, false, EQUAL(1, FIONREAD)},
	{"ioctl", true, false, EQUAL(1, FIONBIO)},
	{"ioctl:terminal", false, false, EQUAL(1, TCGETS)},
	{"ioctl:terminal", false, false, EQUAL(1, TCGETS2_NUMBER)},
	{"ioctl:terminal", false, false, EQUAL(1, TCSETS)},
	{"ioctl:terminal", false, false, EQUAL(1, TCSETS2_NUMBER)},
	{"ioctl:terminal", false, false, EQUAL(1, TIOCGPGRP)},
	{"ioctl:size", false, false, EQUAL(1, TIOCGWINSZ)},
	/* Any signal but the one that tells of a forbidden call. */
	{"rt_sigaction:others", false, false, OTHER(0, SIGSYS)},
	{"rt_sigaction:others", false, false, EQUAL(1, 0)},
	{"newfstatat:open", false, false, EQUAL(3, AT_EMPTY_PATH)},
	{"fcntl:lock", false, false, EQUAL(1, F_OFD_SETLK)},
	{"fcntl:lock", false, false, EQUAL(1, F_OFD_GETLK)},
	{"ioctl:tap", false, false, EQUAL(1, TUNSETOFFLOAD)},
	{"ioctl:absent", false, false, EQUAL(1, UFFDIO_REGISTER)},
	{"ioctl:absent", false, false, EQUAL(1, UFFDIO_UNREGISTER)},
	{"ioctl:absent", false, false, EQUAL(1, UFFDIO_WAKE)},
	{"ioctl:absent", false, false, EQUAL(1, UFFDIO_COPY)},
	{"ioctl:absent", false, false, EQUAL(1, UFFDIO_ZEROPAGE)},
	{"ioctl:touched", false, false, EQUAL(1, MEMORY_SCAN_REQUEST)},
	{"prctl:name", false, false, EQUAL(0, PR_SET_NAME)},
	{"prctl:filter", false, false, EQUAL(0, PR_SET_SECCOMP)},
	{"tgkill:own", false, true, EQUAL(0, 0)},
	{"timer_create:kvm", false, false, EQUAL(0, CLOCK_MONOTONIC)},
#ifdef __x86_64__
	/* KVM's numbers mean nothing to other files. */
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_RUN)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_GET_REGS)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_GET_SREGS)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_GET_SREGS2)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_RESET_DIRTY_RINGS)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_GET_MSRS)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_REGISTER_COALESCED_MMIO)},
	{"ioctl:kvm-run", false, false, EQUAL(1, KVM_UNREGISTER_COALESCED_MMIO)},
	{"ioctl:kvm-line", false, false, EQUAL(1, KVM_IRQ_LINE)},
	{"ioctl:kvm-ways", false, false, EQUAL(1, KVM_IRQFD)},
	{"ioctl:kvm-ways", false, false, EQUAL(1, KVM_IOEVENTFD)},
	{"ioctl:kvm-ways", false, false, EQUAL(1, KVM_SET_GSI_ROUTING)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_REGS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_REGS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_SREGS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_SREGS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_SREGS2)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_SREGS2)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_XSAVE)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_XSAVE2)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_XSAVE)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_XCRS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_XCRS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_MSRS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_MSRS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_LAPIC)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_LAPIC)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_VCPU_EVENTS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_VCPU_EVENTS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_DEBUGREGS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_DEBUGREGS)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_MP_STATE)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_MP_STATE)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_CPUID2)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_TSC_KHZ)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_DEVICE_ATTR)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_DEVICE_ATTR)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_KVMCLOCK_CTRL)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_CLOCK)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_CLOCK)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_IRQCHIP)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_IRQCHIP)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_GET_PIT2)},
	{"ioctl:kvm-state", false, false, EQUAL(1, KVM_SET_PIT2)},
	{"ioctl:kvm-memory", false, false, EQUAL(1, KVM_SET_USER_MEMORY_REGION)},
	{"ioctl:kvm-memory", false, false, EQUAL(1, KVM_GET_DIRTY_LOG)},
	{"ioctl:kvm-memory", false, false, EQUAL(1, KVM_CLEAR_DIRTY_LOG)},
	{"ioctl:kvm-memory", false, false, EQUAL(1, KVM_RESET_DIRTY_RINGS)},
#endif
};

struct call {
	char name[64]; /* without what follows its number's name */
	bool soft;
};

static bool find_call(const char *name, struct call *call)
{
	size_t length = strcspn(name, ":?");

	if (length >= sizeof call->name)
		return false;
	*call = (struct call){.soft = name[length] == '?'};
	memcpy(call->name, name, length);
	return true;
}

static int add_limited(struct program_rules *rules, int number, const struct argument_rule *rule)
{
	const struct program_rule limited = {
		.number = (uint32_t)number,
		.kind = rule->kind,
		.argument = rule->argument,
		.mask = rule->mask,
		.value = rule->own ? (uint64_t)getpid() : rule->value,
	};

	return program_add(rules, &limited);
}

static int add_whole(struct program_rules *rules, int number, enum program_kind kind)
{
	return program_add(rules, &(const struct program_rule){.number = (uint32_t)number, .kind = kind});
}

static int add_call(struct program_rules *rules, const char *name, bool folder)
{
	struct call call;
	bool limited = false;
	int number, r = 0;

	if (!find_call(name, &call))
		return 0;
	number = seccomp_syscall_resolve_name(call.name);
	if (number < 0)
		return 0;
	if (call.soft)
		return add_whole(rules, number, PROGRAM_REFUSE);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(argument_rules); i++) {
		const struct argument_rule *rule = &argument_rules[i];

		if (strcmp(rule->call, name) != 0 || (rule->without_folder_only && folder))
			continue;
		limited = true;
		r = add_limited(rules, number, rule);
	}
	return r < 0 || limited ? r : add_whole(rules, number, PROGRAM_ALLOW);
}

static int add_calls(struct program_rules *rules, const char *const *names, bool folder)
{
	int r = 0;

	for (; r == 0 && *names; names++)
		r = add_call(rules, *names, folder);
	return r;
}

static int add_lists(struct program_rules *rules, const struct wall_list *lists, bool folder)
{
	int r = 0;

	for (; r == 0 && lists->calls; lists++)
		r = add_calls(rules, lists->calls, folder);
	return r;
}

/* `otherwise`: what becomes of all other calls. */
static int compile(const struct wall_list *const lists[], size_t count, bool folder, uint32_t otherwise,
		   struct sock_fprog *program, struct error *e)
{
	struct program_rules rules = {.list = NULL};
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_lists(&rules, lists[i], folder);
	if (r == 0)
		r = add_calls(&rules, wall_sanitizer_calls, folder);
	if (r == 0)
		r = program_make(&rules, otherwise, program);
	program_rules_finish(&rules);
	return r < 0 ? error_errno(e, r, "cannot make a system call filter") : 0;
}

int wall_filter_make(const struct wall_plan *plan, struct sock_fprog *program, struct error *e)
{
	const struct wall_list lists[] = {{NULL, plan->filter->calls}, {NULL, base_calls}, {NULL, NULL}};
	const struct wall_list *const parts[] = {lists};

	return compile(parts, ARRAY_SIZE(parts), plan->folder != NULL, SECCOMP_RET_KILL_PROCESS, program, e);
}

int wall_self_filter(enum thread_kind kind, bool folder, struct sock_fprog *program, struct error *e)
{
	const struct wall_list ours[] = {{NULL, wall_sanitizer_end_calls}, {NULL, NULL}};
	/* The first that names a call says how much of it is allowed. */
	const struct wall_list *const parts[] = {folder && kind == THREAD_MAIN ? wall_self_folder : ours,
						 wall_self_calls[kind], wall_self_base, ours};

	return compile(parts, ARRAY_SIZE(parts), true, SECCOMP_RET_TRAP, program, e);
}

unsigned wall_filter_install(const struct sock_fprog *program)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) < 0)
		return 0;
	return WALL_SECCOMP;
}
