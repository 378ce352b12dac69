#include "engine/kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <linux/kvm.h>
#endif

#include "base/clock.h"
#include "base/fork.h"

const char *const kvm_probe_mode_names[KVM_PROBE_MODES] = {
	[KVM_PROBE_REAL] = "real mode",
	[KVM_PROBE_PROTECTED] = "protected mode",
	[KVM_PROBE_LONG] = "long mode",
};

void kvm_probe_rate_text(const struct kvm_probe *probe, char text[KVM_RATE_SIZE])
{
	const uint64_t million = 1000000;
	unsigned slowest = 0;
	bool many;

	for (unsigned i = 1; i < KVM_PROBE_MODES; i++)
		if (probe->rate[i] < probe->rate[slowest])
			slowest = i;
	many = probe->rate[slowest] >= million;
	snprintf(text, KVM_RATE_SIZE, "%.3g %s instructions/s in %s",
		 (double)(probe->rate[slowest] / (many ? million / 10 : 1)) / (many ? 10 : 1000), many ? "million" : "thousand",
		 kvm_probe_mode_names[slowest]);
}

#ifdef __x86_64__

/* Guest memory: tables for long mode, then the code. All of it lies below 64 KiB for the sake of real mode. */
#define GUEST_SIZE 0x8000U
#define PML4_AT    0x1000U
#define PDPT_AT    0x2000U
#define PD_AT      0x3000U
#define CODE_AT    0x4000U

#define PAGE_PRESENT_WRITABLE 0x3U
#define PAGE_LARGE            0x80U

/* Where Intel processors without unrestricted guests keep what real mode needs; far from guest memory. */
#define TSS_ADDRESS      0xfffbd000UL
#define IDENTITY_ADDRESS 0xfffbc000UL

#define CR0_PE   (UINT64_C(1) << 0)
#define CR0_PG   (UINT64_C(1) << 31)
#define CR4_PAE  (UINT64_C(1) << 5)
#define EFER_LME (UINT64_C(1) << 8)
#define EFER_LMA (UINT64_C(1) << 10)

#define LOOP_INSTRUCTIONS 2
#define FIRST_ITERATIONS  500U
/* A run that lasts this long says enough about the rate; longer ones are the more likely to be interrupted. */
#define MEASURED_NS UINT64_C(1000000)
/* So long a slow rate is not believed: a busy host runs others meanwhile. The first runs fill tables of the host's. */
#define DOUBTED_NS UINT64_C(60000000)
#define FIRST_RUNS 3

/* dec ecx; jnz back; hlt. In 16-bit code the first needs an operand-size prefix to count 32 bits. */
static const uint8_t loop16[] = {0x66, 0xff, 0xc9, 0x75, 0xfb, 0xf4};
static const uint8_t loop32[] = {0xff, 0xc9, 0x75, 0xfc, 0xf4};

struct guest {
	int kvm, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	struct kvm_probe *probe;
};

static int failed(struct guest *guest, const char *step, int code)
{
	guest->probe->step = step;
	guest->probe->error = code;
	return code;
}

static int guest_memory(struct guest *guest)
{
	struct kvm_userspace_memory_region region = {.memory_size = GUEST_SIZE};

	guest->memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->memory == MAP_FAILED)
		return failed(guest, "mmap", -errno);
	region.userspace_addr = (uint64_t)(uintptr_t)guest->memory;
	if (ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return failed(guest, "KVM_SET_USER_MEMORY_REGION", -errno);
	return 0;
}

/* Long mode is refused unless CPUID announces it. */
static int guest_cpuid(struct guest *guest)
{
	enum { ENTRIES = 256 };
	static union {
		struct kvm_cpuid2 list;
		uint8_t room[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;

	cpuid.list.nent = ENTRIES;
	if (ioctl(guest->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid.list) < 0)
		return failed(guest, "KVM_GET_SUPPORTED_CPUID", -errno);
	if (ioctl(guest->vcpu, KVM_SET_CPUID2, &cpuid.list) < 0)
		return failed(guest, "KVM_SET_CPUID2", -errno);
	return 0;
}

static int guest_vcpu(struct guest *guest)
{
	int size = ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (size < (int)sizeof *guest->run)
		return failed(guest, "KVM_GET_VCPU_MMAP_SIZE", size < 0 ? -errno : -EIO);
	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
	if (guest->vcpu < 0)
		return failed(guest, "KVM_CREATE_VCPU", -errno);
	guest->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
	if (guest->run == MAP_FAILED)
		return failed(guest, "mmap of the vCPU", -errno);
	return guest_cpuid(guest);
}

/* Nothing is given back: the child process ends soon, and all of this with it. */
static int guest_make(struct guest *guest)
{
	uint64_t identity = IDENTITY_ADDRESS;
	int r;

	if (ioctl(guest->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return failed(guest, "KVM_GET_API_VERSION", -EPROTO);
	guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
	if (guest->vm < 0)
		return failed(guest, "KVM_CREATE_VM", -errno);
	/* AMD processors need neither, and KVM may refuse them there. */
	(void)ioctl(guest->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	(void)ioctl(guest->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	r = guest_memory(guest);
	return r < 0 ? r : guest_vcpu(guest);
}

static void put_entry(struct guest *guest, uint32_t at, uint64_t entry)
{
	memcpy(guest->memory + at, &entry, sizeof entry);
}

static void flat_segments(struct kvm_sregs *s, bool long_mode)
{
	struct kvm_segment code = {.limit = 0xffffffff, .selector = 8, .type = 0xb, .present = 1, .s = 1, .g = 1};
	struct kvm_segment data = {.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .g = 1};

	code.l = long_mode;
	code.db = !long_mode;
	data.db = 1;
	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
}

static void enter_real(struct guest *guest, struct kvm_sregs *s)
{
	(void)guest;
	s->cs.base = 0;
	s->cs.selector = 0;
}

static void enter_protected(struct guest *guest, struct kvm_sregs *s)
{
	(void)guest;
	flat_segments(s, false);
	s->cr0 |= CR0_PE;
}

static void enter_long(struct guest *guest, struct kvm_sregs *s)
{
	put_entry(guest, PML4_AT, PDPT_AT | PAGE_PRESENT_WRITABLE);
	put_entry(guest, PDPT_AT, PD_AT | PAGE_PRESENT_WRITABLE);
	put_entry(guest, PD_AT, PAGE_PRESENT_WRITABLE | PAGE_LARGE);
	flat_segments(s, true);
	s->cr3 = PML4_AT;
	s->cr4 |= CR4_PAE;
	s->cr0 |= CR0_PE | CR0_PG;
	s->efer |= EFER_LME | EFER_LMA;
}

static const struct {
	void (*enter)(struct guest *guest, struct kvm_sregs *s);
	const uint8_t *code;
	size_t length;
} modes[KVM_PROBE_MODES] = {
	[KVM_PROBE_REAL] = {enter_real, loop16, sizeof loop16},
	[KVM_PROBE_PROTECTED] = {enter_protected, loop32, sizeof loop32},
	[KVM_PROBE_LONG] = {enter_long, loop32, sizeof loop32},
};

/* Runs the loop once; the time it took, or a negative errno. */
static int64_t timed_run(struct guest *guest, uint32_t iterations)
{
	struct kvm_regs registers = {.rip = CODE_AT, .rflags = 2, .rcx = iterations};
	uint64_t start;

	if (ioctl(guest->vcpu, KVM_SET_REGS, &registers) < 0)
		return failed(guest, "KVM_SET_REGS", -errno);
	start = clock_host_ns();
	if (ioctl(guest->vcpu, KVM_RUN, 0) < 0)
		return failed(guest, "KVM_RUN", -errno);
	if (guest->run->exit_reason != KVM_EXIT_HLT)
		return failed(guest, "KVM_RUN did not end in HLT", -EIO);
	return (int64_t)(clock_host_ns() - start);
}

/* Four times as long until the time is worth measuring: what is slow is found out before it costs much. The best run counts. */
static int measure_rate(struct guest *guest, uint64_t *rate)
{
	uint32_t iterations = FIRST_ITERATIONS;
	uint64_t spent = 0;
	bool enough = false;

	for (unsigned runs = 1; !enough && spent < DOUBTED_NS; runs++) {
		int64_t ns = timed_run(guest, iterations);
		uint64_t found;

		if (ns < 0)
			return (int)ns;
		found = (uint64_t)iterations * LOOP_INSTRUCTIONS * 1000000000U / (uint64_t)(ns ? ns : 1);
		*rate = found > *rate ? found : *rate;
		spent += runs > FIRST_RUNS ? (uint64_t)ns : 0;
		if ((uint64_t)ns >= MEASURED_NS)
			enough = *rate >= KVM_PROBE_REAL_RATE;
		else if (iterations < UINT32_MAX / 4)
			iterations *= 4;
	}
	return 0;
}

static int measure_mode(struct guest *guest, const struct kvm_sregs *initial, enum kvm_probe_mode mode)
{
	struct kvm_sregs s = *initial;

	memcpy(guest->memory + CODE_AT, modes[mode].code, modes[mode].length);
	modes[mode].enter(guest, &s);
	if (ioctl(guest->vcpu, KVM_SET_SREGS, &s) < 0)
		return failed(guest, "KVM_SET_SREGS", -errno);
	return measure_rate(guest, &guest->probe->rate[mode]);
}

/* In the child: only calls that are safe after a fork of a program with threads. */
static void measure(int kvm, struct kvm_probe *probe)
{
	struct guest guest = {.kvm = kvm, .probe = probe};
	struct kvm_sregs initial;

	if (guest_make(&guest) < 0)
		return;
	if (ioctl(guest.vcpu, KVM_GET_SREGS, &initial) < 0) {
		failed(&guest, "KVM_GET_SREGS", -errno);
		return;
	}
	for (unsigned mode = 0; mode < KVM_PROBE_MODES; mode++)
		if (measure_mode(&guest, &initial, mode) < 0)
			return;
}

/* `step` survives the way through the pipe: it points into the same program. */
static void child(int kvm, int pipe_end)
{
	struct kvm_probe probe = {.step = NULL};
	ssize_t written;

	measure(kvm, &probe);
	written = write(pipe_end, &probe, sizeof probe);
	_exit(written == (ssize_t)sizeof probe ? 0 : 1);
}

static int read_answer(int pipe_end, struct kvm_probe *probe)
{
	struct pollfd ready = {.fd = pipe_end, .events = POLLIN};
	uint64_t end = clock_host_ns() + KVM_PROBE_LIMIT_MS * UINT64_C(1000000), now;
	struct kvm_probe answer;

	while ((now = clock_host_ns()) < end) {
		int n = poll(&ready, 1, (int)((end - now) / 1000000) + 1);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		if (read(pipe_end, &answer, sizeof answer) != (ssize_t)sizeof answer)
			return -EIO;
		*probe = answer;
		return 0;
	}
	return -ETIMEDOUT;
}

static int measure_in_child(int kvm, struct kvm_probe *probe)
{
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork_process();
	if (pid == 0)
		child(kvm, ends[1]);
	r = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (r == 0) {
		r = read_answer(ends[0], probe);
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	close(ends[0]);
	return r;
}

static enum kvm_verdict judge(const struct kvm_probe *probe)
{
	if (probe->error)
		return KVM_BROKEN;
	for (unsigned mode = 0; mode < KVM_PROBE_MODES; mode++)
		if (probe->rate[mode] < KVM_PROBE_REAL_RATE)
			return KVM_EMULATES;
	return KVM_WORKS;
}

/* A descriptor, or -1 and why. */
static int open_kvm(struct kvm_probe *probe)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	*probe = (struct kvm_probe){.verdict = KVM_ABSENT};
	if (kvm >= 0)
		return kvm;
	probe->error = -errno;
	probe->step = "open";
	probe->verdict = errno == EACCES || errno == EPERM ? KVM_DENIED : KVM_ABSENT;
	return -1;
}

void kvm_look(struct kvm_probe *probe)
{
	int kvm = open_kvm(probe);

	if (kvm < 0)
		return;
	close(kvm);
	probe->verdict = KVM_WORKS;
}

void kvm_probe(struct kvm_probe *probe)
{
	int kvm = open_kvm(probe), r;

	if (kvm < 0)
		return;
	r = measure_in_child(kvm, probe);
	close(kvm);
	if (r < 0) {
		probe->error = r;
		probe->step = "the measurement";
	}
	probe->verdict = judge(probe);
}

#else

void kvm_probe(struct kvm_probe *probe)
{
	*probe = (struct kvm_probe){.verdict = KVM_ABSENT, .error = -ENOSYS, .step = "this architecture"};
}

void kvm_look(struct kvm_probe *probe)
{
	kvm_probe(probe);
}

#endif
