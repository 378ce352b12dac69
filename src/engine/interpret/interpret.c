/*
 * The interpreter as an engine: the portable one, and the reference for all others.
 */
#include "engine/interpret/interpret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/interpret/vcpu.h"
#include "riscv/sbi.h"

/* Instructions between two looks at the clock: some tens of microseconds. */
#define QUANTUM 10000
/* Traps, returns and the like between two looks at the clock, for guests that do little else. */
#define VISITS 64

static struct engine_vcpu *vcpu_of(struct hart *hart)
{
	return hart->engine_vcpu;
}

static void kick(struct hart *hart)
{
	atomic_store_explicit(&vcpu_of(hart)->attention, 1, memory_order_seq_cst);
}

static void flush_tlb(struct hart *hart, bool one_page, gva_t address, bool one_asid, uint16_t asid)
{
	tlb_flush(vcpu_of(hart), one_page, address.value, one_asid, asid);
}

static void fence_i(struct hart *hart)
{
	struct engine_vcpu *v = vcpu_of(hart);

	/* Generations are compared for equality: before one comes round again, nothing of it may be left. */
	if (++v->generation == 0)
		block_drop_all(v);
}

static const struct hart_engine_ops hart_ops = {.kick = kick, .flush_tlb = flush_tlb, .fence_i = fence_i};

static void interpret_probe(struct engine_report *report)
{
	*report = (struct engine_report){.usable = true, .preferred = true};
	snprintf(report->summary, sizeof report->summary,
		 "runs RV64GC guests on every host, at some hundred million instructions a second");
}

int interpret_init(struct engine_vcpu *v, struct hart *hart, struct error *e)
{
	v->hart = hart;
	v->memory = hart->cluster->memory;
	v->handlers = execute(NULL);
	return block_init(v, e);
}

static void interpret_vcpu_free(struct engine_vcpu *v)
{
	if (!v)
		return;
	v->hart->engine = NULL;
	v->hart->engine_vcpu = NULL;
	block_finish(v);
	free(v);
}

static int interpret_vcpu_new(struct engine_vcpu **out, struct cpu *cpu, struct error *e)
{
	struct hart *hart = hart_of(cpu);
	struct engine_vcpu *v = calloc(1, sizeof *v);
	int code;

	if (!v)
		return error_errno(e, -ENOMEM, "a vCPU of the interpreter");
	code = interpret_init(v, hart, e);
	if (code < 0) {
		free(v);
		return code;
	}
	hart->engine = &hart_ops;
	hart->engine_vcpu = v;
	tlb_flush_all(v);
	*out = v;
	return 0;
}

static void set_exit(struct engine_exit *out, enum engine_exit_reason reason, uint64_t deadline)
{
	out->reason = reason;
	out->deadline = deadline;
	out->message[0] = '\0';
}

/* Started or suspended: not switched off. */
static bool is_on(struct hart *hart)
{
	uint32_t power = atomic_load(&hart->power);

	return power == HART_STARTED || power == HART_SUSPENDED;
}

/* What must be looked at before guest code runs on. True: an exit is in *out. */
bool interpret_prepare(struct engine_vcpu *v, struct engine_exit *out)
{
	struct hart *hart = v->hart;
	uint64_t deadline;

	atomic_store(&v->attention, 0);
	hart_serve_requests(hart);
	if (atomic_exchange(&v->stop, 0)) {
		count_cause(v, ENGINE_CAUSE_KICK);
		set_exit(out, ENGINE_EXIT_KICKED, UINT64_MAX);
		return true;
	}
	deadline = hart_update_timers(hart, clock_ticks(hart->cluster->clock));
	if (!is_on(hart)) {
		set_exit(out, ENGINE_EXIT_STOPPED, deadline);
		return true;
	}
	if (!sbi_resume(hart) || (hart->waiting && !hart_wake(hart))) {
		count_cause(v, ENGINE_CAUSE_IDLE);
		set_exit(out, ENGINE_EXIT_IDLE, deadline);
		return true;
	}
	hart->waiting = false;
	interpret_take_interrupt(v);
	return false;
}

void interpret_take_interrupt(struct engine_vcpu *v)
{
	int interrupt = hart_pending_interrupt(v->hart);

	if (interrupt < 0)
		return;
	count_cause(v, ENGINE_CAUSE_INTERRUPT);
	hart_trap(v->hart, CAUSE_INTERRUPT | (unsigned)interrupt, 0);
}

int64_t interpret_step(struct engine_vcpu *v, int64_t given, bool exact)
{
	struct hart *hart = v->hart;

	tlb_update_contexts(v);
	v->exact = exact;
	v->given = v->left = given;
	v->charged = 0;
	v->instret_base = hart->instret;
	execute(v);
	hart->instret = v->instret_base + (uint64_t)(given - v->left) - v->charged;
	return given - v->left;
}

/* Runs until prepare must look again. `limit` is what is left of the caller's limit, INT64_MAX for none. */
static int64_t run_a_while(struct engine_vcpu *v, int64_t limit)
{
	struct hart *hart = v->hart;
	int64_t left = limit < QUANTUM ? limit : QUANTUM, given = left;
	bool exact = limit <= QUANTUM;
	unsigned visits = VISITS;

	do {
		interpret_take_interrupt(v);
		left -= interpret_step(v, left, exact);
	} while (left > (exact ? 0 : BLOCK_OPS_MAX) && --visits && !hart->waiting &&
		 !atomic_load_explicit(&v->attention, memory_order_relaxed) &&
		 atomic_load_explicit(&hart->power, memory_order_relaxed) == HART_STARTED);
	return given - left;
}

static void interpret_run(struct engine_vcpu *v, uint64_t limit, struct engine_exit *out)
{
	int64_t left = limit && limit <= INT64_MAX ? (int64_t)limit : INT64_MAX;
	struct hart *hart = v->hart;

	atomic_store(&hart->in_guest, true);
	while (!interpret_prepare(v, out)) {
		int64_t done = run_a_while(v, left);

		counter_add(&v->statistics.instructions, (uint64_t)done);
		count_cause(v, ENGINE_CAUSE_SLICE);
		hart_sample(hart, (uint64_t)done);
		if (limit && (left -= done) == 0) {
			set_exit(out, ENGINE_EXIT_LIMIT, UINT64_MAX);
			break;
		}
	}
	counter_add(&v->statistics.exits, 1);
	atomic_store(&hart->in_guest, false);
}

static void interpret_stop(struct engine_vcpu *v)
{
	atomic_store(&v->stop, 1);
	atomic_store(&v->attention, 1);
}

static int interpret_state_loaded(struct engine_vcpu *v, struct error *e)
{
	(void)e;
	tlb_flush_all(v);
	block_drop_all(v);
	v->generation++;
	return 0;
}

static void interpret_statistics(const struct engine_vcpu *v, struct engine_statistics *out)
{
	counters_read(out, &v->statistics, sizeof *out);
}

const struct engine engine_interpret = {
	.name = "interpret",
	.help = "portable interpreter of RISC-V guests; the reference for the other engines",
	.arch = ENGINE_RISCV64,
	.vcpu_bytes = INTERPRET_VCPU_BYTES,
	.probe = interpret_probe,
	.vcpu_new = interpret_vcpu_new,
	.vcpu_free = interpret_vcpu_free,
	.run = interpret_run,
	.stop = interpret_stop,
	.drop_write_access = tlb_drop_writes,
	.state_loaded = interpret_state_loaded,
	.rest = block_rest,
	.statistics = interpret_statistics,
};
