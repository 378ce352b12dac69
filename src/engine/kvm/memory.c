/*
 * Guest memory as KVM's slots, a slot for each region, and what changed in it.
 *
 * Where the host has them, a ring of each vCPU tells the pages that it wrote, so that collecting costs as much as there was
 * written; else KVM's bitmap of each slot is fetched, and its pages are protected anew when they were fetched (manual protect), or
 * by fetching them. A ring that is nearly full ends KVM_RUN, and the vCPU's thread empties all of them. A KVM that emulates guest
 * code does not look at rings while it does, and writes over what nobody has read yet: there it is the bitmap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "engine/kvm/private.h"

#define RING_ENTRIES 4096u

int kvm_memory_check(const struct vm *vm, struct error *e)
{
	int slots = kvm_has(vm->fd, KVM_CAP_NR_MEMSLOTS);

	/* Old hosts do not tell; all have more than a machine takes. */
	if (slots <= 0 || (unsigned)slots >= vm->platform.memory->count)
		return 0;
	return error_set(e, ERROR_FAILED, -ENOSPC,
			 "this host's KVM has %d memory slots, and the machine takes %u; give it less than 3 GiB with --memory",
			 slots, vm->platform.memory->count);
}

int kvm_memory_map(struct vm *vm, bool log, struct error *e)
{
	const struct memory *memory = vm->platform.memory;

	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
			.guest_phys_addr = region->base.value,
			.memory_size = region->size,
			.userspace_addr = (uint64_t)(uintptr_t)region->host,
		};
		int r = kvm_call(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);

		if (r < 0)
			return error_set(e, ERROR_FAILED, r, "KVM refuses RAM '%s', %llu MiB at 0x%llx: %s", region->name,
					 (unsigned long long)(region->size / MIB),
					 (unsigned long long)region->base.value, strerror(-r));
	}
	return 0;
}

static void use_ring(struct vm *vm)
{
	static const uint32_t capabilities[] = {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING};

	for (size_t i = 0; i < ARRAY_SIZE(capabilities) && !vm->ring_entries; i++) {
		const uint32_t bytes = RING_ENTRIES * (uint32_t)sizeof(struct kvm_dirty_gfn);
		struct kvm_enable_cap enable = {.cap = capabilities[i], .args = {bytes}};

		if (kvm_has(vm->fd, capabilities[i]) >= (int)bytes && kvm_call(vm->fd, KVM_ENABLE_CAP, &enable) == 0)
			vm->ring_entries = RING_ENTRIES;
	}
}

static void use_manual_protect(struct vm *vm)
{
	struct kvm_enable_cap enable = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					.args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};

	if (kvm_has(vm->fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		vm->manual_protect = kvm_call(vm->fd, KVM_ENABLE_CAP, &enable) == 0;
}

int kvm_memory_map_ring(struct engine_vcpu *vcpu)
{
	size_t bytes = vcpu->vm->ring_entries * sizeof(struct kvm_dirty_gfn);
	void *ring;

	if (bytes == 0)
		return 0;
	ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, KVM_DIRTY_LOG_PAGE_OFFSET * 4096L);
	if (ring == MAP_FAILED)
		return -errno;
	vcpu->ring = ring;
	return 0;
}

static void mark(struct vm *vm, uint32_t slot, uint64_t page)
{
	struct memory *memory = vm->platform.memory;

	if (slot < memory->count && page < memory->regions[slot].size >> GUEST_PAGE_SHIFT)
		memory_mark_dirty(memory, gpa_add(memory->regions[slot].base, page << GUEST_PAGE_SHIFT), 1);
}

/* Returns how many there were. The flags' order is that of Documentation/virt/kvm/api.rst, 8.29. */
static uint32_t empty_ring(struct engine_vcpu *vcpu)
{
	uint32_t count = 0;

	for (; count < vcpu->vm->ring_entries; count++) {
		struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->ring_next % vcpu->vm->ring_entries];

		if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		mark(vcpu->vm, entry->slot & 0xffff, entry->offset);
		__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		vcpu->ring_next++;
	}
	return count;
}

void kvm_memory_harvest(struct vm *vm)
{
	uint32_t count = 0;

	pthread_mutex_lock(&vm->ring_lock);
	for (unsigned i = 0; i < CPUS_MAX; i++)
		if (vm->vcpus[i] && vm->vcpus[i]->ring)
			count += empty_ring(vm->vcpus[i]);
	/* These pages are protected anew, before anyone reads them. */
	if (count)
		(void)kvm_call_value(vm->fd, KVM_RESET_DIRTY_RINGS, 0);
	pthread_mutex_unlock(&vm->ring_lock);
}

static void mark_words(struct vm *vm, uint32_t slot, uint64_t words)
{
	for (uint64_t w = 0; w < words; w++)
		for (uint64_t rest = vm->bitmap[w]; rest; rest &= rest - 1)
			mark(vm, slot, w * 64 + (uint64_t)__builtin_ctzll(rest));
}

static int fetch_log(struct vm *vm, uint32_t slot)
{
	struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = vm->bitmap};

	return kvm_call(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

static int protect_anew(struct vm *vm, uint32_t slot, uint64_t pages)
{
	struct kvm_clear_dirty_log clear = {.slot = slot, .dirty_bitmap = vm->bitmap, .num_pages = (uint32_t)pages};

	return kvm_call(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
}

/* Nobody knows what changed: all may have. */
static void mark_all(struct vm *vm, const struct memory_region *region, int why)
{
	log_line(LOG_ERROR, "kvm", "the host does not tell which pages of RAM '%s' changed (%s): all count as changed",
		 region->name, strerror(-why));
	memory_mark_dirty(vm->platform.memory, region->base, region->size);
}

static void collect_log(struct vm *vm, uint32_t slot)
{
	const struct memory_region *region = &vm->platform.memory->regions[slot];
	uint64_t pages = region->size >> GUEST_PAGE_SHIFT;
	int r = fetch_log(vm, slot);

	/* Where protecting is a call of its own it comes before anyone reads the pages, too. */
	if (r == 0 && vm->manual_protect)
		r = protect_anew(vm, slot, pages);
	if (r < 0)
		mark_all(vm, region, r);
	else
		mark_words(vm, slot, memory_dirty_words(region));
}

static void collect(void *engine, unsigned region)
{
	struct vm *vm = engine;

	if (vm->ring_entries)
		kvm_memory_harvest(vm);
	else
		collect_log(vm, region);
}

static int prepare_bitmap(struct vm *vm)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < vm->platform.memory->count; i++) {
		uint64_t words = memory_dirty_words(&vm->platform.memory->regions[i]);

		most = words > most ? words : most;
	}
	if (!vm->bitmap)
		vm->bitmap = calloc(most, sizeof *vm->bitmap);
	return vm->bitmap ? 0 : -ENOMEM;
}

static void stop(void *engine)
{
	struct vm *vm = engine;
	struct error e;

	if (kvm_memory_map(vm, false, &e) < 0)
		log_line(LOG_WARNING, "kvm", "changes of memory are still tracked: %s", e.message);
	/* What is in the rings belongs to nothing any more. */
	if (vm->ring_entries)
		kvm_memory_harvest(vm);
}

static int start(void *engine, struct error *e)
{
	struct vm *vm = engine;
	int r = vm->ring_entries ? 0 : prepare_bitmap(vm);

	if (r < 0)
		return error_errno(e, r, "a bitmap of what changes");
	r = kvm_memory_map(vm, true, e);
	if (r < 0)
		stop(vm);
	return r;
}

void kvm_memory_prepare(struct vm *vm)
{
	if (!(vm->without & X86_WITHOUT_DIRTY_RING) && (!vm->emulates || vm->without & X86_WITH_DIRTY_RING))
		use_ring(vm);
	if (!vm->ring_entries && !(vm->without & X86_WITHOUT_MANUAL_PROTECT))
		use_manual_protect(vm);
	vm->tracker = (struct memory_tracker){.start = start, .stop = stop, .collect = collect, .engine = vm};
	vm->platform.memory->tracker = &vm->tracker;
}

void kvm_memory_finish(struct vm *vm)
{
	if (vm->platform.memory->tracker == &vm->tracker)
		vm->platform.memory->tracker = NULL;
	free(vm->bitmap);
}
