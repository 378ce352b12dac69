#include "board/rom.h"

#include <string.h>

#include "board/virt_map.h"

#define INFO_MAGIC   UINT64_C(0x4942534f) /* "OSBI" */
#define INFO_VERSION 2
#define INFO_MODE_S  1

void boot_rom_set(struct boot_rom *rom, gpa_t next)
{
	*rom = (struct boot_rom){{
		le64_put(INFO_MAGIC),
		le64_put(INFO_VERSION),
		le64_put(next.value),
		le64_put(INFO_MODE_S),
		le64_put(0), /* options */
		le64_put(0), /* boot hart */
	}};
}

static uint64_t rom_read(void *device, uint64_t offset, unsigned size)
{
	const struct boot_rom *rom = device;
	uint64_t value = 0;

	if (offset + size <= sizeof rom->words)
		memcpy(&value, (const uint8_t *)rom->words + offset, size);
	return le64toh(value);
}

static void rom_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	(void)device;
	(void)offset;
	(void)value;
	(void)size;
}

int boot_rom_attach(struct boot_rom *rom, struct bus *bus, struct error *e)
{
	static const struct bus_ops ops = {.read = rom_read, .write = rom_write, .sizes = 1 | 2 | 4 | 8};
	const struct bus_region region = {
		.base = gpa(virt_map[VIRT_ROM].base),
		.size = virt_map[VIRT_ROM].size,
		.ops = &ops,
		.device = rom,
		.name = virt_map[VIRT_ROM].name,
	};

	return bus_add(bus, &region, e);
}
