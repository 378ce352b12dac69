#include "riscv/hart.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "riscv/pmp.h"
#include "riscv/sbi.h"

#define U64(member) STATE_FIELD(struct hart, member, STATE_U64)
#define U32(member) STATE_FIELD(struct hart, member, STATE_U32)
#define U8(member)  STATE_FIELD(struct hart, member, STATE_U8)
#define BOOL(member) STATE_FIELD(struct hart, member, STATE_BOOL)

static const struct state_field fields[] = {
	U64(x),        U64(f),         U64(pc),       U64(instret),  U8(priv),       BOOL(waiting),
	BOOL(reserved), U8(reserved_size), U64(reserved_address), U64(reserved_value), U8(fflags), U8(frm),
	U64(mstatus),  U64(medeleg),   U64(mideleg),  U64(mie),      U64(mtvec),     U64(mscratch),
	U64(mepc),     U64(mcause),    U64(mtval),    U64(menvcfg),  U32(mcounteren), U64(mcycle_offset),
	U64(minstret_offset), U8(pmpcfg), U64(pmpaddr), U64(stvec),  U64(sscratch),  U64(sepc),
	U64(scause),   U64(stval),     U64(satp),     U64(senvcfg),  U64(stimecmp),  U32(scounteren),
	U64(mip),      U64(mip_lines), U64(mtimecmp), U32(requests), U32(power),     U64(start_pc),
	U64(start_opaque), U64(sbi_sta_address), U32(sbi_pmu_started),
};

static int validate(const void *shadow, struct error *e)
{
	const struct hart *hart = shadow;

	if (hart->priv == 2 || hart->priv > PRIV_M)
		return error_set(e, ERROR_FAILED, -EINVAL, "privilege mode %u does not exist", hart->priv);
	if (hart->frm > 7 || hart->fflags > 31)
		return error_set(e, ERROR_FAILED, -EINVAL, "fcsr has bits that do not exist");
	if (hart->power > HART_SUSPENDED)
		return error_set(e, ERROR_FAILED, -EINVAL, "hart power state %u does not exist", hart->power);
	if (hart->x[0] != 0 || (hart->pc & 1))
		return error_set(e, ERROR_FAILED, -EINVAL, "x0 is not zero or pc is odd");
	if ((hart->mstatus & MSTATUS_MPP) == UINT64_C(2) << 11)
		return error_set(e, ERROR_FAILED, -EINVAL, "mstatus.MPP is 2, which does not exist");
	return 0;
}

const struct state_descriptor hart_state = {
	.kind = "riscv.hart",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct hart),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

void hart_init(struct hart *hart, struct hart_cluster *cluster, uint32_t id)
{
	memset(hart, 0, sizeof *hart);
	hart->cpu = (struct cpu){.type = &hart_cpu_type, .clock = cluster->clock, .id = id};
	hart->cluster = cluster;
	hart_reset(hart);
}

struct hart *hart_new(struct hart_cluster *cluster, uint32_t id)
{
	struct hart *hart = mmap(NULL, HART_ENGINE_AREA_AT + HART_ENGINE_AREA_SIZE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (hart == MAP_FAILED)
		return NULL;
	hart_init(hart, cluster, id);
	hart->has_engine_area = true;
	return hart;
}

void hart_free(struct hart *hart)
{
	if (hart)
		munmap(hart, HART_ENGINE_AREA_AT + HART_ENGINE_AREA_SIZE);
}

void hart_reset(struct hart *hart)
{
	struct hart fresh = {
		.cluster = hart->cluster,
		.engine = hart->engine,
		.engine_vcpu = hart->engine_vcpu,
		.has_engine_area = hart->has_engine_area,
		.pc = hart->cluster->reset_pc,
		.priv = PRIV_M,
		.mtimecmp = UINT64_MAX,
		.stimecmp = UINT64_MAX,
		.power = HART_STARTED,
		.cpu = hart->cpu,
	};

	memcpy(hart, &fresh, sizeof fresh);
	pmp_update(hart);
}

static void kick(struct cpu *cpu)
{
	struct hart *hart = hart_of(cpu);

	if (hart->engine)
		hart->engine->kick(hart);
}

void hart_loaded(struct hart *hart)
{
	pmp_update(hart);
}

static void loaded(struct cpu *cpu)
{
	hart_loaded(hart_of(cpu));
}

static bool stolen(struct cpu *cpu, uint64_t ns)
{
	return sbi_sta_add(hart_of(cpu), ns);
}

const struct cpu_type hart_cpu_type = {
	.state = &hart_state,
	.offset = offsetof(struct hart, cpu),
	.kick = kick,
	.loaded = loaded,
	.stolen = stolen,
};

void hart_set_line(struct hart *hart, enum riscv_interrupt line, bool level)
{
	if (!level) {
		atomic_fetch_and(&hart->mip_lines, ~IRQ_BIT(line));
		return;
	}
	if (!(atomic_fetch_or(&hart->mip_lines, IRQ_BIT(line)) & IRQ_BIT(line)))
		hart_kick(hart);
}

void hart_set_pending(struct hart *hart, uint64_t bits, bool level)
{
	if (!level) {
		atomic_fetch_and(&hart->mip, ~bits);
		return;
	}
	if (~atomic_fetch_or(&hart->mip, bits) & bits)
		hart_kick(hart);
}

static void set_bit(_Atomic uint64_t *word, uint64_t bit, bool on)
{
	bool is = atomic_load_explicit(word, memory_order_relaxed) & bit;

	if (on && !is)
		atomic_fetch_or(word, bit);
	else if (!on && is)
		atomic_fetch_and(word, ~bit);
}

uint64_t hart_update_timers(struct hart *hart, uint64_t now)
{
	uint64_t mtimecmp = atomic_load(&hart->mtimecmp);
	uint64_t next = mtimecmp > now ? mtimecmp : UINT64_MAX;

	set_bit(&hart->mip_lines, IRQ_BIT(IRQ_MTI), mtimecmp <= now);
	if (hart->menvcfg & ENVCFG_STCE) {
		set_bit(&hart->mip, IRQ_BIT(IRQ_STI), hart->stimecmp <= now);
		if (hart->stimecmp > now && hart->stimecmp < next)
			next = hart->stimecmp;
	}
	return next;
}

/* HSM hart_start: the hart begins as firmware would have left it. */
static void begin(struct hart *hart)
{
	uint64_t pc = hart->start_pc, opaque = hart->start_opaque;

	sbi_boot_state(hart);
	hart->pc = pc;
	hart->x[10] = hart->cpu.id;
	hart->x[11] = opaque;
	hart->waiting = false;
	atomic_store(&hart->power, HART_STARTED);
}

void hart_serve_requests(struct hart *hart)
{
	uint32_t requests;

	if (!atomic_load(&hart->requests))
		return;
	/* Taken off before the work, so that a request that comes amid it is not lost; `serving` tells who waits
	 * that the work is not done yet. */
	atomic_store(&hart->serving, true);
	requests = atomic_exchange(&hart->requests, 0);
	if (requests & HART_REQUEST_START)
		begin(hart);
	if (requests & HART_REQUEST_FLUSH_TLB)
		hart->engine->flush_tlb(hart, false, gva(0), false, 0);
	if (requests & HART_REQUEST_FENCE_I)
		hart->engine->fence_i(hart);
	atomic_store(&hart->serving, false);
}

static bool acted(struct hart *target, uint32_t requests)
{
	if (!atomic_load(&target->in_guest))
		return true;
	return !(atomic_load(&target->requests) & requests) && !atomic_load(&target->serving);
}

void hart_remote_fence(struct hart *self, uint32_t mask, uint32_t requests)
{
	struct hart_cluster *cluster = self->cluster;

	for (unsigned i = 0; i < cluster->count; i++) {
		struct hart *target = cluster->harts[i];

		if (!(mask & UINT32_C(1) << i) || target == self)
			continue;
		atomic_fetch_or(&target->requests, requests);
		if (atomic_load(&target->in_guest))
			hart_kick(target);
	}
	for (unsigned i = 0; i < cluster->count; i++) {
		struct hart *target = cluster->harts[i];

		if (!(mask & UINT32_C(1) << i) || target == self)
			continue;
		while (!acted(target, requests)) {
			hart_serve_requests(self);
			sched_yield();
		}
	}
}
