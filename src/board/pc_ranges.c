#include "board/pc_ranges.h"

#include "board/pc_map.h"
#include "device/pci/pci.h"
#include "x86/platform.h"

uint64_t pc_ram_low(uint64_t ram_bytes)
{
	return ram_bytes < PC_HOLE ? ram_bytes : PC_HOLE;
}

uint64_t pc_ram_high(uint64_t ram_bytes)
{
	return ram_bytes - pc_ram_low(ram_bytes);
}

unsigned pc_ranges(struct pc_range ranges[PC_RANGES_MAX], uint64_t ram_bytes)
{
	const struct pc_range all[] = {
		{0, PC_RESERVED, PC_RAM},
		{PC_RESERVED, PC_HIGH_MEMORY - PC_RESERVED, PC_RESERVED_RANGE},
		{PC_HIGH_MEMORY, pc_ram_low(ram_bytes) - PC_HIGH_MEMORY, PC_RAM},
		{PC_ECAM, PCI_ECAM_SIZE, PC_RESERVED_RANGE},
		{X86_HOST_PAGES, X86_HOST_PAGES_SIZE, PC_RESERVED_RANGE},
		{PC_HOLE_END, pc_ram_high(ram_bytes), PC_RAM},
	};
	unsigned count = 0;

	_Static_assert(ARRAY_SIZE(all) <= PC_RANGES_MAX, "the list of ranges fits");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].size)
			ranges[count++] = all[i];
	return count;
}
