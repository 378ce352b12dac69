#include "x86/cpuid.h"

const struct x86_cpuid_entry *x86_cpuid_find(const struct x86_cpuid *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->count && i < X86_CPUID_MAX; i++) {
		const struct x86_cpuid_entry *entry = &cpuid->entries[i];

		if (entry->function == function && (!entry->indexed || entry->index == index))
			return entry;
	}
	return NULL;
}

unsigned x86_cpuid_physical_bits(const struct x86_cpuid *cpuid)
{
	const struct x86_cpuid_entry *entry = x86_cpuid_find(cpuid, 0x80000008, 0);
	unsigned bits = entry ? entry->registers[CPUID_EAX] & 0xff : 36;

	return bits < 32 ? 32 : bits > 52 ? 52 : bits;
}

#define APIC_ID_SHIFT 24

void x86_cpuid_personalize(struct x86_cpuid *cpuid, uint32_t id)
{
	for (uint32_t i = 0; i < cpuid->count; i++) {
		struct x86_cpuid_entry *entry = &cpuid->entries[i];

		switch (entry->function) {
		case 0x1:
			entry->registers[CPUID_EBX] = (entry->registers[CPUID_EBX] & 0xffffff) | id << APIC_ID_SHIFT;
			break;
		case 0xb:
		case 0x1f:
			entry->registers[CPUID_EDX] = id;
			break;
		case 0x8000001e:
			entry->registers[CPUID_EAX] = id;
			entry->registers[CPUID_EBX] = (entry->registers[CPUID_EBX] & ~0xffu) | (id & 0xff);
			break;
		default:
			break;
		}
	}
}
