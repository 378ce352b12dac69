/*
 * Time that a quota held a vCPU, told to the guest as stolen (Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME).
 *
 * KVM adds what the thread waited for a processor to the sum in the guest's memory, when it enters guest code; it keeps no sum of its own.
 * So this thread, while it is out, adds what KVM can not know.
 */
#include "engine/kvm/private.h"

#define MSR_STEAL_TIME 0x4b564d03u
#define STEAL_ENABLED  UINT64_C(1)
#define STEAL_ALIGN    UINT64_C(64)

struct steal_area {
	le64_t steal; /* ns */
	le32_t version; /* odd while it changes */
	uint8_t rest[52];
};
_Static_assert(sizeof(struct steal_area) == 64, "as in msr.rst");

static void put_version(struct steal_area *area, uint32_t version)
{
	const le32_t value = le32_put(version);

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	area->version = value;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool kvm_steal(struct engine_vcpu *vcpu, uint64_t ns)
{
	struct memory *memory = vcpu->vm->platform.memory;
	struct steal_area *area;
	uint64_t told;
	uint32_t version;
	gpa_t at;

	if (kvm_get_msr(vcpu, MSR_STEAL_TIME, &told) < 0 || !(told & STEAL_ENABLED))
		return false;
	at = gpa(told & ~(STEAL_ALIGN - 1));
	area = memory_host(memory, at, sizeof *area);
	if (!area)
		return false;
	version = le32_get(area->version) | 1;
	put_version(area, version);
	area->steal = le64_put(le64_get(area->steal) + ns);
	put_version(area, version + 1);
	memory_mark_dirty(memory, at, sizeof *area);
	return true;
}
