/* A virtual machine of KVM's, and the chips that it emulates. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kvm/private.h"
#include "host/cpus.h"

#define TSS_OFFSET 0x1000 /* of X86_HOST_PAGES: three pages, after that of the identity map */

static int call(struct vm *vm, unsigned long request, void *argument, const char *what, struct error *e)
{
	int r = kvm_call(vm->fd, request, argument);

	return r < 0 ? error_errno(e, r, "KVM refuses %s", what) : 0;
}

static int enable(struct vm *vm, uint32_t capability, uint64_t argument)
{
	struct kvm_enable_cap enable = {.cap = capability, .args = {argument}};

	return kvm_call(vm->fd, KVM_ENABLE_CAP, &enable);
}

static bool has_enabled(struct vm *vm, uint32_t capability)
{
	return kvm_has(vm->fd, capability) > 0 && enable(vm, capability, 1) == 0;
}

/* While a halted vCPU is polled for, nobody else uses its processor: only where there are enough. */
static void choose_halt_polling(struct vm *vm, unsigned cpus)
{
	const unsigned ns = cpus_usable() > cpus ? 100000 : 0;

	if (kvm_has(vm->kvm, KVM_CAP_HALT_POLL) > 0)
		(void)enable(vm, KVM_CAP_HALT_POLL, ns);
}

/* Ticks of the 8254 that nobody took are lost, as on hardware, instead of being made up for after a pause. */
static void choose_no_reinjection(struct vm *vm)
{
	struct kvm_reinject_control control = {.pit_reinject = 0};

	(void)kvm_call(vm->fd, KVM_REINJECT_CONTROL, &control);
}

static int make_chips(struct vm *vm, struct error *e)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity = X86_HOST_PAGES;
	int r;

	/* Only old processors need these two, and KVM may refuse them on others. */
	(void)kvm_call(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	(void)kvm_call_value(vm->fd, KVM_SET_TSS_ADDR, X86_HOST_PAGES + TSS_OFFSET);
	r = enable(vm, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
	if (r < 0)
		return error_errno(e, r, "KVM refuses x2APIC ids");
	r = call(vm, KVM_CREATE_IRQCHIP, NULL, "interrupt controllers", e);
	return r < 0 ? r : call(vm, KVM_CREATE_PIT2, &pit, "a timer 8254", e);
}

static int make_vm(struct vm *vm, unsigned cpus, struct error *e)
{
	int r = kvm_host_open(&vm->kvm, e), most;

	if (r < 0)
		return r;
	vm->fd = kvm_call_value(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return error_errno(e, vm->fd, "KVM makes no virtual machine");
	most = kvm_has(vm->fd, KVM_CAP_MAX_VCPUS);
	if (most > 0 && (int)cpus > most)
		return error_set(e, ERROR_USAGE, -EINVAL, "this host's KVM has at most %d CPUs for a machine", most);
	r = make_chips(vm, e);
	if (r < 0)
		return r;
	vm->payloads = has_enabled(vm, KVM_CAP_EXCEPTION_PAYLOAD);
	vm->triple_faults = has_enabled(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	choose_halt_polling(vm, cpus);
	choose_no_reinjection(vm);
	return kvm_host_describe(vm, e);
}

static int choose_cpuid(struct vm *vm, const struct x86_platform_config *config, struct error *e)
{
	const struct x86_topology topology = {.cpus = config->cpus, .tsc_khz = vm->host_tsc_khz};
	struct x86_model model;
	int r = x86_model_parse(&model, config->cpu_model ? config->cpu_model : "host", e);

	return r < 0 ? r : x86_cpuid_build(&vm->platform.cpuid, &vm->host_cpuid, &model, &topology, e);
}

static void fill_in(struct vm *vm, const struct x86_platform_config *config)
{
	vm->kvm = vm->fd = -1;
	vm->without = config->without;
	vm->platform.memory = config->memory;
	vm->platform.bus = config->bus;
	vm->platform.ports = config->ports;
	vm->platform.clock = config->clock;
	vm->platform.power = config->power;
	vm->platform.cpus_most = config->cpus;
	pthread_mutex_init(&vm->routes_lock, NULL);
	pthread_mutex_init(&vm->ring_lock, NULL);
}

static void platform_free(struct x86_platform *platform)
{
	struct vm *vm = vm_of(platform);

	if (!platform)
		return;
	if (platform->clock->listener == &vm->clock_listener)
		platform->clock->listener = NULL;
	kvm_messages_finish(vm);
	kvm_memory_finish(vm);
	kvm_posted_finish(vm);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm >= 0)
		close(vm->kvm);
	pthread_mutex_destroy(&vm->ring_lock);
	pthread_mutex_destroy(&vm->routes_lock);
	free(vm);
}

static int platform_loaded(struct x86_platform *platform, struct error *e);

static void platform_reset(struct x86_platform *platform)
{
	x86_chips_reset(&platform->chips);
}

static int set_up(struct vm *vm, const struct x86_platform_config *config, struct error *e)
{
	int r = make_vm(vm, config->cpus, e);

	if (r == 0)
		r = choose_cpuid(vm, config, e);
	if (r < 0)
		return r;
	vm->platform.tsc_khz = vm->host_tsc_khz;
	kvm_memory_prepare(vm);
	kvm_posted_prepare(vm, config->output_port);
	kvm_messages_init(vm);
	kvm_time_init(vm);
	r = kvm_memory_check(vm, e);
	if (r == 0)
		r = kvm_memory_map(vm, false, e);
	if (r < 0)
		return r;
	platform_reset(&vm->platform);
	return platform_loaded(&vm->platform, e);
}

static int platform_new(struct x86_platform **out, const struct x86_platform_config *config, struct error *e)
{
	struct vm *vm = calloc(1, sizeof *vm);
	int r;

	if (!vm)
		return error_errno(e, -ENOMEM, "a virtual machine");
	fill_in(vm, config);
	r = set_up(vm, config, e);
	if (r < 0)
		platform_free(&vm->platform);
	else
		*out = &vm->platform;
	return r;
}

_Static_assert(X86_LINES == KVM_IOAPIC_NUM_PINS, "the IOAPIC is KVM's");

/* The fields of one chip in KVM's struct and in ours, by the same names. */
#define PIC_FIELDS(F)                                                                                              \
	F(last_irr) F(irr) F(imr) F(isr) F(priority_add) F(irq_base) F(read_reg_select) F(poll) F(special_mask)        \
	F(init_state) F(auto_eoi) F(rotate_on_auto_eoi) F(special_fully_nested_mode) F(init4) F(elcr) F(elcr_mask)
#define PIT_FIELDS(F)                                                                                              \
	F(count) F(latched_count) F(count_latched) F(status_latched) F(status) F(read_state) F(write_state)            \
	F(write_latch) F(rw_mode) F(mode) F(bcd) F(gate)

static int store_pic(struct vm *vm, unsigned index, struct error *e)
{
	struct kvm_irqchip chip = {.chip_id = index == 0 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE};
	struct x86_pic *to = &vm->platform.chips.pics[index];
	int r = call(vm, KVM_GET_IRQCHIP, &chip, "to tell the state of its 8259", e);

#define F(name) to->name = chip.chip.pic.name;
	if (r == 0) {
		PIC_FIELDS(F)
	}
#undef F
	return r;
}

static int load_pic(struct vm *vm, unsigned index, struct error *e)
{
	struct kvm_irqchip chip = {.chip_id = index == 0 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE};
	const struct x86_pic *from = &vm->platform.chips.pics[index];

#define F(name) chip.chip.pic.name = from->name;
	PIC_FIELDS(F)
#undef F
	return call(vm, KVM_SET_IRQCHIP, &chip, "the state of the 8259", e);
}

static int store_ioapic(struct vm *vm, struct error *e)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
	struct x86_chips *to = &vm->platform.chips;
	int r = call(vm, KVM_GET_IRQCHIP, &chip, "to tell the state of its IOAPIC", e);

	if (r < 0)
		return r;
	to->ioapic_base = chip.chip.ioapic.base_address;
	to->ioapic_select = chip.chip.ioapic.ioregsel;
	to->ioapic_id = chip.chip.ioapic.id;
	to->ioapic_lines = chip.chip.ioapic.irr;
	for (unsigned i = 0; i < X86_LINES; i++)
		to->ioapic_redirection[i] = chip.chip.ioapic.redirtbl[i].bits;
	return 0;
}

static int load_ioapic(struct vm *vm, struct error *e)
{
	const struct x86_chips *from = &vm->platform.chips;
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};

	chip.chip.ioapic.base_address = from->ioapic_base;
	chip.chip.ioapic.ioregsel = from->ioapic_select;
	chip.chip.ioapic.id = from->ioapic_id;
	chip.chip.ioapic.irr = from->ioapic_lines;
	for (unsigned i = 0; i < X86_LINES; i++)
		chip.chip.ioapic.redirtbl[i].bits = from->ioapic_redirection[i];
	return call(vm, KVM_SET_IRQCHIP, &chip, "the state of the IOAPIC", e);
}

static int store_pit(struct vm *vm, struct error *e)
{
	struct kvm_pit_state2 pit = {.flags = 0};
	struct x86_chips *to = &vm->platform.chips;
	int r = call(vm, KVM_GET_PIT2, &pit, "to tell the state of its 8254", e);

#define F(name) to->pit[i].name = pit.channels[i].name;
	for (unsigned i = 0; r == 0 && i < 3; i++) {
		PIT_FIELDS(F)
	}
#undef F
	if (r == 0)
		to->pit_flags = pit.flags;
	return r;
}

static int load_pit(struct vm *vm, struct error *e)
{
	const struct x86_chips *from = &vm->platform.chips;
	struct kvm_pit_state2 pit = {.flags = from->pit_flags};

#define F(name) pit.channels[i].name = from->pit[i].name;
	for (unsigned i = 0; i < 3; i++) {
		PIT_FIELDS(F)
	}
#undef F
	return call(vm, KVM_SET_PIT2, &pit, "the state of the 8254", e);
}

static int platform_store(struct x86_platform *platform, struct error *e)
{
	struct vm *vm = vm_of(platform);
	int r = store_ioapic(vm, e);

	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = store_pic(vm, i, e);
	if (r == 0)
		r = store_pit(vm, e);
	if (r == 0)
		kvm_time_chips_stored(vm);
	return r;
}

static int platform_loaded(struct x86_platform *platform, struct error *e)
{
	struct vm *vm = vm_of(platform);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = load_pic(vm, i, e);
	if (r == 0)
		r = load_ioapic(vm, e);
	if (r == 0)
		r = load_pit(vm, e);
	if (r == 0)
		kvm_time_chips_loaded(vm);
	return r;
}

const struct x86_engine kvm_x86 = {
	.platform_new = platform_new,
	.platform_free = platform_free,
	.platform_reset = platform_reset,
	.platform_store = platform_store,
	.platform_loaded = platform_loaded,
};
