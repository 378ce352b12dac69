/* What KVM counts for a vCPU, read from its descriptor of statistics (Linux, Documentation/virt/kvm/api.rst, 4.133). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kvm/private.h"

#define NONE (-1)

/* The first is asked for by kvm_is_blocked; the others are counters for engine_statistics. */
static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	{"blocking", 0},
	{"exits", offsetof(struct engine_statistics, exits)},
	{"io_exits", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_PORT])},
	{"mmio_exits", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_MMIO])},
	{"halt_exits", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_IDLE])},
	{"signal_exits", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_KICK])},
	{"irq_injections", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_INTERRUPT])},
	{"insn_emulation", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_EMULATE])},
	{"pf_taken", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_TLB])},
	{"hypercalls", offsetof(struct engine_statistics, causes[ENGINE_CAUSE_SBI])},
};
_Static_assert(ARRAY_SIZE(counters) <= ARRAY_SIZE(((struct engine_vcpu *)0)->statistic_at), "room for all");

static void note(struct engine_vcpu *vcpu, const struct kvm_stats_desc *description, uint32_t data)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (description->size == 1 && strcmp(description->name, counters[i].name) == 0)
			vcpu->statistic_at[i] = (int32_t)(data + description->offset);
}

#define DESCRIPTIONS_MOST 512

static void find_counters(struct engine_vcpu *vcpu)
{
	struct kvm_stats_header header;
	size_t size;
	char *one;

	if (pread(vcpu->statistics, &header, sizeof header, 0) != (ssize_t)sizeof header ||
	    header.num_desc > DESCRIPTIONS_MOST || header.name_size == 0 || header.name_size > 256)
		return;
	size = sizeof(struct kvm_stats_desc) + header.name_size;
	one = malloc(size);
	for (uint32_t i = 0; one && i < header.num_desc; i++) {
		if (pread(vcpu->statistics, one, size, (off_t)(header.desc_offset + i * size)) != (ssize_t)size)
			break;
		one[size - 1] = '\0';
		note(vcpu, (const struct kvm_stats_desc *)(void *)one, header.data_offset);
	}
	free(one);
}

void kvm_statistics_open(struct engine_vcpu *vcpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(vcpu->statistic_at); i++)
		vcpu->statistic_at[i] = NONE;
	vcpu->statistics = kvm_call_value(vcpu->fd, KVM_GET_STATS_FD, 0);
	if (vcpu->statistics >= 0)
		find_counters(vcpu);
}

void kvm_statistics_close(struct engine_vcpu *vcpu)
{
	if (vcpu->statistics >= 0)
		close(vcpu->statistics);
}

static uint64_t read_counter(const struct engine_vcpu *vcpu, size_t index)
{
	uint64_t value = 0;

	if (vcpu->statistics < 0 || vcpu->statistic_at[index] == NONE ||
	    pread(vcpu->statistics, &value, sizeof value, vcpu->statistic_at[index]) != (ssize_t)sizeof value)
		return 0;
	return value;
}

void kvm_statistics(const struct engine_vcpu *vcpu, struct engine_statistics *out)
{
	*out = (struct engine_statistics){0};
	for (size_t i = 1; i < ARRAY_SIZE(counters); i++)
		*(uint64_t *)(void *)((char *)out + counters[i].offset) = read_counter(vcpu, i);
}

bool kvm_is_blocked(const struct engine_vcpu *vcpu)
{
	return read_counter(vcpu, 0) != 0;
}
