/*
 * Platform-Level Interrupt Controller 1.0.0.
 *
 * Gateways are level-triggered: a high wire makes its source pending unless a claim of it is in flight, and a
 * pending request stays until it is claimed, even when the wire falls. A completion opens the gateway again.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/describe.h"
#include "device/devices.h"

#define WINDOW_SIZE  0x600000
#define SOURCE_WORDS ((PLIC_SOURCES + 32) / 32)
#define CONTEXTS     (2 * RISCV_HARTS_MAX)
#define LEVEL_MAX    7 /* highest priority and threshold */

/* The register map (chapter 3): each array's first byte and the distance of a context's registers. */
#define PRIORITY_BASE  0x0
#define PENDING_BASE   0x1000
#define ENABLE_BASE    0x2000
#define ENABLE_STRIDE  0x80
#define CONTEXT_BASE   0x200000
#define CONTEXT_STRIDE 0x1000
#define CONTEXT_THRESHOLD 0
#define CONTEXT_CLAIM     4

struct plic {
	struct device device;
	struct hart_cluster *cluster;
	uint8_t priority[PLIC_SOURCES + 1];
	uint8_t threshold[CONTEXTS];
	/* Source s is bit s % 32 of word s / 32; there is no source 0. */
	uint32_t level[SOURCE_WORDS];
	uint32_t pending[SOURCE_WORDS];
	uint32_t claimed[SOURCE_WORDS];
	uint32_t enable[CONTEXTS * SOURCE_WORDS];
};

static bool get_bit(const uint32_t *words, unsigned source)
{
	return words[source / 32] >> (source % 32) & 1;
}

static void put_bit(uint32_t *words, unsigned source, bool value)
{
	uint32_t bit = UINT32_C(1) << (source % 32);

	words[source / 32] = value ? words[source / 32] | bit : words[source / 32] & ~bit;
}

static unsigned contexts(const struct plic *plic)
{
	return 2 * plic->cluster->count;
}

static uint32_t *enables(struct plic *plic, unsigned context)
{
	return plic->enable + context * SOURCE_WORDS;
}

/* The pending and enabled source of the highest priority over `bar`, the lowest number among equals; 0: none. */
static unsigned best_source(struct plic *plic, unsigned context, unsigned bar)
{
	const uint32_t *enabled = enables(plic, context);
	unsigned best = 0;

	for (unsigned word = 0; word < SOURCE_WORDS; word++)
		for (uint32_t bits = plic->pending[word] & enabled[word]; bits; bits &= bits - 1) {
			unsigned source = word * 32 + (unsigned)__builtin_ctz(bits);

			if (plic->priority[source] > bar) {
				bar = plic->priority[source];
				best = source;
			}
		}
	return best;
}

static void drive_context(struct plic *plic, unsigned context)
{
	hart_set_line(plic->cluster->harts[context / 2], context % 2 ? IRQ_SEI : IRQ_MEI,
		      best_source(plic, context, plic->threshold[context]) != 0);
}

static void drive_all(struct plic *plic)
{
	for (unsigned context = 0; context < contexts(plic); context++)
		drive_context(plic, context);
}

/* After a change of one source: only contexts that listen to it can change. */
static void drive_source(struct plic *plic, unsigned source)
{
	for (unsigned context = 0; context < contexts(plic); context++)
		if (get_bit(enables(plic, context), source))
			drive_context(plic, context);
}

static void open_gateway(struct plic *plic, unsigned source)
{
	if (!get_bit(plic->level, source) || get_bit(plic->claimed, source) || get_bit(plic->pending, source))
		return;
	put_bit(plic->pending, source, true);
	drive_source(plic, source);
}

static void wire_set(void *controller, unsigned source, bool level)
{
	struct plic *plic = controller;

	pthread_mutex_lock(&plic->device.lock);
	put_bit(plic->level, source, level);
	open_gateway(plic, source);
	pthread_mutex_unlock(&plic->device.lock);
}

struct irq_line plic_line(struct device *device, unsigned source)
{
	assert(device->type == &plic_type && source >= 1 && source <= PLIC_SOURCES);
	return (struct irq_line){.set = wire_set, .controller = device, .number = source};
}

/* A claim is not affected by the threshold (chapter 8). */
static unsigned claim(struct plic *plic, unsigned context)
{
	unsigned source = best_source(plic, context, 0);

	if (source) {
		put_bit(plic->pending, source, false);
		put_bit(plic->claimed, source, true);
		drive_source(plic, source);
	}
	return source;
}

/* Ignored unless the source is enabled for the context (chapter 9). */
static void complete(struct plic *plic, unsigned context, uint64_t source)
{
	if (!source || source > PLIC_SOURCES || !get_bit(enables(plic, context), (unsigned)source))
		return;
	put_bit(plic->claimed, (unsigned)source, false);
	open_gateway(plic, (unsigned)source);
}

static uint32_t enable_read(struct plic *plic, uint64_t offset)
{
	uint64_t context = offset / ENABLE_STRIDE, word = offset % ENABLE_STRIDE / 4;

	return context < contexts(plic) && word < SOURCE_WORDS ? enables(plic, (unsigned)context)[word] : 0;
}

static void enable_write(struct plic *plic, uint64_t offset, uint32_t value)
{
	uint64_t context = offset / ENABLE_STRIDE, word = offset % ENABLE_STRIDE / 4;

	if (context >= contexts(plic) || word >= SOURCE_WORDS)
		return;
	enables(plic, (unsigned)context)[word] = word ? value : value & ~UINT32_C(1);
	drive_context(plic, (unsigned)context);
}

static uint32_t context_read(struct plic *plic, uint64_t offset)
{
	uint64_t context = offset / CONTEXT_STRIDE;

	if (context >= contexts(plic))
		return 0;
	switch (offset % CONTEXT_STRIDE) {
	case CONTEXT_THRESHOLD:
		return plic->threshold[context];
	case CONTEXT_CLAIM:
		return claim(plic, (unsigned)context);
	default:
		return 0;
	}
}

static void context_write(struct plic *plic, uint64_t offset, uint64_t value)
{
	uint64_t context = offset / CONTEXT_STRIDE;

	if (context >= contexts(plic))
		return;
	switch (offset % CONTEXT_STRIDE) {
	case CONTEXT_THRESHOLD:
		plic->threshold[context] = value & LEVEL_MAX;
		drive_context(plic, (unsigned)context);
		break;
	case CONTEXT_CLAIM:
		complete(plic, (unsigned)context, value);
		break;
	default:
		break;
	}
}

static uint64_t plic_read(void *device, uint64_t offset, unsigned size)
{
	struct plic *plic = device;

	(void)size;
	if (offset >= CONTEXT_BASE)
		return context_read(plic, offset - CONTEXT_BASE);
	if (offset >= ENABLE_BASE)
		return enable_read(plic, offset - ENABLE_BASE);
	if (offset >= PENDING_BASE)
		return offset - PENDING_BASE < 4 * SOURCE_WORDS ? plic->pending[(offset - PENDING_BASE) / 4] : 0;
	return offset / 4 <= PLIC_SOURCES ? plic->priority[offset / 4] : 0;
}

static void priority_write(struct plic *plic, uint64_t source, uint64_t value)
{
	if (!source || source > PLIC_SOURCES)
		return;
	plic->priority[source] = value & LEVEL_MAX;
	drive_source(plic, (unsigned)source);
}

static void plic_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct plic *plic = device;

	(void)size;
	if (offset >= CONTEXT_BASE)
		context_write(plic, offset - CONTEXT_BASE, value);
	else if (offset >= ENABLE_BASE)
		enable_write(plic, offset - ENABLE_BASE, (uint32_t)value);
	else if (offset < PENDING_BASE)
		priority_write(plic, (offset - PRIORITY_BASE) / 4, value);
}

static void plic_reset(struct device *device)
{
	struct plic *plic = (struct plic *)device;

	memset(plic->priority, 0, sizeof plic->priority);
	memset(plic->threshold, 0, sizeof plic->threshold);
	memset(plic->level, 0, sizeof plic->level);
	memset(plic->pending, 0, sizeof plic->pending);
	memset(plic->claimed, 0, sizeof plic->claimed);
	memset(plic->enable, 0, sizeof plic->enable);
	drive_all(plic);
}

static void plic_loaded(struct device *device)
{
	struct plic *plic = (struct plic *)device;

	for (unsigned word = 0; word < SOURCE_WORDS; word++)
		plic->pending[word] |= plic->level[word] & ~plic->claimed[word];
	drive_all(plic);
}

static bool levels_valid(const uint8_t *levels, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (levels[i] > LEVEL_MAX)
			return false;
	return true;
}

static bool sources_valid(const struct plic *plic)
{
	if ((plic->level[0] | plic->pending[0] | plic->claimed[0]) & 1)
		return false;
	for (unsigned word = 0; word < SOURCE_WORDS; word++)
		if (plic->pending[word] & plic->claimed[word])
			return false;
	return !plic->priority[0] && levels_valid(plic->priority, ARRAY_SIZE(plic->priority));
}

/* Enables of source 0, or of contexts that this machine does not have, could not have been written. */
static bool contexts_valid(const struct plic *plic)
{
	for (unsigned context = 0; context < CONTEXTS; context++) {
		const uint32_t *enabled = plic->enable + context * SOURCE_WORDS;
		uint32_t any = plic->threshold[context];

		if (enabled[0] & 1)
			return false;
		for (unsigned word = 0; word < SOURCE_WORDS; word++)
			any |= enabled[word];
		if (context >= contexts(plic) && any)
			return false;
	}
	return levels_valid(plic->threshold, ARRAY_SIZE(plic->threshold));
}

static int plic_validate(const void *shadow, struct error *e)
{
	if (!sources_valid(shadow))
		return error_set(e, ERROR_USAGE, -EINVAL, "PLIC state: impossible interrupt sources");
	if (!contexts_valid(shadow))
		return error_set(e, ERROR_USAGE, -EINVAL, "PLIC state: impossible interrupt contexts");
	return 0;
}

static const struct state_field plic_fields[] = {
	STATE_FIELD(struct plic, priority, STATE_U8),  STATE_FIELD(struct plic, threshold, STATE_U8),
	STATE_FIELD(struct plic, level, STATE_U32),    STATE_FIELD(struct plic, pending, STATE_U32),
	STATE_FIELD(struct plic, claimed, STATE_U32),  STATE_FIELD(struct plic, enable, STATE_U32),
};

static const struct state_descriptor plic_state = {
	.kind = "plic",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct plic),
	.fields = plic_fields,
	.field_count = ARRAY_SIZE(plic_fields),
	.validate = plic_validate,
};

/* With the monitor in M-mode a hart's M context is there, to keep the numbering, and leads nowhere. */
static void plic_describe(struct device *device, struct fdt_writer *fdt)
{
	static const char *const compatible[] = {"sifive,plic-1.0.0", "riscv,plic0", NULL};
	const struct hart_cluster *cluster = ((struct plic *)device)->cluster;
	uint32_t cells[2 * CONTEXTS];

	for (unsigned i = 0; i < cluster->count; i++) {
		cells[4 * i] = cells[4 * i + 2] = FDT_HART_PHANDLE(i);
		cells[4 * i + 1] = cluster->sbi ? UINT32_MAX : (uint32_t)IRQ_MEI;
		cells[4 * i + 3] = IRQ_SEI;
	}
	fdt->plic_phandle = fdt_new_phandle(fdt);
	fdt_node(fdt, "plic@%llx", (unsigned long long)device->base.value);
	fdt_texts(fdt, "compatible", compatible);
	fdt_reg(fdt, device->base, device->size);
	fdt_empty(fdt, "interrupt-controller");
	fdt_u32(fdt, "#address-cells", 0);
	fdt_u32(fdt, "#interrupt-cells", 1);
	fdt_cells(fdt, "interrupts-extended", cells, 4 * cluster->count);
	fdt_u32(fdt, "riscv,ndev", PLIC_SOURCES);
	fdt_u32(fdt, "phandle", fdt->plic_phandle);
	fdt_end(fdt);
}

static const struct bus_ops plic_ops = {.read = plic_read, .write = plic_write, .sizes = 4};

const struct device_type plic_type = {
	.name = "plic",
	.help = "platform-level interrupt controller: device interrupts of the riscv64 machine",
	.state = &plic_state,
	.ops = &plic_ops,
	.reset = plic_reset,
	.loaded = plic_loaded,
	.describe = plic_describe,
	.destroy = device_destroy_plain,
};

int plic_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster, struct error *e)
{
	struct plic *plic = calloc(1, sizeof *plic);

	if (!plic)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&plic->device, &plic_type, name, base, WINDOW_SIZE);
	plic->cluster = cluster;
	*out = &plic->device;
	return 0;
}
