/* Model-specific registers: which there are was found out when the vCPU was made (host.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kvm/private.h"

union msr_batch {
	struct kvm_msrs head;
	uint8_t room[sizeof(struct kvm_msrs) + X86_MSRS_MAX * sizeof(struct kvm_msr_entry)];
};

union one_msr {
	struct kvm_msrs head;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

int kvm_get_msr(struct engine_vcpu *vcpu, uint32_t index, uint64_t *value)
{
	union one_msr one = {.head.nmsrs = 1};
	int r;

	one.head.entries[0] = (struct kvm_msr_entry){.index = index};
	r = kvm_call(vcpu->fd, KVM_GET_MSRS, &one);
	if (r == 1)
		*value = one.head.entries[0].data;
	return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

int kvm_set_msr(struct engine_vcpu *vcpu, uint32_t index, uint64_t value)
{
	union one_msr one = {.head.nmsrs = 1};
	int r;

	one.head.entries[0] = (struct kvm_msr_entry){.index = index, .data = value};
	r = kvm_call(vcpu->fd, KVM_SET_MSRS, &one);
	return r < 0 ? r : r == 1 ? 0 : -EINVAL;
}

int kvm_store_msrs(struct engine_vcpu *vcpu, struct error *e)
{
	const struct vm *vm = vcpu->vm;
	union msr_batch *batch = calloc(1, sizeof *batch);
	int r;

	if (!batch)
		return error_errno(e, -ENOMEM, "model-specific registers");
	batch->head.nmsrs = vm->msr_count;
	for (uint32_t i = 0; i < vm->msr_count; i++)
		batch->head.entries[i].index = vm->msrs[i];
	r = kvm_call(vcpu->fd, KVM_GET_MSRS, batch);
	if (r >= 0 && (uint32_t)r < vm->msr_count)
		r = error_set(e, ERROR_FAILED, -EIO, "KVM does not tell model-specific register 0x%x", vm->msrs[r]);
	else if (r < 0)
		error_errno(e, r, "KVM does not tell its model-specific registers");
	for (uint32_t i = 0; r >= 0 && i < vm->msr_count; i++)
		vcpu->cpu->msrs[i] = (struct x86_msr){vm->msrs[i], batch->head.entries[i].data};
	if (r >= 0)
		vcpu->cpu->msr_count = vm->msr_count;
	free(batch);
	return r < 0 ? r : 0;
}

/* All of the host's with their values of power-on, then what the state says, in ascending order. */
static uint32_t plan(const struct engine_vcpu *vcpu, struct kvm_msr_entry *entries, uint32_t room)
{
	const struct vm *vm = vcpu->vm;
	const struct x86_cpu *cpu = vcpu->cpu;
	uint32_t count = 0, h = 0, s = 0;

	while (count < room && (h < vm->msr_count || s < cpu->msr_count)) {
		bool host = h < vm->msr_count && (s == cpu->msr_count || vm->msrs[h] <= cpu->msrs[s].index);
		bool state = s < cpu->msr_count && (h == vm->msr_count || cpu->msrs[s].index <= vm->msrs[h]);

		entries[count++] = (struct kvm_msr_entry){
			.index = state ? cpu->msrs[s].index : vm->msrs[h],
			.data = state ? cpu->msrs[s].value : vcpu->power_on[h],
		};
		h += host;
		s += state;
	}
	return count;
}

/* The host can not hold this value. It does no harm when it holds the same anyway, or the value is that of a register which
 * the guest was not offered. */
static bool is_needless(struct engine_vcpu *vcpu, const struct kvm_msr_entry *entry)
{
	uint64_t present;

	return entry->data == 0 || (kvm_get_msr(vcpu, entry->index, &present) == 0 && present == entry->data);
}

struct refusal {
	char list[300];
	unsigned count;
};

static void refuse(struct refusal *refusal, const struct kvm_msr_entry *entry)
{
	size_t used = strlen(refusal->list);

	if (refusal->count++ < 6)
		snprintf(refusal->list + used, sizeof refusal->list - used, "%s0x%x = 0x%llx",
			 refusal->count > 1 ? ", " : "", entry->index, (unsigned long long)entry->data);
}

/* As many at once as KVM takes; it ends at the first that it refuses. */
static int set_batch(struct engine_vcpu *vcpu, union msr_batch *batch, const struct kvm_msr_entry *entries,
		     uint32_t count, struct refusal *refusal)
{
	for (uint32_t at = 0; at < count;) {
		int r;

		batch->head.nmsrs = count - at;
		memcpy(batch->head.entries, entries + at, (count - at) * sizeof entries[0]);
		r = kvm_call(vcpu->fd, KVM_SET_MSRS, batch);
		if (r < 0)
			return r;
		at += (uint32_t)r;
		if (at < count && !is_needless(vcpu, &entries[at]))
			refuse(refusal, &entries[at]);
		at++;
	}
	return 0;
}

#define PLAN_MAX (2 * X86_MSRS_MAX)
#define BATCH    256u

static int set_all(struct engine_vcpu *vcpu, struct kvm_msr_entry *entries, union msr_batch *batch,
		   struct refusal *refusal)
{
	uint32_t count = plan(vcpu, entries, PLAN_MAX);
	int r = 0;

	for (uint32_t at = 0; r == 0 && at < count; at += BATCH)
		r = set_batch(vcpu, batch, entries + at, count - at < BATCH ? count - at : BATCH, refusal);
	return r;
}

int kvm_load_msrs(struct engine_vcpu *vcpu, struct error *e)
{
	struct kvm_msr_entry *entries = calloc(PLAN_MAX, sizeof *entries);
	union msr_batch *batch = calloc(1, sizeof *batch);
	struct refusal refusal = {.count = 0};
	int r = entries && batch ? set_all(vcpu, entries, batch, &refusal) : -ENOMEM;

	free(batch);
	free(entries);
	if (r < 0)
		return error_errno(e, r, "CPU %u's model-specific registers", vcpu->cpu->cpu.id);
	if (!refusal.count)
		return 0;
	return error_set(e, ERROR_FAILED, -EOPNOTSUPP,
			 "this host can not hold %u model-specific registers of CPU %u: %s; load it on a host like the one "
			 "that saved it", refusal.count, vcpu->cpu->cpu.id, refusal.list);
}
