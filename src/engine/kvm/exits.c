/* Why KVM_RUN returned, and what is done about it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "engine/kvm/private.h"

/* The guest can not go on: `out` tells why, the log tells where it was. Not a matter of rate: it ends the machine. */
static bool PRINTF_LIKE(3, 4) fail(struct engine_vcpu *vcpu, struct engine_exit *out, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(out->message, sizeof out->message, format, arguments);
	va_end(arguments);
	out->reason = ENGINE_EXIT_FAILED;
	log_line(LOG_ERROR, "kvm", "CPU %u: %s", vcpu->cpu->cpu.id, out->message);
	kvm_store_visible(vcpu);
	x86_cpu_log(vcpu->cpu);
	return false;
}

/* Where nothing answers, a bus reads as ones and writes are lost. */
static void access_bus(struct bus *bus, uint64_t address, uint8_t *data, unsigned size, bool write)
{
	uint64_t value = 0;
	int r;

	memcpy(&value, data, size);
	r = write ? bus_write(bus, gpa(address), size, value) : bus_read(bus, gpa(address), size, &value);
	if (write)
		return;
	if (r < 0)
		value = UINT64_MAX;
	memcpy(data, &value, size);
}

/* An access that is not aligned, or of no size of a bus's, is one of bytes. */
static void access_any(struct bus *bus, uint64_t address, uint8_t *data, unsigned size, bool write)
{
	if (size && size <= 8 && (size & (size - 1)) == 0 && (address & (size - 1)) == 0) {
		access_bus(bus, address, data, size, write);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		access_bus(bus, address + i, data + i, 1, write);
}

static bool serve_port(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	const struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)vcpu->run + run->io.data_offset;
	uint64_t bytes = (uint64_t)run->io.size * run->io.count;

	if (run->io.data_offset > vcpu->vm->run_bytes || bytes > vcpu->vm->run_bytes - run->io.data_offset)
		return fail(vcpu, out, "the host's KVM tells of a port access beyond its page");
	if (run->io.port == vcpu->vm->posted.port && bytes == 1 && run->io.direction == KVM_EXIT_IO_OUT)
		kvm_posted_written(vcpu);
	for (uint32_t i = 0; i < run->io.count; i++)
		access_any(vcpu->vm->platform.ports, run->io.port, data + i * run->io.size, run->io.size,
			   run->io.direction == KVM_EXIT_IO_OUT);
	vcpu->unfinished = true;
	return true;
}

static bool serve_mmio(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.len > sizeof run->mmio.data)
		return fail(vcpu, out, "the host's KVM tells of an access of %u bytes", run->mmio.len);
	access_any(vcpu->vm->platform.bus, run->mmio.phys_addr, run->mmio.data, run->mmio.len, run->mmio.is_write);
	vcpu->unfinished = true;
	return true;
}

static bool serve_event(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	static const enum power_action actions[] = {
		[KVM_SYSTEM_EVENT_SHUTDOWN] = POWER_OFF,
		[KVM_SYSTEM_EVENT_RESET] = POWER_RESET,
		[KVM_SYSTEM_EVENT_CRASH] = POWER_CRASH,
	};
	uint32_t type = vcpu->run->system_event.type;

	if (type >= ARRAY_SIZE(actions) || actions[type] == POWER_NONE)
		return fail(vcpu, out, "the host's KVM tells of an unknown event %u of the machine", type);
	power_request(&vcpu->vm->platform.power, actions[type], 0);
	return true;
}

static bool serve_internal_error(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	static const char *const names[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "it can not emulate an instruction of the guest's",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "exceptions came at once",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an event could not be delivered",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "the processor left guest code for an unknown reason",
	};
	const struct kvm_run *run = vcpu->run;
	uint32_t kind = run->internal.suberror, words = run->internal.ndata;
	const char *name = kind < ARRAY_SIZE(names) ? names[kind] : NULL;

	for (uint32_t i = 0; i < words && i < ARRAY_SIZE(run->internal.data); i++)
		log_line(LOG_ERROR, "kvm", "data of the internal error, word %u: %016llx", i,
			  (unsigned long long)run->internal.data[i]);
	return fail(vcpu, out, "the host's KVM had an internal error (%u: %s)", kind, name ? name : "unknown");
}

static bool serve_shutdown(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	return fail(vcpu, out, "the guest's processor shut down: a triple fault");
}

static bool serve_failed_entry(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	return fail(vcpu, out, "the processor refuses the guest's state (reason 0x%llx)",
		    (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
}

static bool serve_unknown(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	return fail(vcpu, out, "the processor left guest code for a reason unknown to KVM (0x%llx)",
		    (unsigned long long)vcpu->run->hw.hardware_exit_reason);
}

static bool serve_full_ring(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	kvm_memory_harvest(vcpu->vm);
	return true;
}

static bool serve_nothing(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)vcpu;
	(void)out;
	return true;
}

static bool (*const served[])(struct engine_vcpu *vcpu, struct engine_exit *out) = {
	[KVM_EXIT_UNKNOWN] = serve_unknown,
	[KVM_EXIT_IO] = serve_port,
	[KVM_EXIT_MMIO] = serve_mmio,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = serve_nothing,
	[KVM_EXIT_INTR] = serve_nothing,
	[KVM_EXIT_SHUTDOWN] = serve_shutdown,
	[KVM_EXIT_FAIL_ENTRY] = serve_failed_entry,
	[KVM_EXIT_INTERNAL_ERROR] = serve_internal_error,
	[KVM_EXIT_SYSTEM_EVENT] = serve_event,
	[KVM_EXIT_DIRTY_RING_FULL] = serve_full_ring,
};

bool kvm_serve_exit(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	uint32_t reason = vcpu->run->exit_reason;

	if (reason < ARRAY_SIZE(served) && served[reason])
		return served[reason](vcpu, out);
	return fail(vcpu, out, "the host's KVM asks for what is not served here (exit %u)", reason);
}

void kvm_report_error(struct engine_vcpu *vcpu, int code, struct engine_exit *out)
{
	if (code == -EFAULT)
		fail(vcpu, out, "the host has lost memory of the guest's, or the guest runs where there is none");
	else
		fail(vcpu, out, "KVM_RUN failed: %s", strerror(-code));
}
