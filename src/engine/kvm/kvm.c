#include "engine/kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/kvm/private.h"
#include "engine/kvm/probe.h"

/*
 * Leaving guest code. Whoever wants a vCPU out sets `stop` and run->immediate_exit, and sends KVM_SIGNAL when the thread is
 * `inside`. Where the thread is between its look at `stop` and the kernel, immediate_exit ends KVM_RUN at once; the
 * signal ends it when it came later. Timers send nothing but the signal: so its handler sets immediate_exit, too.
 */
static _Thread_local struct kvm_run *entered; /* by this thread, for the handler */

static void poke(struct engine_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_load(&vcpu->inside))
		syscall(SYS_tgkill, getpid(), atomic_load(&vcpu->thread), KVM_SIGNAL);
}

static void stop(struct engine_vcpu *vcpu)
{
	atomic_store(&vcpu->stop, true);
	poke(vcpu);
}

static void on_signal(int number)
{
	(void)number;
	if (entered)
		__atomic_store_n(&entered->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

/* For the process, and once: others of its machines use the same. */
static int catch_signal(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigemptyset(&action.sa_mask);
	return sigaction(KVM_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

/* On the thread's first turn with this vCPU. */
static void settle_in(struct engine_vcpu *vcpu)
{
	static _Thread_local pid_t self;
	sigset_t set;

	if (!self) {
		self = (pid_t)syscall(SYS_gettid);
		sigemptyset(&set);
		sigaddset(&set, KVM_SIGNAL);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
	atomic_store(&vcpu->thread, self);
}

/* One KVM_RUN: 0 with an exit to serve, -EINTR, or an errno. What ended it has been heard once output was looked for: so a signal
 * that comes from then on ends the next one. */
static int enter(struct engine_vcpu *vcpu)
{
	int r;

	vcpu->ran = true;
	r = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;
	if (r == -EINTR)
		__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	kvm_posted_take(vcpu);
	return r;
}

/* Answers to accesses reach the guest's registers with the next KVM_RUN, and may lead to one more access: without that the
 * state is neither that of before the instruction nor that of after. */
static void finish(struct engine_vcpu *vcpu)
{
	while (vcpu->unfinished) {
		struct engine_exit ignored;

		vcpu->unfinished = false;
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (enter(vcpu) == 0)
			(void)kvm_serve_exit(vcpu, &ignored);
	}
	kvm_posted_end(vcpu);
}

/* False: *out tells why the run ends. */
static bool turn(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	int r;

	atomic_store(&vcpu->inside, true);
	if (atomic_load(&vcpu->stop)) {
		out->reason = ENGINE_EXIT_KICKED;
		return false;
	}
	vcpu->unfinished = false;
	r = enter(vcpu);
	atomic_store(&vcpu->inside, false);
	if (r == 0)
		return kvm_serve_exit(vcpu, out);
	/* Whoever wants it out has set `stop` before, which the next turn sees. */
	if (r != -EINTR && r != -EAGAIN)
		kvm_report_error(vcpu, r, out);
	return r == -EINTR || r == -EAGAIN;
}

static void run(struct engine_vcpu *vcpu, uint64_t limit, struct engine_exit *out)
{
	(void)limit; /* the processor counts no instructions for us */
	*out = (struct engine_exit){.reason = ENGINE_EXIT_KICKED, .deadline = UINT64_MAX};
	settle_in(vcpu);
	entered = vcpu->run;
	while (turn(vcpu, out))
		continue;
	atomic_store(&vcpu->inside, false);
	if (out->reason == ENGINE_EXIT_KICKED)
		atomic_store(&vcpu->stop, false);
	finish(vcpu);
	entered = NULL;
	__atomic_store_n(&vcpu->run->immediate_exit, atomic_load(&vcpu->stop), __ATOMIC_SEQ_CST);
}

static int find_offset(struct engine_vcpu *vcpu)
{
	struct kvm_device_attr attribute = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET};

	return kvm_call(vcpu->fd, KVM_HAS_DEVICE_ATTR, &attribute);
}

static int map_run(struct engine_vcpu *vcpu)
{
	void *run_page = mmap(NULL, vcpu->vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);

	if (run_page == MAP_FAILED)
		return -errno;
	vcpu->run = run_page;
	return kvm_memory_map_ring(vcpu);
}

static int open_vcpu(struct engine_vcpu *vcpu, struct error *e)
{
	struct vm *vm = vcpu->vm;
	uint32_t id = vcpu->cpu->cpu.id;
	int r = catch_signal();

	vcpu->fd = r < 0 ? r : kvm_call_value(vm->fd, KVM_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		return error_errno(e, vcpu->fd, "KVM makes no CPU %u", id);
	r = map_run(vcpu);
	if (r < 0)
		return error_errno(e, r, "memory that KVM shares about CPU %u", id);
	vm->tsc_offset = !(vm->without & X86_WITHOUT_TSC_OFFSET) && find_offset(vcpu) == 0;
	kvm_statistics_open(vcpu);
	/* KVM lists those that the CPUID of the vCPU offers. */
	r = kvm_give_cpuid(vcpu, e);
	return r < 0 ? r : kvm_host_list_msrs(vcpu, e);
}

static void vcpu_free(struct engine_vcpu *vcpu)
{
	struct vm *vm;

	if (!vcpu)
		return;
	vm = vcpu->vm;
	pthread_mutex_lock(&vm->ring_lock);
	vm->vcpus[vcpu->cpu->cpu.id] = NULL;
	pthread_mutex_unlock(&vm->ring_lock);
	vcpu->cpu->engine_vcpu = NULL;
	kvm_statistics_close(vcpu);
	kvm_posted_vcpu_finish(vcpu);
	if (vcpu->ring)
		munmap(vcpu->ring, vm->ring_entries * sizeof *vcpu->ring);
	if (vcpu->run)
		munmap(vcpu->run, vm->run_bytes);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu);
}

static int vcpu_new(struct engine_vcpu **out, struct cpu *cpu, struct error *e)
{
	struct engine_vcpu *vcpu = calloc(1, sizeof *vcpu);
	int r;

	if (!vcpu)
		return error_errno(e, -ENOMEM, "CPU %u", cpu->id);
	vcpu->cpu = x86_cpu_of(cpu);
	vcpu->vm = vm_of(vcpu->cpu->platform);
	vcpu->fd = vcpu->statistics = -1;
	r = open_vcpu(vcpu, e);
	if (r < 0) {
		vcpu_free(vcpu);
		return r;
	}
	vcpu->cpu->engine_vcpu = vcpu;
	vcpu->cpu->engine = &kvm_hooks;
	vcpu->vm->vcpus[cpu->id] = vcpu;
	*out = vcpu;
	return 0;
}

/* The hardware marks: nothing of it is cached here. */
static void drop_write_access(struct engine_vcpu *vcpu)
{
	(void)vcpu;
}

static void kick(struct engine_vcpu *vcpu)
{
	poke(vcpu);
}

const struct x86_cpu_hooks kvm_hooks = {.kick = kick, .asleep = kvm_is_blocked, .stolen = kvm_steal};

static void report_rate(struct engine_report *report, const struct kvm_probe *probe)
{
	char rate[KVM_RATE_SIZE];

	kvm_probe_rate_text(probe, rate);
	report->usable = true;
	report->preferred = probe->verdict == KVM_WORKS;
	if (report->preferred) {
		snprintf(report->summary, sizeof report->summary, "runs guests in hardware, at %s", rate);
		return;
	}
	snprintf(report->summary, sizeof report->summary, "works, but this host runs supervisor code by emulation, at %s", rate);
	snprintf(report->remedy, sizeof report->remedy,
		 "use a host with virtualization in hardware; --engine kvm runs here all the same");
}

static void report_lack(struct engine_report *report, const struct kvm_probe *found)
{
	switch (found->verdict) {
	case KVM_WORKS:
	case KVM_EMULATES:
		return;
	case KVM_DENIED:
		snprintf(report->summary, sizeof report->summary, "/dev/kvm may not be opened");
		snprintf(report->remedy, sizeof report->remedy, "add this user to the group kvm, then log in again");
		return;
	case KVM_BROKEN:
		snprintf(report->summary, sizeof report->summary, "/dev/kvm does not work: %s: %s", found->step,
			 strerror(-found->error));
		return;
	case KVM_ABSENT:
		snprintf(report->summary, sizeof report->summary, "no /dev/kvm");
		snprintf(report->remedy, sizeof report->remedy,
			 "enable virtualization in the host's firmware, load kvm_intel or kvm_amd");
		return;
	}
}

static void probe(struct engine_report *report)
{
	struct kvm_probe found;

	*report = (struct engine_report){.usable = false};
	kvm_probe(&found);
	if (found.verdict == KVM_WORKS || found.verdict == KVM_EMULATES)
		report_rate(report, &found);
	else
		report_lack(report, &found);
}

static void look(struct engine_report *report)
{
	struct kvm_probe found;

	kvm_look(&found);
	*report = (struct engine_report){.usable = found.verdict == KVM_WORKS};
	report_lack(report, &found);
}

const struct engine engine_kvm = {
	.name = "kvm",
	.help = "runs x86-64 guests on the host's processor, through /dev/kvm",
	.arch = ENGINE_X86_64,
	.vcpu_bytes = sizeof(struct engine_vcpu) + sizeof(struct x86_cpu) + 64 * KIB,
	.probe = probe,
	.look = look,
	.x86 = &kvm_x86,
	.vcpu_new = vcpu_new,
	.vcpu_free = vcpu_free,
	.run = run,
	.stop = stop,
	.drop_write_access = drop_write_access,
	.store_state = kvm_store_state,
	.state_loaded = kvm_state_loaded,
	.statistics = kvm_statistics,
};
