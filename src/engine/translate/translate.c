/*
 * The translator as an engine: the loop around generated code.
 */
#include "engine/translate/translate.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/translate/translator.h"

/* Instructions between two looks at the clock and at what others ask: about ten microseconds. */
#define QUANTUM 20000
/* Visits of the loop between two looks, for guests that trap or change state all the time. */
#define VISITS 64
/* Instructions that are interpreted at once where there is no room for their translation. */
#define WHILE 100

bool translator_mode(const struct hart *hart, enum frame_mode *mode)
{
	if (hart->mstatus & MSTATUS_MXR)
		return false;
	if (hart->priv == PRIV_U)
		*mode = FRAME_USER;
	else if (hart->priv == PRIV_S)
		*mode = hart->mstatus & MSTATUS_SUM ? FRAME_SUPERVISOR_USER : FRAME_SUPERVISOR;
	else
		*mode = FRAME_MACHINE;
	/* M-mode that accesses memory as another mode does so briefly. */
	return hart->priv != PRIV_M || !(hart->mstatus & MSTATUS_MPRV);
}

static void kick(struct hart *hart)
{
	atomic_store(&translator_of(hart)->interpreter.attention, 1);
}

static void flush_tlb(struct hart *hart, bool one_page, gva_t address, bool one_asid, uint16_t asid)
{
	struct translator *t = translator_of(hart);

	tlb_flush(&t->interpreter, one_page, address.value, one_asid, asid);
	spaces_flush(t, one_page, address.value, one_asid, asid);
}

static void fence_i(struct hart *hart)
{
	struct translator *t = translator_of(hart);

	/* Generations are compared for equality: before one comes round again, nothing of it may be left. */
	if (++t->interpreter.generation == 0)
		block_drop_all(&t->interpreter);
	t->fenced = atomic_fetch_add(&t->depot->clock, 1) + 1;
	t->again = true;
}

static const struct hart_engine_ops hart_ops = {.kick = kick, .flush_tlb = flush_tlb, .fence_i = fence_i};

/* Who does the instruction at pc after generated code came back. */
enum next { NEXT_UNIT, NEXT_INTERPRET };

/* So many instructions by the interpreter: returns what it used. */
static int64_t by_interpreter(struct translator *t, int64_t instructions, bool exact)
{
	count_cause(&t->interpreter, ENGINE_CAUSE_EMULATE);
	floats_end(t);
	/* It leaves contexts that may not be those of the mode entered last. */
	t->entered = false;
	return interpret_step(&t->interpreter, instructions, exact);
}

static int64_t one_by_interpreter(struct translator *t)
{
	return by_interpreter(t, 1, true);
}

/* Code that there is no room for: for a while, up to the end of a block if that may be more. */
static int64_t some_by_interpreter(struct translator *t, int64_t left)
{
	bool plenty = left > WHILE + BLOCK_OPS_MAX;

	return by_interpreter(t, plenty ? WHILE : left, !plenty);
}

/* The reservation lives in the frame, by host address, while generated code runs. */
static void carry_reservation_in(struct translator *t)
{
	const struct hart *hart = t->interpreter.hart;

	t->frame->reserved_host = 0;
	if (likely(!hart->reserved))
		return;
	t->frame->reserved_host = (uint64_t)(uintptr_t)memory_host(
		t->interpreter.memory, gpa(hart->reserved_address), hart->reserved_size);
	t->frame->reserved_value = hart->reserved_value;
	t->frame->reserved_size = hart->reserved_size;
}

static void carry_reservation_out(struct translator *t)
{
	struct hart *hart = t->interpreter.hart;

	if (likely(!t->frame->reserved_host)) {
		if (unlikely(hart->reserved))
			hart_end_reservation(hart);
		return;
	}
	hart->reserved = true;
	hart->reserved_address =
		memory_physical(t->interpreter.memory, (void *)(uintptr_t)t->frame->reserved_host).value;
	hart->reserved_value = t->frame->reserved_value;
	hart->reserved_size = (uint8_t)t->frame->reserved_size;
}

/* Runs generated code from hart->pc; returns the instructions used. *next: who does the next. */
static int64_t run_units(struct translator *t, const uint8_t *code, int64_t left, bool exact, enum next *next)
{
	unsigned (*enter)(struct hart *hart, const void *code) =
		(unsigned (*)(struct hart *, const void *))(uintptr_t)t->depot->runtime.enter;
	struct hart *hart = t->interpreter.hart;
	enum emit_exit why;
	int64_t used;

	t->frame->page = hart->pc & PAGE_MASK;
	t->frame->budget = (uint64_t)left;
	t->given = left;
	t->instret_base = hart->instret;
	t->frame->trapped = 0;
	t->detours = VISITS;
	carry_reservation_in(t);
	why = (enum emit_exit)enter(hart, code);
	carry_reservation_out(t);
	switch (why) {
	case EMIT_EXIT_LINK:
		count_cause(&t->interpreter, ENGINE_CAUSE_LINK);
		*next = units_connect(t, (uint32_t)t->frame->link) ? NEXT_UNIT : NEXT_INTERPRET;
		break;
	case EMIT_EXIT_FLOATS:
		count_cause(&t->interpreter, ENGINE_CAUSE_FLOAT);
		*next = floats_begin(t) ? NEXT_UNIT : NEXT_INTERPRET;
		break;
	case EMIT_EXIT_ENGINE:
		*next = NEXT_INTERPRET;
		break;
	case EMIT_EXIT_BUDGET:
		/* The rest of an exact count is less than a unit: one by one. */
		*next = exact ? NEXT_INTERPRET : NEXT_UNIT;
		break;
	case EMIT_EXIT_LOOKUP:
		units_forget(t, hart->pc);
		break;
	case EMIT_EXIT_TRAP:
		break;
	}
	used = left - (int64_t)t->frame->budget;
	hart->instret = t->instret_base + (uint64_t)used - t->frame->trapped;
	counter_add(&t->interpreter.statistics.exceptions, t->frame->trapped);
	return used;
}

/* One visit: some generated code, or one instruction by the interpreter. Returns what was used of `left`. */
static int64_t visit(struct translator *t, int64_t left, bool exact)
{
	struct hart *hart = t->interpreter.hart;
	enum frame_mode mode;
	const uint8_t *code = NULL;
	enum next next = NEXT_UNIT;
	int64_t used = 0;

	t->wanting = false;
	if (unlikely(t->epoch != atomic_load(&t->depot->epoch)))
		depot_catch_up(t->depot, t);
	if (translator_mode(hart, &mode)) {
		spaces_enter(t, mode);
		code = units_find(t, hart->pc, mode);
	}
	if (code)
		used = run_units(t, code, left, exact, &next);
	else
		next = NEXT_INTERPRET;
	if (next == NEXT_INTERPRET && left > used)
		used += t->wanting ? some_by_interpreter(t, left - used) : one_by_interpreter(t);
	return used;
}

static int64_t run_a_while(struct translator *t, int64_t limit)
{
	int64_t left = limit < QUANTUM ? limit : QUANTUM, given = left;
	struct hart *hart = t->interpreter.hart;
	bool exact = limit <= QUANTUM;
	unsigned visits = VISITS;

	do {
		interpret_take_interrupt(&t->interpreter);
		left -= visit(t, left, exact);
	} while (left > (exact ? 0 : BLOCK_OPS_MAX) && --visits && !hart->waiting &&
		 !atomic_load_explicit(&t->interpreter.attention, memory_order_relaxed) &&
		 atomic_load_explicit(&hart->power, memory_order_relaxed) == HART_STARTED);
	return given - left;
}

static void translate_run(struct engine_vcpu *v, uint64_t limit, struct engine_exit *out)
{
	int64_t left = limit && limit <= INT64_MAX ? (int64_t)limit : INT64_MAX;
	struct translator *t = (struct translator *)v;
	struct hart *hart = v->hart;

	atomic_store(&hart->in_guest, true);
	while (!interpret_prepare(v, out)) {
		int64_t done = run_a_while(t, left);

		depot_earn(t, done);
		counter_add(&v->statistics.instructions, (uint64_t)done);
		count_cause(v, ENGINE_CAUSE_SLICE);
		hart_sample(hart, (uint64_t)done);
		if (limit && (left -= done) == 0) {
			*out = (struct engine_exit){.reason = ENGINE_EXIT_LIMIT, .deadline = UINT64_MAX};
			break;
		}
	}
	floats_end(t);
	counter_add(&v->statistics.exits, 1);
	atomic_store(&hart->in_guest, false);
}

/* LZCNT: CPUID 80000001h, ECX bit 5; compilers of this age have no name for it. */
static bool has_lzcnt(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 5 & 1);
}

static bool host_fits(void)
{
	return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") && has_lzcnt();
}

static void translate_probe(struct engine_report *report)
{
	*report = (struct engine_report){.usable = host_fits(), .preferred = host_fits()};
	snprintf(report->summary, sizeof report->summary, "%s",
		 report->usable ? "translates RV64GC guests to x86-64 code while they run"
				: "needs an x86-64-v3 processor (AVX2, BMI1, BMI2, LZCNT, FMA)");
	if (!report->usable)
		snprintf(report->remedy, sizeof report->remedy, "use the engine `interpret`");
}

static void translate_vcpu_free(struct engine_vcpu *v)
{
	if (!v)
		return;
	v->hart->engine = NULL;
	v->hart->engine_vcpu = NULL;
	depot_leave((struct translator *)v);
	block_finish(v);
	free(v);
}

static int translate_vcpu_new(struct engine_vcpu **out, struct cpu *cpu, struct error *e)
{
	struct hart *hart = hart_of(cpu);
	struct translator *t;
	int code;

	_Static_assert(sizeof(struct frame) <= HART_ENGINE_AREA_SIZE, "the frame lies in the hart's engine area");
	if (!hart->has_engine_area)
		return error_set(e, ERROR_FAILED, -EINVAL, "the translator runs harts made by hart_new only");
	t = calloc(1, sizeof *t);
	if (!t)
		return error_errno(e, -ENOMEM, "a vCPU of the translator");
	t->frame = frame_of(hart);
	hart->engine = &hart_ops;
	hart->engine_vcpu = &t->interpreter;
	code = interpret_init(&t->interpreter, hart, e);
	if (code == 0)
		code = depot_join(t, e);
	if (code < 0) {
		t->interpreter.hart = hart;
		translate_vcpu_free(&t->interpreter);
		return code;
	}
	floats_init(t->frame);
	tlb_flush_all(&t->interpreter);
	spaces_reset(t);
	*out = &t->interpreter;
	return 0;
}

static void translate_stop(struct engine_vcpu *v)
{
	atomic_store(&v->stop, 1);
	atomic_store(&v->attention, 1);
}

static void translate_drop_write_access(struct engine_vcpu *v)
{
	tlb_drop_writes(v);
	spaces_drop_writes((struct translator *)v);
}

static int translate_state_loaded(struct engine_vcpu *v, struct error *e)
{
	struct translator *t = (struct translator *)v;

	(void)e;
	tlb_flush_all(v);
	block_drop_all(v);
	fence_i(v->hart);
	spaces_reset(t);
	return 0;
}

static void translate_rest(struct engine_vcpu *v)
{
	block_rest(v);
	depot_rest(((struct translator *)v)->depot);
}

static void translate_statistics(const struct engine_vcpu *v, struct engine_statistics *out)
{
	counters_read(out, &v->statistics, sizeof *out);
	depot_statistics(((const struct translator *)v)->depot, out);
}

const struct engine engine_translate = {
	.name = "translate",
	.help = "dynamic binary translator of RISC-V guests to x86-64 code",
	.arch = ENGINE_RISCV64,
	.vcpu_bytes = INTERPRET_VCPU_BYTES + TRANSLATE_VCPU_BYTES,
	.cache_copies = 2, /* code, and the records of its units */
	.probe = translate_probe,
	.vcpu_new = translate_vcpu_new,
	.vcpu_free = translate_vcpu_free,
	.run = translate_run,
	.stop = translate_stop,
	.drop_write_access = translate_drop_write_access,
	.state_loaded = translate_state_loaded,
	.rest = translate_rest,
	.statistics = translate_statistics,
};
