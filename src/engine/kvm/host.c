/* What this host's KVM has. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/kvm/private.h"

int kvm_call_value(int fd, unsigned long request, unsigned long argument)
{
	int r;

	do
		r = ioctl(fd, request, argument);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int kvm_call(int fd, unsigned long request, void *argument)
{
	return kvm_call_value(fd, request, (unsigned long)argument);
}

int kvm_has(int fd, unsigned capability)
{
	return kvm_call_value(fd, KVM_CHECK_EXTENSION, capability);
}

/* All of them are in Linux 4.16 and later. */
static const struct {
	unsigned number;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "memory slots"},
	{KVM_CAP_IRQCHIP, "interrupt controllers"},
	{KVM_CAP_PIT2, "the timer 8254"},
	{KVM_CAP_PIT_STATE2, "the state of the timer 8254"},
	{KVM_CAP_IRQ_ROUTING, "routes of interrupts"},
	{KVM_CAP_IRQFD, "irqfd"},
	{KVM_CAP_IOEVENTFD, "ioeventfd"},
	{KVM_CAP_MP_STATE, "processor states"},
	{KVM_CAP_VCPU_EVENTS, "the state of events"},
	{KVM_CAP_DEBUGREGS, "the state of debug registers"},
	{KVM_CAP_XSAVE, "the state of XSAVE"},
	{KVM_CAP_ADJUST_CLOCK, "the paravirtual clock's time"},
	{KVM_CAP_GET_TSC_KHZ, "the rate of the time stamp counter"},
	{KVM_CAP_X2APIC_API, "x2APIC ids"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate exits"},
	{KVM_CAP_EXT_CPUID, "CPUID"},
};

static int refuse_old(const char *what, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EOPNOTSUPP,
			 "this host's KVM has no %s: it takes Linux 5.10 or later on a processor with virtualization", what);
}

static int check_needed(int fd, struct error *e)
{
	if (kvm_call_value(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return refuse_old("known interface", e);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (kvm_has(fd, needed[i].number) <= 0)
			return refuse_old(needed[i].name, e);
	return 0;
}

int kvm_host_open(int *out, struct error *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), r;

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return error_set(e, ERROR_PERMISSION, -errno,
				 "/dev/kvm may not be opened; add this user to the group kvm, then log in again");
	if (fd < 0)
		return error_set(e, ERROR_FAILED, -errno,
				 "/dev/kvm can not be opened (%s); enable virtualization in the host's firmware and load "
				 "kvm_intel or kvm_amd", strerror(errno));
	r = check_needed(fd, e);
	if (r < 0)
		close(fd);
	else
		*out = fd;
	return r;
}

#define CPUID1_TSC_DEADLINE (1u << 24)
#define CPUID1_HYPERVISOR   (1u << 31) /* leaves from 0x40000000 mean something */

/* What is all zeros need not be told. False: no room. */
static bool take_entry(struct x86_cpuid *out, const struct kvm_cpuid_entry2 *entry)
{
	if (!(entry->eax | entry->ebx | entry->ecx | entry->edx))
		return true;
	if (out->count == X86_CPUID_MAX)
		return false;
	out->entries[out->count++] = (struct x86_cpuid_entry){
		.function = entry->function,
		.index = entry->index,
		.indexed = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.registers = {entry->eax, entry->ebx, entry->ecx, entry->edx},
	};
	return true;
}

static int get_cpuid(struct vm *vm, struct error *e)
{
	enum { ENTRIES = 256 };
	struct kvm_cpuid2 *list = calloc(1, sizeof *list + ENTRIES * sizeof list->entries[0]);
	bool deadline = kvm_has(vm->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	int r;

	if (!list)
		return error_errno(e, -ENOMEM, "CPUID");
	list->nent = ENTRIES;
	r = kvm_call(vm->kvm, KVM_GET_SUPPORTED_CPUID, list);
	for (uint32_t i = 0; r == 0 && i < list->nent && i < ENTRIES; i++) {
		/* Both are never listed, though they are there. */
		if (list->entries[i].function == 1)
			list->entries[i].ecx |= CPUID1_HYPERVISOR | (deadline ? CPUID1_TSC_DEADLINE : 0);
		if (!take_entry(&vm->host_cpuid, &list->entries[i]))
			r = -E2BIG;
	}
	free(list);
	return r < 0 ? error_errno(e, r, "KVM does not tell what CPUID it supports") : 0;
}

static uint32_t xsave_bytes(const struct vm *vm)
{
	int bytes = kvm_has(vm->fd, KVM_CAP_XSAVE2);

	return bytes > (int)sizeof(struct kvm_xsave) ? (uint32_t)bytes : (uint32_t)sizeof(struct kvm_xsave);
}

#define CPUID1_XSAVE   (1u << 26)
#define CPUID1_OSXSAVE (1u << 27)

/* Whatever runs on a processor whose system uses XSAVE can be offered it; an emulator does not know it. */
static bool seems_to_emulate(const struct vm *vm)
{
	const struct x86_cpuid_entry *offered = x86_cpuid_find(&vm->host_cpuid, 1, 0);
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & CPUID1_OSXSAVE) &&
	       !(offered && (offered->registers[CPUID_ECX] & CPUID1_XSAVE));
}

int kvm_host_describe(struct vm *vm, struct error *e)
{
	int run = kvm_call_value(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int khz = kvm_call_value(vm->fd, KVM_GET_TSC_KHZ, 0);

	if (run < (int)sizeof(struct kvm_run))
		return error_errno(e, run < 0 ? run : -EIO, "KVM does not tell the size of a vCPU");
	vm->run_bytes = (uint32_t)run;
	vm->host_tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	vm->sregs2 = kvm_has(vm->kvm, KVM_CAP_SREGS2) > 0;
	vm->xcrs = kvm_has(vm->kvm, KVM_CAP_XCRS) > 0;
	vm->xsave_bytes = xsave_bytes(vm);
	if (vm->xsave_bytes > X86_XSAVE_SIZE)
		return error_set(e, ERROR_FAILED, -EOPNOTSUPP, "this host's XSAVE area of %u bytes is larger than %u",
				 vm->xsave_bytes, X86_XSAVE_SIZE);
	run = get_cpuid(vm, e);
	vm->emulates = run == 0 && seems_to_emulate(vm);
	return run;
}

/* In no list of KVM's, though they are there: memory types (SDM 4, table 2-2) and banks of machine checks. */
static const struct {
	uint32_t first, count;
} unlisted[] = {
	{0x200, 16}, {0x250, 1}, {0x258, 2}, {0x268, 8}, {X86_MSR_MTRR_DEFAULT, 1}, {0x400, 4 * 10},
};

/* Held elsewhere, or another name of one that is in the list. */
static const uint32_t elsewhere[] = {X86_MSR_TSC, X86_MSR_APIC_BASE, X86_MSR_EFER, 0x11, 0x12};

static bool is_elsewhere(uint32_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		if (elsewhere[i] == index)
			return true;
	/* Of an interface to another hypervisor's guests, which no guest is shown. */
	return index >= 0x40000000 && index < 0x40000200;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

union msr_list {
	struct kvm_msr_list head;
	uint8_t room[sizeof(struct kvm_msr_list) + X86_MSRS_MAX * sizeof(uint32_t)];
};

static int gather_msrs(const struct vm *vm, union msr_list *list, struct error *e)
{
	uint32_t *indices;
	int r;

	list->head.nmsrs = X86_MSRS_MAX;
	r = kvm_call(vm->kvm, KVM_GET_MSR_INDEX_LIST, list);
	if (r < 0)
		return error_errno(e, r, "KVM does not list its %u model-specific registers", list->head.nmsrs);
	indices = list->head.indices;
	for (size_t i = 0; i < ARRAY_SIZE(unlisted); i++)
		for (uint32_t j = 0; j < unlisted[i].count && list->head.nmsrs < X86_MSRS_MAX; j++)
			indices[list->head.nmsrs++] = unlisted[i].first + j;
	qsort(indices, list->head.nmsrs, sizeof indices[0], by_value);
	return 0;
}

int kvm_host_list_msrs(struct engine_vcpu *vcpu, struct error *e)
{
	struct vm *vm = vcpu->vm;
	union msr_list *list = calloc(1, sizeof *list);
	int r = list ? gather_msrs(vm, list, e) : error_errno(e, -ENOMEM, "model-specific registers");
	const uint32_t *indices = list ? list->head.indices : NULL;

	vcpu->msr_count = 0;
	for (uint32_t i = 0; r == 0 && i < list->head.nmsrs; i++) {
		uint64_t value;

		if (is_elsewhere(indices[i]) || (i && indices[i] == indices[i - 1]) ||
		    kvm_get_msr(vcpu, indices[i], &value) < 0)
			continue;
		vm->msrs[vcpu->msr_count] = indices[i];
		vcpu->power_on[vcpu->msr_count++] = value;
	}
	vm->msr_count = vcpu->msr_count;
	free(list);
	return r;
}
