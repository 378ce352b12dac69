#include "x86/cpu.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "x86/platform.h"

#define U64(member) STATE_FIELD(struct x86_cpu, member, STATE_U64)
#define U32(member) STATE_FIELD(struct x86_cpu, member, STATE_U32)
#define U16(member) STATE_FIELD(struct x86_cpu, member, STATE_U16)
#define U8(member)  STATE_FIELD(struct x86_cpu, member, STATE_U8)
#define BOOL(member) STATE_FIELD(struct x86_cpu, member, STATE_BOOL)
#define EACH(array, member, type) STATE_FIELD_EACH(struct x86_cpu, array, member, type)

static const struct state_field fields[] = {
	U64(registers), U64(rip), U64(rflags),
	EACH(segments, base, STATE_U64), EACH(segments, limit, STATE_U32), EACH(segments, attributes, STATE_U32),
	EACH(segments, selector, STATE_U16),
	U64(gdt.base), U16(gdt.limit), U64(idt.base), U16(idt.limit),
	U64(cr0), U64(cr2), U64(cr3), U64(cr4), U64(cr8), U64(efer), U64(apic_base),
	BOOL(pdptrs_valid), U64(pdptrs), U64(dr), U64(dr6), U64(dr7), U64(xcr0), U8(xsave),
	U32(msr_count), EACH(msrs, index, STATE_U32), EACH(msrs, value, STATE_U64),
	BOOL(events.exception_injected), BOOL(events.exception_pending), BOOL(events.exception_has_code),
	BOOL(events.exception_has_payload), U8(events.exception), U32(events.exception_code),
	U64(events.exception_payload), BOOL(events.interrupt_injected), BOOL(events.interrupt_soft),
	U8(events.interrupt), U8(events.shadow), BOOL(events.nmi_injected), BOOL(events.nmi_pending),
	BOOL(events.nmi_masked), U32(events.startup_vector), BOOL(events.smm), BOOL(events.smi_pending),
	BOOL(events.smm_inside_nmi), BOOL(events.init_latched), BOOL(events.triple_fault_pending),
	U8(lapic), U8(power), U64(tsc), U32(tsc_khz),
	U32(cpuid.count), EACH(cpuid.entries, function, STATE_U32), EACH(cpuid.entries, index, STATE_U32),
	EACH(cpuid.entries, indexed, STATE_BOOL), EACH(cpuid.entries, registers, STATE_U32),
};

static int bad(struct error *e, const char *what, uint64_t value)
{
	return error_set(e, ERROR_FAILED, -EINVAL, "the saved CPU has %s %" PRIu64, what, value);
}

/* What this program relies on; the rest is for the engine's host to judge. */
static int validate(const void *shadow, struct error *e)
{
	const struct x86_cpu *cpu = shadow;

	if (cpu->msr_count > X86_MSRS_MAX)
		return bad(e, "too many model-specific registers:", cpu->msr_count);
	for (uint32_t i = 1; i < cpu->msr_count; i++)
		if (cpu->msrs[i].index <= cpu->msrs[i - 1].index)
			return bad(e, "model-specific registers out of order at", cpu->msrs[i].index);
	if (cpu->cpuid.count == 0 || cpu->cpuid.count > X86_CPUID_MAX)
		return bad(e, "a CPUID whose number of entries is", cpu->cpuid.count);
	if (cpu->power >= X86_POWERS)
		return bad(e, "a state that does not exist:", cpu->power);
	if (cpu->events.shadow > 3)
		return bad(e, "an interrupt shadow that does not exist:", cpu->events.shadow);
	for (unsigned i = 0; i < X86_SEGMENTS; i++)
		if (cpu->segments[i].attributes & ~(X86_SEGMENT_UNUSABLE | 0xf0ffu))
			return bad(e, "impossible attributes of a segment:", cpu->segments[i].attributes);
	return 0;
}

const struct state_descriptor x86_cpu_state = {
	.kind = "x86.cpu",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct x86_cpu),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

static void kick(struct cpu *cpu)
{
	struct x86_cpu *own = x86_cpu_of(cpu);

	if (own->engine_vcpu)
		own->engine->kick(own->engine_vcpu);
}

static bool asleep(struct cpu *cpu)
{
	struct x86_cpu *own = x86_cpu_of(cpu);

	return own->engine_vcpu && own->engine->asleep(own->engine_vcpu);
}

static bool stolen(struct cpu *cpu, uint64_t ns)
{
	const struct x86_cpu *x86 = x86_cpu_of(cpu);

	return x86->engine && x86->engine->stolen && x86->engine->stolen(x86->engine_vcpu, ns);
}

const struct cpu_type x86_cpu_type = {
	.state = &x86_cpu_state,
	.offset = offsetof(struct x86_cpu, cpu),
	.kick = kick,
	.asleep = asleep,
	.stolen = stolen,
	.waits_are_told = true,
};

struct x86_cpu *x86_cpu_new(struct x86_platform *platform)
{
	struct x86_cpu *cpu = calloc(1, sizeof *cpu);

	assert(platform->cpu_count < platform->cpus_most);
	if (!cpu)
		return NULL;
	cpu->cpu = (struct cpu){.type = &x86_cpu_type, .clock = platform->clock, .id = platform->cpu_count};
	cpu->platform = platform;
	cpu->cpuid = platform->cpuid;
	x86_cpuid_personalize(&cpu->cpuid, cpu->cpu.id);
	platform->cpus[platform->cpu_count++] = cpu;
	x86_cpu_reset(cpu);
	return cpu;
}

void x86_cpu_free(struct x86_cpu *cpu)
{
	if (!cpu)
		return;
	cpu->platform->cpus[cpu->cpu.id] = NULL;
	free(cpu);
}

#define APIC_BASE_FIRST  (UINT64_C(1) << 8)
#define APIC_BASE_ENABLE (UINT64_C(1) << 11)

#define LAPIC_ID      0x20
#define LAPIC_VERSION 0x30
#define LAPIC_DFR     0xe0
#define LAPIC_SVR     0xf0
#define LAPIC_LVT     0x320
#define LAPIC_LINT0   0x350
#define LAPIC_LINT1   0x360

#define LVT_MASKED   0x10000u
#define LVT_NMI      0x400u
#define LVT_EXTERNAL 0x700u

static void put_lapic(struct x86_cpu *cpu, unsigned at, uint32_t value)
{
	le32_t wire = le32_put(value);

	memcpy(cpu->lapic + at, &wire, sizeof wire);
}

static void reset_lapic(struct x86_cpu *cpu)
{
	put_lapic(cpu, LAPIC_ID, cpu->cpu.id << 24);
	put_lapic(cpu, LAPIC_VERSION, 0x50014);
	put_lapic(cpu, LAPIC_DFR, UINT32_MAX);
	put_lapic(cpu, LAPIC_SVR, 0xff);
	for (unsigned at = LAPIC_LVT; at <= LAPIC_LVT + 0x50; at += 0x10)
		put_lapic(cpu, at, LVT_MASKED);
	if (cpu->cpu.id == 0) {
		put_lapic(cpu, LAPIC_LINT0, LVT_EXTERNAL);
		put_lapic(cpu, LAPIC_LINT1, LVT_NMI);
	}
	cpu->apic_base = X86_LAPIC_BASE | APIC_BASE_ENABLE | (cpu->cpu.id == 0 ? APIC_BASE_FIRST : 0);
}

#define SEGMENT_DATA (X86_SEGMENT_CODE | X86_SEGMENT_PRESENT | 3)
#define SEGMENT_TEXT (X86_SEGMENT_CODE | X86_SEGMENT_PRESENT | 11)
#define SEGMENT_LDT  (X86_SEGMENT_PRESENT | 2)
#define SEGMENT_TSS  (X86_SEGMENT_PRESENT | 11) /* busy, of 32 or 64 bits */

static void reset_segments(struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < X86_SEGMENTS; i++)
		cpu->segments[i] = (struct x86_segment){.limit = 0xffff, .attributes = SEGMENT_DATA};
	cpu->segments[X86_CS] = (struct x86_segment){
		.base = 0xffff0000, .limit = 0xffff, .attributes = SEGMENT_TEXT, .selector = 0xf000};
	cpu->segments[X86_LDTR].attributes = SEGMENT_LDT;
	cpu->segments[X86_TR].attributes = SEGMENT_TSS;
	cpu->gdt.limit = cpu->idt.limit = 0xffff;
}

#define FCW_AT      0
#define MXCSR_AT    24
#define XSTATE_AT   512
#define MTRR_ENABLE (UINT64_C(1) << 11)
#define MTRR_BACK   UINT64_C(6)

static void reset_float(struct x86_cpu *cpu)
{
	const le16_t control = le16_put(0x40);
	const le32_t mxcsr = le32_put(0x1f80);

	memcpy(cpu->xsave + FCW_AT, &control, sizeof control);
	memcpy(cpu->xsave + MXCSR_AT, &mxcsr, sizeof mxcsr);
	cpu->xsave[XSTATE_AT] = 3; /* x87 and SSE are in the area */
	cpu->xcr0 = 1;
}

void x86_cpu_reset(struct x86_cpu *cpu)
{
	const struct x86_cpuid_entry *signature = x86_cpuid_find(&cpu->cpuid, 1, 0);

	/* What it is stays: CPUID, number, owners. */
	memset(cpu, 0, offsetof(struct x86_cpu, cpuid));
	cpu->rip = 0xfff0;
	cpu->rflags = X86_RFLAGS_FIXED;
	cpu->registers[X86_RDX] = signature ? signature->registers[CPUID_EAX] : 0;
	cpu->cr0 = X86_CR0_ET | X86_CR0_NW | X86_CR0_CD;
	cpu->dr6 = 0xffff0ff0;
	cpu->dr7 = 0x400;
	cpu->power = cpu->cpu.id == 0 ? X86_RUNNING : X86_WAITS_FOR_INIT;
	cpu->tsc_khz = cpu->platform->tsc_khz;
	reset_segments(cpu);
	reset_lapic(cpu);
	reset_float(cpu);
	x86_cpu_set_msr(cpu, X86_MSR_MTRR_DEFAULT, MTRR_ENABLE | MTRR_BACK);
}

/* Where an index is, or belongs. */
static uint32_t msr_place(const struct x86_cpu *cpu, uint32_t index)
{
	uint32_t at = 0;

	while (at < cpu->msr_count && cpu->msrs[at].index < index)
		at++;
	return at;
}

void x86_cpu_set_msr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	uint32_t at = msr_place(cpu, index);

	if (at == cpu->msr_count || cpu->msrs[at].index != index) {
		assert(cpu->msr_count < X86_MSRS_MAX);
		memmove(&cpu->msrs[at + 1], &cpu->msrs[at], (cpu->msr_count - at) * sizeof cpu->msrs[0]);
		cpu->msr_count++;
	}
	cpu->msrs[at] = (struct x86_msr){index, value};
}

bool x86_cpu_get_msr(const struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	uint32_t at = msr_place(cpu, index);

	if (at == cpu->msr_count || cpu->msrs[at].index != index)
		return false;
	*value = cpu->msrs[at].value;
	return true;
}

static void enter_flat(struct x86_cpu *cpu, uint32_t code_width)
{
	const uint32_t flat = X86_SEGMENT_PAGES;

	for (unsigned i = X86_ES; i <= X86_GS; i++)
		cpu->segments[i] = (struct x86_segment){.limit = UINT32_MAX,
							.attributes = SEGMENT_DATA | flat | X86_SEGMENT_32,
							.selector = 0x18};
	cpu->segments[X86_CS] = (struct x86_segment){
		.limit = UINT32_MAX, .attributes = SEGMENT_TEXT | flat | code_width, .selector = 0x10};
	cpu->segments[X86_TR] = (struct x86_segment){.limit = 0x67, .attributes = SEGMENT_TSS};
	cpu->segments[X86_LDTR] = (struct x86_segment){.attributes = SEGMENT_LDT | X86_SEGMENT_UNUSABLE};
	cpu->gdt = cpu->idt = (struct x86_table){0};
	/* Caches on, as firmware leaves them. */
	cpu->cr0 = X86_CR0_ET | X86_CR0_PE;
}

void x86_cpu_enter_protected(struct x86_cpu *cpu)
{
	enter_flat(cpu, X86_SEGMENT_32);
}

void x86_cpu_enter_long(struct x86_cpu *cpu, uint64_t cr3)
{
	enter_flat(cpu, X86_SEGMENT_LONG);
	cpu->cr3 = cr3;
	cpu->cr4 = X86_CR4_PAE;
	cpu->cr0 |= X86_CR0_PG;
	cpu->efer = X86_EFER_LME | X86_EFER_LMA;
}

#define HEX "%016" PRIx64

void x86_cpu_log(const struct x86_cpu *cpu)
{
	static const char *const names[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
	const uint64_t *r = cpu->registers;

	log_line(LOG_ERROR, "x86", "CPU %u: rip " HEX " rflags " HEX " cr0 " HEX " cr2 " HEX " cr3 " HEX " cr4 " HEX
		  " efer " HEX,
		  cpu->cpu.id, cpu->rip, cpu->rflags, cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4, cpu->efer);
	log_line(LOG_ERROR, "x86", "rax " HEX " rcx " HEX " rdx " HEX " rbx " HEX " rsp " HEX " rbp " HEX " rsi " HEX
		  " rdi " HEX, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
	log_line(LOG_ERROR, "x86", "r8 " HEX " r9 " HEX " r10 " HEX " r11 " HEX " r12 " HEX " r13 " HEX " r14 " HEX
		  " r15 " HEX, r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
	for (unsigned i = 0; i < X86_SEGMENTS; i += 4) {
		const struct x86_segment *s = &cpu->segments[i];

		log_line(LOG_ERROR, "x86",
			  "%s %04x " HEX " %08x %05x, %s %04x " HEX " %08x %05x, %s %04x " HEX
			  " %08x %05x, %s %04x " HEX " %08x %05x",
			  names[i], s[0].selector, s[0].base, s[0].limit, s[0].attributes, names[i + 1], s[1].selector,
			  s[1].base, s[1].limit, s[1].attributes, names[i + 2], s[2].selector, s[2].base, s[2].limit,
			  s[2].attributes, names[i + 3], s[3].selector, s[3].base, s[3].limit, s[3].attributes);
	}
	log_line(LOG_ERROR, "x86", "gdt " HEX " %04x idt " HEX " %04x", cpu->gdt.base, cpu->gdt.limit, cpu->idt.base,
		  cpu->idt.limit);
}
