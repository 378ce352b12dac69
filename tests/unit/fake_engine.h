/*
 * An engine without a guest: what each vCPU does is a C function of the test. It keeps the engine contract: stop
 * is sticky, requests are served before the "guest" goes on.
 */
#ifndef DOPPEL_TESTS_FAKE_ENGINE_H
#define DOPPEL_TESTS_FAKE_ENGINE_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "riscv/hart.h"

struct engine_vcpu {
	struct hart *hart;
	_Atomic uint32_t stop;
	atomic_ulong turns;  /* calls of the program */
	atomic_ulong loaded; /* calls of state_loaded */
};

/* One step of guest code. True: leave with what is in *out. */
typedef bool fake_program(struct engine_vcpu *vcpu, struct engine_exit *out);

static fake_program *fake_guest; /* set before machine_start */

static inline bool fake_exit(struct engine_exit *out, enum engine_exit_reason reason, uint64_t deadline)
{
	*out = (struct engine_exit){.reason = reason, .deadline = deadline};
	return true;
}

static inline void fake_kick(struct hart *hart)
{
	(void)hart; /* looked at before each step anyway */
}

static inline void fake_flush(struct hart *hart, bool one_page, gva_t address, bool one_asid, uint16_t asid)
{
	(void)hart;
	(void)one_page;
	(void)address;
	(void)one_asid;
	(void)asid;
}

static inline void fake_fence(struct hart *hart)
{
	(void)hart;
}

static const struct hart_engine_ops fake_ops = {.kick = fake_kick, .flush_tlb = fake_flush, .fence_i = fake_fence};

static inline int fake_new(struct engine_vcpu **out, struct cpu *cpu, struct error *e)
{
	struct hart *hart = hart_of(cpu);
	struct engine_vcpu *vcpu = calloc(1, sizeof *vcpu);

	(void)e;
	vcpu->hart = hart;
	hart->engine = &fake_ops;
	hart->engine_vcpu = vcpu;
	*out = vcpu;
	return 0;
}

static inline void fake_free(struct engine_vcpu *vcpu)
{
	if (vcpu) {
		vcpu->hart->engine = NULL;
		vcpu->hart->engine_vcpu = NULL;
	}
	free(vcpu);
}

static inline void fake_run(struct engine_vcpu *vcpu, uint64_t limit, struct engine_exit *out)
{
	(void)limit;
	atomic_store(&vcpu->hart->in_guest, true);
	do {
		hart_serve_requests(vcpu->hart);
		if (atomic_exchange(&vcpu->stop, 0)) {
			fake_exit(out, ENGINE_EXIT_KICKED, UINT64_MAX);
			break;
		}
		hart_sample(vcpu->hart, 1);
		atomic_fetch_add(&vcpu->turns, 1);
	} while (!fake_guest(vcpu, out));
	atomic_store(&vcpu->hart->in_guest, false);
}

static inline void fake_stop(struct engine_vcpu *vcpu)
{
	atomic_store(&vcpu->stop, 1);
}

static inline void fake_drop(struct engine_vcpu *vcpu)
{
	(void)vcpu;
}

static inline int fake_loaded(struct engine_vcpu *vcpu, struct error *e)
{
	(void)e;
	atomic_fetch_add(&vcpu->loaded, 1);
	return 0;
}

static inline void fake_statistics(const struct engine_vcpu *vcpu, struct engine_statistics *out)
{
	*out = (struct engine_statistics){.instructions = atomic_load(&vcpu->turns), .exits = 2};
}

static inline void fake_probe(struct engine_report *report)
{
	*report = (struct engine_report){.usable = true};
}

static const struct engine fake_engine = {
	.name = "fake",
	.help = "a test's own",
	.arch = ENGINE_RISCV64,
	.probe = fake_probe,
	.vcpu_new = fake_new,
	.vcpu_free = fake_free,
	.run = fake_run,
	.stop = fake_stop,
	.drop_write_access = fake_drop,
	.state_loaded = fake_loaded,
	.statistics = fake_statistics,
};

#endif
