#include "machine.h"

#include <errno.h>
#include <string.h>

#define WFI           0x10500073u
#define PMP_NAPOT_RWX 0x1f
#define PAGE          GUEST_PAGE_SIZE

const char *const isa_mode_names[ISA_MODES] = {"machine", "user", "paged"};

int isa_machine_init(struct isa_machine *m, const struct engine *engine, uint64_t base, uint64_t size,
		     struct error *e)
{
	static const uint32_t handler[2] = {WFI, WFI};
	int code;

	memset(m, 0, sizeof *m);
	memory_init(&m->memory);
	bus_init(&m->bus);
	clock_init(&m->clock);
	m->engine = engine;
	m->trap = base + size;
	m->cluster = (struct hart_cluster){
		.memory = &m->memory, .bus = &m->bus, .clock = &m->clock, .count = 1};
	code = memory_add_ram(&m->memory, gpa(base), size + PAGE, "ram", e);
	if (code < 0)
		return code;
	code = memory_write(&m->memory, gpa(m->trap), handler, sizeof handler);
	if (code < 0)
		return error_errno(e, code, "trap handler");
	m->hart = hart_new(&m->cluster, 0);
	if (!m->hart)
		return error_errno(e, -ENOMEM, "a hart");
	m->cluster.harts[0] = m->hart;
	return engine->vcpu_new(&m->vcpu, &m->hart->cpu, e);
}

void isa_machine_finish(struct isa_machine *m)
{
	if (m->vcpu)
		m->engine->vcpu_free(m->vcpu);
	hart_free(m->hart);
	memory_finish(&m->memory);
}

void isa_machine_reset(struct isa_machine *m, uint8_t priv, uint64_t pc)
{
	struct hart *hart = m->hart;

	hart_reset(hart);
	hart->priv = priv;
	hart->pc = pc;
	hart->mtvec = m->trap;
	hart->mstatus |= MSTATUS_FS;
	hart->pmpaddr[0] = UINT64_MAX >> 10;
	hart->pmpcfg[0] = PMP_NAPOT_RWX;
}

void isa_machine_changed(struct isa_machine *m)
{
	hart_loaded(m->hart);
	m->engine->state_loaded(m->vcpu, NULL);
}

static enum isa_ending ending_of(const struct hart *hart)
{
	switch (hart->mcause) {
	case CAUSE_BREAKPOINT:
		return ISA_BREAKPOINT;
	case CAUSE_ILLEGAL:
		return ISA_ILLEGAL;
	case CAUSE_LOAD_MISALIGNED:
	case CAUSE_STORE_MISALIGNED:
		return ISA_MISALIGNED;
	case CAUSE_FETCH_ACCESS:
	case CAUSE_LOAD_ACCESS:
	case CAUSE_STORE_ACCESS:
	case CAUSE_FETCH_PAGE:
	case CAUSE_LOAD_PAGE:
	case CAUSE_STORE_PAGE:
		return ISA_FAULT;
	case CAUSE_ECALL_U:
	case CAUSE_ECALL_M:
		return ISA_SYSTEM_CALL;
	default:
		return ISA_ODD;
	}
}

enum isa_ending isa_machine_run(struct isa_machine *m, uint64_t limit)
{
	struct engine_exit exit;
	uint64_t before = m->hart->instret;

	m->engine->run(m->vcpu, limit, &exit);
	m->instructions += m->hart->instret - before;
	if (exit.reason == ENGINE_EXIT_LIMIT)
		return ISA_RAN_ON;
	if (exit.reason != ENGINE_EXIT_IDLE || m->hart->pc != m->trap + 4)
		return ISA_ODD;
	return ending_of(m->hart);
}

/* Behind code and data lie the translation tables: root, middle and leaves. All of it is in one 2 MiB span. */
#define TABLES        (ISA_DATA + ISA_DATA_SIZE)
#define FRAGMENT_SIZE (TABLES + 3 * PAGE - ISA_CODE)
#define CODE_PAGES    (ISA_CODE_SIZE / PAGE)
#define DATA_PAGES    (ISA_DATA_SIZE / PAGE)
#define LIMIT         UINT64_C(2000000)

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

/* Where a page of a fragment lies in physical memory: in its place, or behind Sv39 in another one's. */
static uint64_t physical(enum isa_mode mode, uint64_t address)
{
	bool code = address < ISA_DATA;
	uint64_t base = code ? ISA_CODE : ISA_DATA, page = (address - base) / PAGE;

	if (mode != ISA_PAGED)
		return address;
	page = code ? page * 7 % CODE_PAGES : page * 3 % DATA_PAGES;
	return base + page * PAGE + address % PAGE;
}

static uint64_t *table(struct isa_machine *m, unsigned level)
{
	return memory_host(&m->memory, gpa(TABLES + level * PAGE), PAGE);
}

static void map(struct isa_machine *m, uint64_t from, uint64_t bytes, uint64_t flags)
{
	for (uint64_t at = from; at < from + bytes; at += PAGE)
		table(m, 2)[at >> 12 & 511] = htole64(physical(ISA_PAGED, at) >> 2 | flags | PTE_V | PTE_U | PTE_A);
}

int isa_fragment_init(struct isa_machine *m, const struct engine *engine, struct error *e)
{
	int code = isa_machine_init(m, engine, ISA_CODE, FRAGMENT_SIZE, e);

	if (code < 0)
		return code;
	table(m, 0)[ISA_CODE >> 30] = htole64((TABLES + PAGE) >> 2 | PTE_V);
	table(m, 1)[ISA_CODE >> 21 & 511] = htole64((TABLES + 2 * PAGE) >> 2 | PTE_V);
	map(m, ISA_CODE, ISA_CODE_SIZE, PTE_R | PTE_W | PTE_X | PTE_D);
	map(m, ISA_DATA, ISA_DATA_SIZE, PTE_R | PTE_W | PTE_D);
	return 0;
}

static void copy(struct isa_machine *m, enum isa_mode mode, uint64_t address, uint8_t *bytes, uint64_t length,
		 bool out)
{
	for (uint64_t at = 0; at < length; at += PAGE) {
		uint64_t part = length - at < PAGE ? length - at : PAGE;
		void *host = memory_host(&m->memory, gpa(physical(mode, address + at)), part);

		if (out)
			memcpy(bytes + at, host, part);
		else
			memcpy(host, bytes + at, part);
	}
}

static void load_code(struct isa_machine *m, enum isa_mode mode, const struct isa_start *start, const void *code)
{
	static uint16_t all[ISA_CODE_SIZE / 2];

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = htole16(ISA_EBREAK);
	memcpy(all, code, start->code_bytes);
	copy(m, mode, ISA_CODE, (uint8_t *)all, sizeof all, false);
}

static void result(const struct isa_machine *m, enum isa_ending ending, struct isa_end *end)
{
	const struct hart *hart = m->hart;

	memset(end, 0, sizeof *end);
	memcpy(end->state.x, hart->x, sizeof end->state.x);
	memcpy(end->state.f, hart->f, sizeof end->state.f);
	end->state.fcsr = (uint64_t)hart->frm << 5 | hart->fflags;
	end->state.pc = hart->mepc;
	end->ending = ending;
	if (ending == ISA_MISALIGNED || ending == ISA_FAULT)
		end->address = hart->mtval;
}

void isa_fragment_run(struct isa_machine *m, enum isa_mode mode, const struct isa_start *start, const void *code,
		      uint8_t *data, struct isa_end *end)
{
	struct hart *hart = m->hart;

	isa_machine_reset(m, mode == ISA_MACHINE ? PRIV_M : PRIV_U, ISA_CODE);
	if (mode == ISA_PAGED)
		hart->satp = UINT64_C(8) << 60 | TABLES >> 12;
	memcpy(hart->x + 1, start->state.x + 1, 31 * sizeof *hart->x);
	memcpy(hart->f, start->state.f, sizeof hart->f);
	hart->fflags = start->state.fcsr & 31;
	hart->frm = start->state.fcsr >> 5 & 7;
	load_code(m, mode, start, code);
	copy(m, mode, ISA_DATA, data, ISA_DATA_SIZE, false);
	isa_machine_changed(m);
	result(m, isa_machine_run(m, LIMIT), end);
	copy(m, mode, ISA_DATA, data, ISA_DATA_SIZE, true);
}
