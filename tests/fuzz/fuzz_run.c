/*
 * Random bytes as code, in every privilege mode and under every engine: the run ends at its limit or before, and the
 * hart is one that could be saved and loaded.
 *
 * The first eight bytes choose the privilege, translation, status and delegation; the rest is memory from its start on,
 * where code, trap handler and translation tables overlap as they like.
 */
#include <assert.h>
#include <string.h>

#include "bare_hart.h"

#define LIMIT 1000
#define RUNS  2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void prepare(struct target *t, const uint8_t setup[8], const uint8_t *code, size_t length)
{
	static const uint8_t privileges[4] = {PRIV_U, PRIV_S, PRIV_M, PRIV_M};
	static const uint8_t modes[4] = {0, 8, 9, 10};
	struct hart *hart = t->hart;

	memset(t->ram, 0, SIZE);
	memcpy(t->ram, code, length < SIZE ? length : SIZE);
	hart_reset(hart);
	hart->priv = privileges[setup[0] & 3];
	hart->satp = (uint64_t)modes[setup[0] >> 2 & 3] << 60 | ((RAM >> 12) + (setup[0] >> 4));
	hart->pc = RAM + setup[1] * 16u;
	hart->mtvec = RAM + setup[2] * 64u;
	hart->stvec = RAM + setup[3] * 64u;
	hart->medeleg = setup[4] * 0x101u & 0xb3ff;
	hart->mideleg = setup[4] & 1 ? 0x222 : 0;
	hart->mstatus |= (uint64_t)setup[5] << 13 & (MSTATUS_FS | MSTATUS_MPRV | MSTATUS_SUM | MSTATUS_MXR);
	hart->menvcfg = setup[6] & 1 ? ENVCFG_CBZE | ENVCFG_CBCFE | ENVCFG_CBIE | ENVCFG_ADUE : 0;
	hart->senvcfg = hart->menvcfg & 0xff;
	if (!(setup[6] & 2)) {
		hart->pmpaddr[0] = UINT64_MAX >> 10;
		hart->pmpcfg[0] = 0x1f;
	}
	hart->mcounteren = hart->scounteren = setup[6] >> 4;
	for (unsigned i = 1; i < 32; i++)
		hart->x[i] = i % 4 == 0 ? setup[7] * i : RAM + i * setup[7] * 8u;
	hart_loaded(hart);
	t->engine->state_loaded(t->vcpu, NULL);
}

/* What is saved must be what can be loaded. */
static void check_state(struct target *t)
{
	struct state_writer writer;
	struct state_reader reader;
	struct state_section section;

	state_writer_init(&writer);
	state_save(&writer, &hart_state, "hart0", t->hart);
	assert(writer.failed == 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	if (state_next(&reader, &section, NULL) != 1 || state_load(&section, &hart_state, t->hart, NULL) != 0)
		abort();
	state_writer_finish(&writer);
}

static void run(struct target *t)
{
	for (unsigned i = 0; i < RUNS; i++) {
		uint64_t before = t->hart->instret;
		struct engine_exit exit;

		t->engine->run(t->vcpu, LIMIT, &exit);
		assert(t->hart->instret - before <= LIMIT);
		assert(exit.reason == ENGINE_EXIT_LIMIT || exit.reason == ENGINE_EXIT_IDLE);
		check_state(t);
		if (exit.reason == ENGINE_EXIT_IDLE)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target targets[TARGETS_MAX];
	static unsigned count;

	if (count == 0)
		count = targets_make(targets);
	for (unsigned i = 0; i < count && size >= 8; i++) {
		prepare(&targets[i], data, data + 8, size - 8);
		run(&targets[i]);
	}
	return 0;
}
