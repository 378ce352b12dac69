/*
 * ACLINT (1.0-rc4): mswi and mtimer in one window as the SiFive CLINT has them, and sswi in a window of its own.
 *
 * Registers are reached as doublewords with a mask of the bytes that an access covers: a 4-byte access to half of a
 * mtimecmp and an 8-byte access to two msip words are then the same thing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/describe.h"
#include "device/devices.h"

#define WINDOW_SIZE   0x10000
#define MTIMECMP_BASE 0x4000
#define MTIME_OFFSET  0xbff8

#define SSWI_WINDOW_SIZE 0x4000

struct aclint {
	struct device device;
	struct hart_cluster *cluster;
	uint32_t msip[RISCV_HARTS_MAX];
	uint64_t mtimecmp[RISCV_HARTS_MAX]; /* as the guest wrote it: in terms of mtime */
	uint64_t mtime_offset;              /* mtime = ticks of the clock + this, modulo 2^64 */
};

static uint64_t mtime(const struct aclint *aclint)
{
	return clock_ticks(aclint->cluster->clock) + aclint->mtime_offset;
}

/* What hart->mtimecmp must be, in ticks of the clock, to expire when mtime reaches the register. */
static uint64_t deadline(const struct aclint *aclint, unsigned hart)
{
	uint64_t compare = aclint->mtimecmp[hart], now = mtime(aclint), ticks;

	if (!aclint->mtime_offset)
		return compare;
	if (compare <= now)
		return 0;
	return __builtin_add_overflow(now - aclint->mtime_offset, compare - now, &ticks) ? UINT64_MAX : ticks;
}

/* Drives MTI at once, so that a handler which moves mtimecmp ahead does not see its interrupt again, and kicks
 * the hart to look at its new deadline. */
static void drive_timer(struct aclint *aclint, unsigned index)
{
	struct hart *hart = aclint->cluster->harts[index];

	atomic_store(&hart->mtimecmp, deadline(aclint, index));
	hart_set_line(hart, IRQ_MTI, mtime(aclint) >= aclint->mtimecmp[index]);
	hart_kick(hart);
}

static void drive_timers(struct aclint *aclint)
{
	for (unsigned i = 0; i < aclint->cluster->count; i++)
		drive_timer(aclint, i);
}

static void drive_software(struct aclint *aclint, unsigned index)
{
	hart_set_line(aclint->cluster->harts[index], IRQ_MSI, aclint->msip[index] != 0);
}

/* The first of the two harts whose words make up the doubleword at `offset` of an array of words. */
static uint64_t first_hart(uint64_t offset)
{
	return offset / sizeof(uint32_t);
}

static uint64_t msip_get(const struct aclint *aclint, uint64_t offset)
{
	uint64_t hart = first_hart(offset), value = 0;

	for (unsigned half = 0; half < 2; half++)
		if (hart + half < aclint->cluster->count)
			value |= (uint64_t)aclint->msip[hart + half] << (32 * half);
	return value;
}

static void msip_put(struct aclint *aclint, uint64_t offset, uint64_t value, uint64_t mask)
{
	uint64_t hart = first_hart(offset);

	for (unsigned half = 0; half < 2; half++) {
		if (hart + half >= aclint->cluster->count || !(uint32_t)(mask >> (32 * half)))
			continue;
		aclint->msip[hart + half] = value >> (32 * half) & 1;
		drive_software(aclint, (unsigned)hart + half);
	}
}

static uint64_t get(const struct aclint *aclint, uint64_t offset)
{
	uint64_t hart = (offset - MTIMECMP_BASE) / sizeof(uint64_t);

	if (offset < MTIMECMP_BASE)
		return msip_get(aclint, offset);
	if (offset == MTIME_OFFSET)
		return mtime(aclint);
	return hart < aclint->cluster->count ? aclint->mtimecmp[hart] : 0;
}

static void put(struct aclint *aclint, uint64_t offset, uint64_t value, uint64_t mask)
{
	uint64_t hart = (offset - MTIMECMP_BASE) / sizeof(uint64_t);

	if (offset < MTIMECMP_BASE) {
		msip_put(aclint, offset, value, mask);
	} else if (offset == MTIME_OFFSET) {
		uint64_t now = mtime(aclint);

		aclint->mtime_offset += ((now & ~mask) | (value & mask)) - now;
		drive_timers(aclint);
	} else if (hart < aclint->cluster->count) {
		aclint->mtimecmp[hart] = (aclint->mtimecmp[hart] & ~mask) | (value & mask);
		drive_timer(aclint, (unsigned)hart);
	}
}

/* Bits that an access of 4 or 8 bytes covers in the doubleword it falls into. */
static uint64_t access_mask(uint64_t offset, unsigned size)
{
	return size == 8 ? UINT64_MAX : UINT64_C(0xffffffff) << (8 * (offset & 7));
}

static uint64_t aclint_read(void *device, uint64_t offset, unsigned size)
{
	uint64_t value = get(device, offset & ~UINT64_C(7)) & access_mask(offset, size);

	return value >> (8 * (offset & 7));
}

static void aclint_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	put(device, offset & ~UINT64_C(7), value << (8 * (offset & 7)), access_mask(offset, size));
}

static void aclint_loaded(struct device *device)
{
	struct aclint *aclint = (struct aclint *)device;

	for (unsigned i = 0; i < aclint->cluster->count; i++)
		drive_software(aclint, i);
	drive_timers(aclint);
}

static void aclint_reset(struct device *device)
{
	struct aclint *aclint = (struct aclint *)device;

	memset(aclint->msip, 0, sizeof aclint->msip);
	memset(aclint->mtimecmp, 0xff, sizeof aclint->mtimecmp);
	aclint->mtime_offset = 0;
	aclint_loaded(device);
}

static int aclint_validate(const void *shadow, struct error *e)
{
	const struct aclint *aclint = shadow;

	for (unsigned i = 0; i < RISCV_HARTS_MAX; i++)
		if (aclint->msip[i] > (i < aclint->cluster->count))
			return error_set(e, ERROR_USAGE, -EINVAL, "ACLINT state: impossible msip 0x%x of hart %u",
					 aclint->msip[i], i);
	return 0;
}

static const struct state_field aclint_fields[] = {
	STATE_FIELD(struct aclint, msip, STATE_U32),
	STATE_FIELD(struct aclint, mtimecmp, STATE_U64),
	STATE_FIELD(struct aclint, mtime_offset, STATE_U64),
};

static const struct state_descriptor aclint_state = {
	.kind = "aclint",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct aclint),
	.fields = aclint_fields,
	.field_count = ARRAY_SIZE(aclint_fields),
	.validate = aclint_validate,
};

/* Every wire of it is M-mode's: with the monitor there, the guest has no use for it. */
static void aclint_describe(struct device *device, struct fdt_writer *fdt)
{
	static const char *const compatible[] = {"sifive,clint0", "riscv,clint0", NULL};
	const struct hart_cluster *cluster = ((struct aclint *)device)->cluster;
	uint32_t cells[4 * RISCV_HARTS_MAX];

	if (cluster->sbi)
		return;
	for (unsigned i = 0; i < cluster->count; i++) {
		cells[4 * i] = cells[4 * i + 2] = FDT_HART_PHANDLE(i);
		cells[4 * i + 1] = IRQ_MSI;
		cells[4 * i + 3] = IRQ_MTI;
	}
	fdt_node(fdt, "clint@%llx", (unsigned long long)device->base.value);
	fdt_texts(fdt, "compatible", compatible);
	fdt_reg(fdt, device->base, device->size);
	fdt_cells(fdt, "interrupts-extended", cells, 4 * cluster->count);
	fdt_end(fdt);
}

static const struct bus_ops aclint_ops = {.read = aclint_read, .write = aclint_write, .sizes = 4 | 8};

const struct device_type aclint_type = {
	.name = "aclint",
	.help = "machine-mode timer and software interrupts, laid out as the SiFive CLINT",
	.state = &aclint_state,
	.ops = &aclint_ops,
	.reset = aclint_reset,
	.loaded = aclint_loaded,
	.describe = aclint_describe,
	.destroy = device_destroy_plain,
};

int aclint_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
	       struct error *e)
{
	struct aclint *aclint = calloc(1, sizeof *aclint);

	if (!aclint)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&aclint->device, &aclint_type, name, base, WINDOW_SIZE);
	aclint->cluster = cluster;
	memset(aclint->mtimecmp, 0xff, sizeof aclint->mtimecmp);
	*out = &aclint->device;
	return 0;
}

/* The sswi holds nothing: a written 1 becomes the hart's own pending bit, which software there clears. */
struct sswi {
	struct device device;
	struct hart_cluster *cluster;
};

static uint64_t sswi_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

static void sswi_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	const struct sswi *sswi = device;
	uint64_t hart = first_hart(offset);

	for (unsigned half = 0; half < size / 4; half++)
		if (hart + half < sswi->cluster->count && (value >> (32 * half) & 1))
			hart_set_pending(sswi->cluster->harts[hart + half], IRQ_BIT(IRQ_SSI), true);
}

static void sswi_describe(struct device *device, struct fdt_writer *fdt)
{
	const struct hart_cluster *cluster = ((struct sswi *)device)->cluster;
	uint32_t cells[2 * RISCV_HARTS_MAX];

	for (unsigned i = 0; i < cluster->count; i++) {
		cells[2 * i] = FDT_HART_PHANDLE(i);
		cells[2 * i + 1] = IRQ_SSI;
	}
	fdt_node(fdt, "sswi@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "riscv,aclint-sswi");
	fdt_reg(fdt, device->base, device->size);
	fdt_empty(fdt, "interrupt-controller");
	fdt_u32(fdt, "#address-cells", 0);
	fdt_u32(fdt, "#interrupt-cells", 0);
	fdt_cells(fdt, "interrupts-extended", cells, 2 * cluster->count);
	fdt_end(fdt);
}

static const struct bus_ops sswi_ops = {.read = sswi_read, .write = sswi_write, .sizes = 4 | 8};

const struct device_type aclint_sswi_type = {
	.name = "aclint-sswi",
	.help = "supervisor-mode software interrupts",
	.ops = &sswi_ops,
	.describe = sswi_describe,
	.destroy = device_destroy_plain,
};

int aclint_sswi_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
		    struct error *e)
{
	struct sswi *sswi = calloc(1, sizeof *sswi);

	if (!sswi)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&sswi->device, &aclint_sswi_type, name, base, SSWI_WINDOW_SIZE);
	sswi->cluster = cluster;
	*out = &sswi->device;
	return 0;
}
