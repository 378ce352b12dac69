#include <string.h>

#include "engine/engine.h"
#include "engine/interpret/interpret.h"
#ifdef __x86_64__
#include "engine/kvm/kvm.h"
#endif
#include "engine/translate/translate.h"

const struct engine *const engines[] = {
	&engine_translate,
	&engine_interpret,
#ifdef __x86_64__
	&engine_kvm,
#endif
	NULL,
};

const char *engine_arch_name(enum engine_arch arch)
{
	return arch == ENGINE_RISCV64 ? "riscv64" : "x86_64";
}

const struct engine *engine_find(const char *name)
{
	for (unsigned i = 0; engines[i]; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}

void engine_look(const struct engine *engine, struct engine_report *report)
{
	if (engine->look)
		engine->look(report);
	else
		engine->probe(report);
}

const struct engine *engine_default(enum engine_arch arch)
{
	for (unsigned i = 0; engines[i]; i++) {
		struct engine_report report;

		if (engines[i]->arch != arch)
			continue;
		engines[i]->probe(&report);
		if (report.usable && report.preferred)
			return engines[i];
	}
	return NULL;
}

const struct engine *engine_usable(enum engine_arch arch, struct engine_report *report)
{
	*report = (struct engine_report){.summary = "this program has no engine for such guests"};
	for (unsigned i = 0; engines[i]; i++) {
		if (engines[i]->arch != arch)
			continue;
		engines[i]->probe(report);
		if (report->usable)
			return engines[i];
	}
	return NULL;
}

const struct engine_cause_name engine_causes[ENGINE_CAUSES] = {
	[ENGINE_CAUSE_SLICE] = {"slice", "a slice of instructions is used up"},
	[ENGINE_CAUSE_INTERRUPT] = {"interrupt", "the guest takes an interrupt"},
	[ENGINE_CAUSE_FAULT] = {"fault", "the guest has a page fault"},
	[ENGINE_CAUSE_TRAP] = {"trap", "the guest has another exception"},
	[ENGINE_CAUSE_SBI] = {"sbi", "the guest calls its firmware"},
	[ENGINE_CAUSE_SYSTEM] = {"system", "an instruction on privileged state"},
	[ENGINE_CAUSE_TLB] = {"tlb", "a walk of the page tables"},
	[ENGINE_CAUSE_LOOKUP] = {"lookup", "translated code is looked up"},
	[ENGINE_CAUSE_LINK] = {"link", "a jump in translated code is taken for the first time"},
	[ENGINE_CAUSE_FLOAT] = {"float", "the float unit changes hands"},
	[ENGINE_CAUSE_EMULATE] = {"emulate", "an instruction that is not translated, such as a device access"},
	[ENGINE_CAUSE_PORT] = {"port", "an access to a port of x86"},
	[ENGINE_CAUSE_MMIO] = {"mmio", "an access to a device's registers in memory"},
	[ENGINE_CAUSE_IDLE] = {"idle", "the guest waits for an interrupt"},
	[ENGINE_CAUSE_KICK] = {"kick", "the monitor wants the CPU out of guest code"},
};

const char *const engine_modes[ENGINE_MODES] = {"user", "supervisor", "supervisor_user", "machine"};
