/*
 * Guest time: the paravirtual clock, the CPUs' time stamp counters and their deadline timers stand while the machine's clock
 * does.
 *
 * A counter is the host's (scaled, where rates differ) plus an offset. Where KVM takes offsets, all CPUs get theirs from one
 * reading of the host's counter, so what they were apart they stay, to the tick. Elsewhere values are written one
 * after the other, and KVM makes those alike that are meant alike.
 */
#include <string.h>
#include <x86intrin.h>

#include "engine/kvm/private.h"

static struct kvm_device_attr offset_attribute(uint64_t *offset)
{
	return (struct kvm_device_attr){
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)(uintptr_t)offset};
}

/* A scaled counter is not the host's plus its offset. */
static bool by_offset(const struct engine_vcpu *vcpu)
{
	return vcpu->vm->tsc_offset && (vcpu->cpu->tsc_khz == 0 || vcpu->cpu->tsc_khz == vcpu->vm->host_tsc_khz);
}

static void read_counter(struct engine_vcpu *vcpu, uint64_t host)
{
	uint64_t offset;
	struct kvm_device_attr attribute = offset_attribute(&offset);

	if (by_offset(vcpu) && kvm_call(vcpu->fd, KVM_GET_DEVICE_ATTR, &attribute) == 0)
		vcpu->cpu->tsc = host + offset;
	else
		(void)kvm_get_msr(vcpu, X86_MSR_TSC, &vcpu->cpu->tsc);
}

static void write_counter(struct engine_vcpu *vcpu, uint64_t host)
{
	uint64_t offset = vcpu->cpu->tsc - host, deadline;
	struct kvm_device_attr attribute = offset_attribute(&offset);

	if (!by_offset(vcpu) || kvm_call(vcpu->fd, KVM_SET_DEVICE_ATTR, &attribute) < 0)
		(void)kvm_set_msr(vcpu, X86_MSR_TSC, vcpu->cpu->tsc);
	/* When that is in the host's time was reckoned before. */
	if (kvm_get_msr(vcpu, X86_MSR_TSC_DEADLINE, &deadline) == 0 && deadline != 0)
		(void)kvm_set_msr(vcpu, X86_MSR_TSC_DEADLINE, deadline);
}

static void read_clock(struct vm *vm)
{
	struct kvm_clock_data clock = {.clock = 0};

	if (kvm_call(vm->fd, KVM_GET_CLOCK, &clock) == 0)
		vm->platform.chips.clock_ns = clock.clock;
}

static void write_clock(struct vm *vm)
{
	struct kvm_clock_data clock = {.clock = vm->platform.chips.clock_ns};

	(void)kvm_call(vm->fd, KVM_SET_CLOCK, &clock);
}

static void stands(struct vm *vm)
{
	uint64_t host = __rdtsc();

	for (unsigned i = 0; i < CPUS_MAX; i++)
		if (vm->vcpus[i])
			read_counter(vm->vcpus[i], host);
	read_clock(vm);
}

static void runs(struct vm *vm)
{
	uint64_t host = __rdtsc();

	for (unsigned i = 0; i < CPUS_MAX; i++) {
		if (!vm->vcpus[i])
			continue;
		write_counter(vm->vcpus[i], host);
		/* So that a watchdog of the guest does not take the pause for a hang; refused where it uses no such clock. */
		(void)kvm_call_value(vm->vcpus[i]->fd, KVM_KVMCLOCK_CTRL, 0);
	}
	write_clock(vm);
}

static void changed(void *opaque, bool clock_runs)
{
	if (clock_runs)
		runs(opaque);
	else
		stands(opaque);
}

void kvm_time_init(struct vm *vm)
{
	vm->clock_listener = (struct clock_listener){.changed = changed, .opaque = vm};
	vm->platform.clock->listener = &vm->clock_listener;
}

void kvm_time_cpu_loaded(struct engine_vcpu *vcpu)
{
	if (!vcpu->cpu->cpu.clock->stopped)
		write_counter(vcpu, __rdtsc());
}

void kvm_time_cpu_stored(struct engine_vcpu *vcpu)
{
	if (!vcpu->cpu->cpu.clock->stopped)
		read_counter(vcpu, __rdtsc());
}

void kvm_time_chips_loaded(struct vm *vm)
{
	if (!vm->platform.clock->stopped)
		write_clock(vm);
}

void kvm_time_chips_stored(struct vm *vm)
{
	if (!vm->platform.clock->stopped)
		read_clock(vm);
}
