/* What the parts of engine/kvm share; nobody else includes this. */
#ifndef DOPPEL_ENGINE_KVM_PRIVATE_H
#define DOPPEL_ENGINE_KVM_PRIVATE_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "engine/engine.h"
#include "x86/platform.h"

/* Brings a thread out of KVM_RUN. No real-time signal: those are queued, and all processes of a user share the room for them
 * (RLIMIT_SIGPENDING), so any could fill it and nobody would come out again. Nothing else sends this one. */
#define KVM_SIGNAL SIGSTKFLT

/* Numbers of interrupts by message follow those of the lines. */
#define KVM_ROUTES_MAX 1024

struct msi_route {
	struct vm *vm;
	unsigned number; /* KVM's: X86_LINES and more */
	int eventfd;
	bool set;
	struct msi_message message;
};

/* Writes to a port that wait in a ring. posted.c */
struct posted {
	uint16_t port;  /* 0: none is posted on this host */
	uint32_t page;  /* of a vCPU's mapping: the ring, the same for all */
	_Atomic(struct engine_vcpu *) poster; /* changed under `lock` */
	pthread_mutex_t lock; /* guards the next, and who takes from the ring */
	uint64_t burst_ns, looked_ns;
	uint64_t taken, taken_then;
	unsigned burst, quiet;
};

struct vm {
	struct x86_platform platform; /* first */
	int kvm, fd;
	unsigned without;
	/* What this host has. */
	bool sregs2, xcrs, tsc_offset, payloads, triple_faults;
	bool emulates; /* some of the guest's code is not run by the processor */
	uint32_t xsave_bytes, run_bytes, host_tsc_khz;
	uint32_t msr_count;
	uint32_t msrs[X86_MSRS_MAX]; /* indices, ascending */
	struct x86_cpuid host_cpuid;
	struct clock_listener clock_listener;
	struct msi_controller msi;
	struct bus_doorbells doorbells;
	pthread_mutex_t routes_lock; /* guards the next, and what the kernel knows of it */
	struct msi_route *routes[KVM_ROUTES_MAX];
	struct memory_tracker tracker;
	uint32_t ring_entries; /* of dirty pages, for each vCPU; 0: by bitmap */
	bool manual_protect;
	pthread_mutex_t ring_lock; /* guards rings */
	uint64_t *bitmap; /* of the largest region; NULL until tracking was first started */
	struct posted posted;
	struct engine_vcpu *vcpus[CPUS_MAX];
	unsigned vcpu_count;
};

struct engine_vcpu {
	struct x86_cpu *cpu;
	struct vm *vm;
	int fd;
	struct kvm_run *run;
	_Atomic bool stop;   /* asked for and not told yet */
	_Atomic bool inside; /* in KVM_RUN, or about to be */
	_Atomic pid_t thread;
	bool unfinished; /* the kernel has yet to take what was answered to its last exit; the thread's own */
	bool ran;
	pid_t posted_thread; /* that posted_timer wakes; 0: there is no timer */
	timer_t posted_timer;
	struct kvm_dirty_gfn *ring;
	uint32_t ring_next; /* under ring_lock */
	int statistics;     /* descriptor, or -1 */
	int32_t statistic_at[16]; /* where each is in it, by its place in the table; -1: this host has it not */
	uint32_t msr_count; /* values of power-on, by vm->msrs */
	uint64_t power_on[X86_MSRS_MAX];
	struct x86_cpuid given; /* what the kernel has */
};

/* ioctl, once more while it is interrupted: its result, or a negative errno. host.c */
int kvm_call(int fd, unsigned long request, void *argument);
int kvm_call_value(int fd, unsigned long request, unsigned long argument);
int kvm_has(int fd, unsigned capability);
/* Opens /dev/kvm and looks what it has that any machine needs. host.c */
MUST_USE int kvm_host_open(int *fd, struct error *e);
/* Fills vm's part about the host; its `fd` is there. host.c */
MUST_USE int kvm_host_describe(struct vm *vm, struct error *e);
/* Those of the host's and of the architecture's MSRs that a fresh vCPU has: into vm->msrs and power_on. host.c */
MUST_USE int kvm_host_list_msrs(struct engine_vcpu *vcpu, struct error *e);

extern const struct x86_cpu_hooks kvm_hooks; /* kvm.c */
/* platform.c */
extern const struct x86_engine kvm_x86;
static inline struct vm *vm_of(struct x86_platform *platform)
{
	return (struct vm *)platform;
}

/* Before walls are up: whether the host has slots enough. memory.c */
MUST_USE int kvm_memory_check(const struct vm *vm, struct error *e);
/* Slots of guest memory, with or without a log of what changes. memory.c */
MUST_USE int kvm_memory_map(struct vm *vm, bool log, struct error *e);
/* Sets up how changes are tracked, before vCPUs are made. memory.c */
void kvm_memory_prepare(struct vm *vm);
void kvm_memory_finish(struct vm *vm);
int kvm_memory_map_ring(struct engine_vcpu *vcpu);
/* Takes the marks from all rings; any vCPU's thread, or the collector. memory.c */
void kvm_memory_harvest(struct vm *vm);

/* Writes of the guest's that its processor may leave in a ring. posted.c */
void kvm_posted_prepare(struct vm *vm, uint16_t port);
void kvm_posted_finish(struct vm *vm);
/* Any thread, when it runs no more. */
void kvm_posted_vcpu_finish(struct engine_vcpu *vcpu);
/* After each KVM_RUN, before its exit is served: what is in the ring is written. The vCPU's thread, as the next two. */
void kvm_posted_take(struct engine_vcpu *vcpu);
/* A run ends. */
void kvm_posted_end(struct engine_vcpu *vcpu);
/* A byte came to the port by an exit. */
void kvm_posted_written(struct engine_vcpu *vcpu);

/* The guest is told that `ns` more were stolen; the vCPU's thread, outside of a run. False: it does not want to know. steal.c */
bool kvm_steal(struct engine_vcpu *vcpu, uint64_t ns);

/* Lines, messages, doorbells. messages.c */
void kvm_messages_init(struct vm *vm);
void kvm_messages_finish(struct vm *vm);

/* state.c: engine.h's store_state and state_loaded. */
int kvm_store_state(struct engine_vcpu *vcpu, struct error *e);
int kvm_state_loaded(struct engine_vcpu *vcpu, struct error *e);
/* CPUID of the CPU's, before it runs: it decides what else KVM takes. */
MUST_USE int kvm_give_cpuid(struct engine_vcpu *vcpu, struct error *e);
/* Only what x86_cpu_log shows. */
void kvm_store_visible(struct engine_vcpu *vcpu);
/* msrs.c */
MUST_USE int kvm_store_msrs(struct engine_vcpu *vcpu, struct error *e);
MUST_USE int kvm_load_msrs(struct engine_vcpu *vcpu, struct error *e);
int kvm_get_msr(struct engine_vcpu *vcpu, uint32_t index, uint64_t *value);
int kvm_set_msr(struct engine_vcpu *vcpu, uint32_t index, uint64_t value);

/* The paravirtual clock and the time stamp counters follow the machine's. time.c */
void kvm_time_init(struct vm *vm);
/* Counter and timer of a CPU whose state was loaded. */
void kvm_time_cpu_loaded(struct engine_vcpu *vcpu);
void kvm_time_cpu_stored(struct engine_vcpu *vcpu);
void kvm_time_chips_loaded(struct vm *vm);
void kvm_time_chips_stored(struct vm *vm);

/* What an exit asks for. False: *out tells the machine. exits.c */
bool kvm_serve_exit(struct engine_vcpu *vcpu, struct engine_exit *out);
/* KVM_RUN itself failed with this errno. exits.c */
void kvm_report_error(struct engine_vcpu *vcpu, int code, struct engine_exit *out);

/* statistics.c */
void kvm_statistics_open(struct engine_vcpu *vcpu);
void kvm_statistics_close(struct engine_vcpu *vcpu);
void kvm_statistics(const struct engine_vcpu *vcpu, struct engine_statistics *out);
bool kvm_is_blocked(const struct engine_vcpu *vcpu);

#endif
