/* A CPU's state out of KVM and into it, in an order that it takes (each step says what it needs before). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kvm/private.h"

static int get(struct engine_vcpu *vcpu, unsigned long request, void *argument, const char *what, struct error *e)
{
	int r = kvm_call(vcpu->fd, request, argument);

	return r < 0 ? error_errno(e, r, "KVM does not tell %s of CPU %u", what, vcpu->cpu->cpu.id) : 0;
}

static int set(struct engine_vcpu *vcpu, unsigned long request, void *argument, const char *what, struct error *e)
{
	int r = kvm_call(vcpu->fd, request, argument);

	return r < 0 ? error_errno(e, r, "this host refuses %s of CPU %u", what, vcpu->cpu->cpu.id) : 0;
}

/* KVM's names of the registers, in the architecture's order. */
#define REGISTERS(F)                                                                                               \
	F(X86_RAX, rax) F(X86_RCX, rcx) F(X86_RDX, rdx) F(X86_RBX, rbx) F(X86_RSP, rsp) F(X86_RBP, rbp)                \
	F(X86_RSI, rsi) F(X86_RDI, rdi) F(X86_R8, r8) F(X86_R9, r9) F(X86_R10, r10) F(X86_R11, r11)                    \
	F(X86_R12, r12) F(X86_R13, r13) F(X86_R14, r14) F(X86_R15, r15)

static int store_registers(struct engine_vcpu *vcpu, struct error *e)
{
	struct x86_cpu *cpu = vcpu->cpu;
	struct kvm_regs regs;
	int r = get(vcpu, KVM_GET_REGS, &regs, "the registers", e);

	if (r < 0)
		return r;
#define F(number, name) cpu->registers[number] = regs.name;
	REGISTERS(F)
#undef F
	cpu->rip = regs.rip;
	cpu->rflags = regs.rflags;
	return 0;
}

static int load_registers(struct engine_vcpu *vcpu, struct error *e)
{
	const struct x86_cpu *cpu = vcpu->cpu;
	struct kvm_regs regs = {.rip = cpu->rip, .rflags = cpu->rflags};

#define F(number, name) regs.name = cpu->registers[number];
	REGISTERS(F)
#undef F
	return set(vcpu, KVM_SET_REGS, &regs, "the registers", e);
}

/* Where each bit of a segment's attributes is. */
static struct x86_segment from_kvm(const struct kvm_segment *s)
{
	return (struct x86_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.attributes = (s->type & 0xfu) | (s->s ? X86_SEGMENT_CODE : 0) | (s->dpl & 3u) << 5 |
			      (s->present ? X86_SEGMENT_PRESENT : 0) | (s->avl ? X86_SEGMENT_AVL : 0) |
			      (s->l ? X86_SEGMENT_LONG : 0) | (s->db ? X86_SEGMENT_32 : 0) |
			      (s->g ? X86_SEGMENT_PAGES : 0) | (s->unusable ? X86_SEGMENT_UNUSABLE : 0),
	};
}

static struct kvm_segment to_kvm(const struct x86_segment *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attributes & X86_SEGMENT_TYPE,
		.s = !!(s->attributes & X86_SEGMENT_CODE),
		.dpl = (s->attributes & X86_SEGMENT_DPL) >> 5,
		.present = !!(s->attributes & X86_SEGMENT_PRESENT),
		.avl = !!(s->attributes & X86_SEGMENT_AVL),
		.l = !!(s->attributes & X86_SEGMENT_LONG),
		.db = !!(s->attributes & X86_SEGMENT_32),
		.g = !!(s->attributes & X86_SEGMENT_PAGES),
		.unusable = !!(s->attributes & X86_SEGMENT_UNUSABLE),
	};
}

#define SEGMENTS(F)                                                                                                \
	F(X86_ES, es) F(X86_CS, cs) F(X86_SS, ss) F(X86_DS, ds) F(X86_FS, fs) F(X86_GS, gs) F(X86_LDTR, ldt) F(X86_TR, tr)
#define CONTROLS(F) F(cr0) F(cr2) F(cr3) F(cr4) F(cr8) F(efer) F(apic_base)

/* struct kvm_sregs2 and struct kvm_sregs name these alike. */
#define FROM_SREGS(cpu, sregs)                                                                                     \
	do {                                                                                                       \
		SEGMENTS(SEGMENT_FROM)                                                                             \
		CONTROLS(CONTROL_FROM)                                                                             \
		(cpu)->gdt = (struct x86_table){(sregs).gdt.base, (sregs).gdt.limit};                              \
		(cpu)->idt = (struct x86_table){(sregs).idt.base, (sregs).idt.limit};                              \
	} while (0)
#define SEGMENT_FROM(number, name) cpu->segments[number] = from_kvm(&sregs.name);
#define CONTROL_FROM(name)         cpu->name = sregs.name;
#define TO_SREGS(cpu, sregs)                                                                                       \
	do {                                                                                                       \
		SEGMENTS(SEGMENT_TO)                                                                               \
		CONTROLS(CONTROL_TO)                                                                               \
		(sregs).gdt = (struct kvm_dtable){.base = (cpu)->gdt.base, .limit = (cpu)->gdt.limit};             \
		(sregs).idt = (struct kvm_dtable){.base = (cpu)->idt.base, .limit = (cpu)->idt.limit};             \
	} while (0)
#define SEGMENT_TO(number, name) sregs.name = to_kvm(&cpu->segments[number]);
#define CONTROL_TO(name)         sregs.name = cpu->name;

static int store_controls_with_pdptrs(struct engine_vcpu *vcpu, struct error *e)
{
	struct x86_cpu *cpu = vcpu->cpu;
	struct kvm_sregs2 sregs;
	int r = get(vcpu, KVM_GET_SREGS2, &sregs, "the control registers", e);

	if (r < 0)
		return r;
	FROM_SREGS(cpu, sregs);
	cpu->pdptrs_valid = sregs.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	memset(cpu->pdptrs, 0, sizeof cpu->pdptrs);
	if (cpu->pdptrs_valid)
		memcpy(cpu->pdptrs, sregs.pdptrs, sizeof cpu->pdptrs);
	return 0;
}

static int store_controls(struct engine_vcpu *vcpu, struct error *e)
{
	struct x86_cpu *cpu = vcpu->cpu;
	struct kvm_sregs sregs;
	int r;

	if (vcpu->vm->sregs2)
		return store_controls_with_pdptrs(vcpu, e);
	r = get(vcpu, KVM_GET_SREGS, &sregs, "the control registers", e);
	if (r < 0)
		return r;
	FROM_SREGS(cpu, sregs);
	cpu->pdptrs_valid = false;
	return 0;
}

/* After CPUID, by which KVM judges the bits of CR4 and EFER. */
static int load_controls(struct engine_vcpu *vcpu, struct error *e)
{
	const struct x86_cpu *cpu = vcpu->cpu;

	if (vcpu->vm->sregs2) {
		struct kvm_sregs2 sregs = {.flags = cpu->pdptrs_valid ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0};

		TO_SREGS(cpu, sregs);
		memcpy(sregs.pdptrs, cpu->pdptrs, sizeof cpu->pdptrs);
		return set(vcpu, KVM_SET_SREGS2, &sregs, "the control registers", e);
	} else {
		struct kvm_sregs sregs = {.apic_base = 0};

		TO_SREGS(cpu, sregs);
		return set(vcpu, KVM_SET_SREGS, &sregs, "the control registers", e);
	}
}

static int store_extended(struct engine_vcpu *vcpu, struct error *e)
{
	struct x86_cpu *cpu = vcpu->cpu;
	bool large = vcpu->vm->xsave_bytes > sizeof(struct kvm_xsave);
	struct kvm_xcrs xcrs = {.nr_xcrs = 0};
	int r;

	memset(cpu->xsave, 0, sizeof cpu->xsave);
	r = get(vcpu, large ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, cpu->xsave, "the float and vector registers", e);
	if (r == 0 && vcpu->vm->xcrs)
		r = get(vcpu, KVM_GET_XCRS, &xcrs, "XCR0", e);
	if (r < 0)
		return r;
	cpu->xcr0 = 1;
	for (uint32_t i = 0; i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; i++)
		if (xcrs.xcrs[i].xcr == 0)
			cpu->xcr0 = xcrs.xcrs[i].value;
	return 0;
}

static int load_extended(struct engine_vcpu *vcpu, struct error *e)
{
	struct x86_cpu *cpu = vcpu->cpu;
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = cpu->xcr0}}};
	int r;

	for (uint32_t at = vcpu->vm->xsave_bytes; at < X86_XSAVE_SIZE; at++)
		if (cpu->xsave[at])
			return error_set(e, ERROR_FAILED, -EOPNOTSUPP,
					 "this host lacks vector registers that CPU %u uses: its XSAVE area has %u bytes",
					 cpu->cpu.id, vcpu->vm->xsave_bytes);
	r = set(vcpu, KVM_SET_XSAVE, cpu->xsave, "the float and vector registers", e);
	/* A processor without XSAVE has no such register either. */
	return r < 0 || cpu->xcr0 == 1 ? r : set(vcpu, KVM_SET_XCRS, &xcrs, "XCR0", e);
}

static int store_debug(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_debugregs debug;
	int r = get(vcpu, KVM_GET_DEBUGREGS, &debug, "the debug registers", e);

	if (r < 0)
		return r;
	memcpy(vcpu->cpu->dr, debug.db, sizeof vcpu->cpu->dr);
	vcpu->cpu->dr6 = debug.dr6;
	vcpu->cpu->dr7 = debug.dr7;
	return 0;
}

static int load_debug(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_debugregs debug = {.dr6 = vcpu->cpu->dr6, .dr7 = vcpu->cpu->dr7};

	memcpy(debug.db, vcpu->cpu->dr, sizeof debug.db);
	return set(vcpu, KVM_SET_DEBUGREGS, &debug, "the debug registers", e);
}

static int store_events(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_vcpu_events from;
	int r = get(vcpu, KVM_GET_VCPU_EVENTS, &from, "the events", e);

	if (r < 0)
		return r;
	vcpu->cpu->events = (struct x86_events){
		.exception_injected = from.exception.injected,
		.exception_pending = from.exception.pending,
		.exception = from.exception.nr,
		.exception_has_code = from.exception.has_error_code,
		.exception_code = from.exception.error_code,
		.exception_has_payload = from.exception_has_payload,
		.exception_payload = from.exception_payload,
		.interrupt_injected = from.interrupt.injected,
		.interrupt_soft = from.interrupt.soft,
		.interrupt = from.interrupt.nr,
		.shadow = from.interrupt.shadow & 3,
		.nmi_injected = from.nmi.injected,
		.nmi_pending = from.nmi.pending,
		.nmi_masked = from.nmi.masked,
		.startup_vector = from.sipi_vector,
		.smm = from.smi.smm,
		.smi_pending = from.smi.pending,
		.smm_inside_nmi = from.smi.smm_inside_nmi,
		.init_latched = from.smi.latched_init,
		.triple_fault_pending = from.triple_fault.pending,
	};
	return 0;
}

/* After the registers, which take pending exceptions away, and after the processor's state. */
static int load_events(struct engine_vcpu *vcpu, struct error *e)
{
	const struct x86_events *from = &vcpu->cpu->events;
	bool apart = vcpu->vm->payloads;
	struct kvm_vcpu_events to = {
		/* A host that does not tell pending ones from others takes both as the others. */
		.exception = {.injected = from->exception_injected || (from->exception_pending && !apart),
			      .pending = from->exception_pending && apart,
			      .nr = from->exception,
			      .has_error_code = from->exception_has_code,
			      .error_code = from->exception_code},
		.interrupt = {.injected = from->interrupt_injected,
			      .soft = from->interrupt_soft,
			      .nr = from->interrupt,
			      .shadow = from->shadow},
		.nmi = {.injected = from->nmi_injected, .pending = from->nmi_pending, .masked = from->nmi_masked},
		.sipi_vector = from->startup_vector,
		.smi = {.smm = from->smm,
			.pending = from->smi_pending,
			.smm_inside_nmi = from->smm_inside_nmi,
			.latched_init = from->init_latched},
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			 KVM_VCPUEVENT_VALID_SHADOW,
	};

	if (apart) {
		to.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
		to.exception_has_payload = from->exception_has_payload;
		to.exception_payload = from->exception_payload;
	}
	if (vcpu->vm->triple_faults) {
		to.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		to.triple_fault.pending = from->triple_fault_pending;
	}
	if (from->smm || from->smi_pending || from->smm_inside_nmi || from->init_latched || vcpu->ran)
		to.flags |= KVM_VCPUEVENT_VALID_SMM;
	return set(vcpu, KVM_SET_VCPU_EVENTS, &to, "the events", e);
}

/* After APIC_BASE, whose mode says how the page is meant. */
static int load_lapic(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_lapic_state state;

	_Static_assert(sizeof state.regs == X86_LAPIC_SIZE, "the registers of a local APIC");
	memcpy(state.regs, vcpu->cpu->lapic, sizeof state.regs);
	return set(vcpu, KVM_SET_LAPIC, &state, "the local APIC", e);
}

static int store_lapic(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_lapic_state state;
	int r = get(vcpu, KVM_GET_LAPIC, &state, "the local APIC", e);

	if (r == 0)
		memcpy(vcpu->cpu->lapic, state.regs, sizeof state.regs);
	return r;
}

static const uint32_t mp_states[X86_POWERS] = {
	[X86_RUNNING] = KVM_MP_STATE_RUNNABLE,
	[X86_WAITS_FOR_INIT] = KVM_MP_STATE_UNINITIALIZED,
	[X86_WAITS_FOR_START] = KVM_MP_STATE_INIT_RECEIVED,
	[X86_HALTED] = KVM_MP_STATE_HALTED,
	[X86_STARTS] = KVM_MP_STATE_SIPI_RECEIVED,
};

static int store_power(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_mp_state state;
	int r = get(vcpu, KVM_GET_MP_STATE, &state, "the state", e);

	for (uint8_t i = 0; r == 0 && i < X86_POWERS; i++)
		if (mp_states[i] == state.mp_state)
			vcpu->cpu->power = i;
	return r;
}

static int load_power(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_mp_state state = {.mp_state = mp_states[vcpu->cpu->power]};

	return set(vcpu, KVM_SET_MP_STATE, &state, "the state", e);
}

/* The timer's deadline counts only once the APIC is in that mode, so it comes after the page. */
static int load_deadline(struct engine_vcpu *vcpu, struct error *e)
{
	uint64_t deadline;
	int r;

	if (!x86_cpu_get_msr(vcpu->cpu, X86_MSR_TSC_DEADLINE, &deadline) || deadline == 0)
		return 0;
	r = kvm_set_msr(vcpu, X86_MSR_TSC_DEADLINE, deadline);
	return r < 0 ? error_errno(e, r, "this host refuses the timer's deadline of CPU %u", vcpu->cpu->cpu.id) : 0;
}

static struct kvm_cpuid2 *cpuid_for_kvm(const struct x86_cpuid *cpuid)
{
	struct kvm_cpuid2 *list = calloc(1, sizeof *list + X86_CPUID_MAX * sizeof list->entries[0]);

	for (uint32_t i = 0; list && i < cpuid->count; i++) {
		const struct x86_cpuid_entry *from = &cpuid->entries[i];

		list->entries[list->nent++] = (struct kvm_cpuid_entry2){
			.function = from->function,
			.index = from->index,
			.flags = from->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = from->registers[CPUID_EAX],
			.ebx = from->registers[CPUID_EBX],
			.ecx = from->registers[CPUID_ECX],
			.edx = from->registers[CPUID_EDX],
		};
	}
	return list;
}

/* KVM takes it only before the vCPU has run. */
int kvm_give_cpuid(struct engine_vcpu *vcpu, struct error *e)
{
	const struct x86_cpuid *cpuid = &vcpu->cpu->cpuid;
	struct kvm_cpuid2 *list;
	int r;

	if (memcmp(cpuid, &vcpu->given, sizeof *cpuid) == 0)
		return 0;
	if (vcpu->ran)
		return error_set(e, ERROR_STATE, -EBUSY,
				 "CPU %u has run already and its CPUID can not change; load into a new machine",
				 vcpu->cpu->cpu.id);
	r = x86_cpuid_check(cpuid, &vcpu->vm->host_cpuid, e);
	if (r < 0)
		return r;
	list = cpuid_for_kvm(cpuid);
	r = list ? set(vcpu, KVM_SET_CPUID2, list, "CPUID", e) : error_errno(e, -ENOMEM, "CPUID");
	free(list);
	if (r == 0)
		vcpu->given = *cpuid;
	return r;
}

/* Within this many millionths a guest does not notice that the rate is another. */
#define RATE_TOLERANCE 250

static int load_rate(struct engine_vcpu *vcpu, struct error *e)
{
	uint64_t wanted = vcpu->cpu->tsc_khz, host = vcpu->vm->host_tsc_khz, apart;

	if (wanted == 0 || host == 0)
		return 0;
	apart = wanted > host ? wanted - host : host - wanted;
	if (apart * 1000000 <= host * RATE_TOLERANCE) {
		vcpu->cpu->tsc_khz = (uint32_t)host;
		return 0;
	}
	if (kvm_call_value(vcpu->fd, KVM_SET_TSC_KHZ, wanted) == 0)
		return 0;
	return error_set(e, ERROR_FAILED, -EOPNOTSUPP,
			 "this host can not run a time stamp counter at %llu kHz: its own runs at %llu, and it does not scale",
			 (unsigned long long)wanted, (unsigned long long)host);
}

typedef int (*state_step)(struct engine_vcpu *vcpu, struct error *e);

static const state_step store_steps[] = {
	/* First: it makes KVM take startup messages that wait. */
	store_power,
	store_registers, store_controls, store_extended, kvm_store_msrs, store_lapic, store_events, store_debug,
};
static const state_step load_steps[] = {
	kvm_give_cpuid, load_rate, load_controls, load_registers, load_extended, kvm_load_msrs,
	load_lapic, load_deadline, load_power, load_events, load_debug,
};

int kvm_store_state(struct engine_vcpu *vcpu, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(store_steps); i++) {
		int r = store_steps[i](vcpu, e);

		if (r < 0)
			return r;
	}
	kvm_time_cpu_stored(vcpu);
	return 0;
}

int kvm_state_loaded(struct engine_vcpu *vcpu, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(load_steps); i++) {
		int r = load_steps[i](vcpu, e);

		if (r < 0)
			return r;
	}
	kvm_time_cpu_loaded(vcpu);
	return 0;
}

void kvm_store_visible(struct engine_vcpu *vcpu)
{
	(void)store_registers(vcpu, NULL);
	(void)store_controls(vcpu, NULL);
}
