/*
 * Ways between devices and guest that pass by the vCPU's thread: lines (KVM_IRQ_LINE), messages (an eventfd each, which KVM turns
 * into the message that the driver wrote), and doorbells (a write of the guest's becomes an eventfd's count).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/kvm/private.h"

static void set_line(void *controller, unsigned number, bool level)
{
	struct vm *vm = controller;
	struct kvm_irq_level line = {.irq = number, .level = level};

	(void)kvm_call(vm->fd, KVM_IRQ_LINE, &line);
}

/* Routes of lines that KVM has from the start, told again with each change, and of messages. */
union routing {
	struct kvm_irq_routing head;
	uint8_t room[sizeof(struct kvm_irq_routing) +
		     (16 + X86_LINES + KVM_ROUTES_MAX) * sizeof(struct kvm_irq_routing_entry)];
};

static void add_chip_route(union routing *routing, unsigned line, unsigned chip, unsigned pin)
{
	routing->head.entries[routing->head.nr++] = (struct kvm_irq_routing_entry){
		.gsi = line, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {.irqchip = chip, .pin = pin}};
}

static void add_lines(union routing *routing)
{
	for (unsigned line = 0; line < X86_LINES; line++) {
		add_chip_route(routing, line, KVM_IRQCHIP_IOAPIC, line);
		if (line < 16)
			add_chip_route(routing, line, line < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, line % 8);
	}
}

/* Where local APICs listen (SDM 3, 11.11.1). KVM refuses all routes for one that leads elsewhere. */
static bool leads_somewhere(const struct msi_route *route)
{
	return route->set && route->message.address >> 20 == X86_LAPIC_BASE >> 20;
}

static void add_message(union routing *routing, const struct msi_route *route)
{
	routing->head.entries[routing->head.nr++] = (struct kvm_irq_routing_entry){
		.gsi = route->number,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = (uint32_t)route->message.address, .data = route->message.data},
	};
}

/* With routes_lock held. */
static int tell_routes(struct vm *vm)
{
	union routing *routing = calloc(1, sizeof *routing);
	int r;

	if (!routing)
		return -ENOMEM;
	add_lines(routing);
	for (unsigned i = 0; i < KVM_ROUTES_MAX; i++)
		if (vm->routes[i] && leads_somewhere(vm->routes[i]))
			add_message(routing, vm->routes[i]);
	r = kvm_call(vm->fd, KVM_SET_GSI_ROUTING, routing);
	free(routing);
	return r;
}

static int join(struct msi_route *route, uint32_t flags)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)route->eventfd, .gsi = route->number, .flags = flags};

	return kvm_call(route->vm->fd, KVM_IRQFD, &irqfd);
}

/* With routes_lock held. */
static int take_number(struct vm *vm, struct msi_route *route)
{
	for (unsigned i = 0; i < KVM_ROUTES_MAX; i++) {
		if (vm->routes[i])
			continue;
		vm->routes[i] = route;
		route->number = X86_LINES + i;
		return 0;
	}
	return -ENOSPC;
}

static void give_number_back(struct vm *vm, struct msi_route *route)
{
	vm->routes[route->number - X86_LINES] = NULL;
}

static int connect_route(struct vm *vm, struct msi_route *route)
{
	int r;

	route->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (route->eventfd < 0)
		return -errno;
	pthread_mutex_lock(&vm->routes_lock);
	r = take_number(vm, route);
	if (r == 0) {
		r = join(route, 0);
		if (r < 0)
			give_number_back(vm, route);
	}
	pthread_mutex_unlock(&vm->routes_lock);
	if (r < 0)
		close(route->eventfd);
	return r;
}

static int route_new(void *controller, struct msi_route **out, struct error *e)
{
	struct vm *vm = controller;
	struct msi_route *route = calloc(1, sizeof *route);
	int r = route ? 0 : -ENOMEM;

	if (route) {
		route->vm = vm;
		r = connect_route(vm, route);
	}
	if (r < 0) {
		free(route);
		return error_errno(e, r, "an interrupt by message");
	}
	*out = route;
	return 0;
}

static void route_free(void *controller, struct msi_route *route)
{
	struct vm *vm = controller;

	if (!route)
		return;
	pthread_mutex_lock(&vm->routes_lock);
	(void)join(route, KVM_IRQFD_FLAG_DEASSIGN);
	give_number_back(vm, route);
	if (route->set)
		(void)tell_routes(vm);
	pthread_mutex_unlock(&vm->routes_lock);
	close(route->eventfd);
	free(route);
}

static void route_set(void *controller, struct msi_route *route, struct msi_message message)
{
	struct vm *vm = controller;

	pthread_mutex_lock(&vm->routes_lock);
	if (!route->set || route->message.address != message.address || route->message.data != message.data) {
		route->message = message;
		route->set = true;
		(void)tell_routes(vm);
	}
	pthread_mutex_unlock(&vm->routes_lock);
}

static void route_fire(void *controller, struct msi_route *route)
{
	const uint64_t one = 1;
	ssize_t written = write(route->eventfd, &one, sizeof one);

	(void)controller;
	/* The only way to fail is that 2^64 - 2 are told and not taken. */
	(void)written;
}

static int ring_bell(struct vm *vm, gpa_t address, unsigned size, int eventfd, uint32_t flags)
{
	struct kvm_ioeventfd bell = {.addr = address.value, .len = size, .fd = eventfd, .flags = flags};

	return kvm_call(vm->fd, KVM_IOEVENTFD, &bell);
}

static int add_doorbell(void *engine, gpa_t address, unsigned size, int eventfd)
{
	return ring_bell(engine, address, size, eventfd, 0);
}

static void remove_doorbell(void *engine, gpa_t address, unsigned size, int eventfd)
{
	(void)ring_bell(engine, address, size, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

void kvm_messages_init(struct vm *vm)
{
	for (unsigned i = 0; i < X86_LINES; i++)
		vm->platform.lines[i] = (struct irq_line){.set = set_line, .controller = vm, .number = i};
	vm->msi = (struct msi_controller){.route_new = route_new,
					  .route_free = route_free,
					  .route_set = route_set,
					  .route_fire = route_fire,
					  .controller = vm};
	vm->platform.msi = &vm->msi;
	vm->doorbells = (struct bus_doorbells){.add = add_doorbell, .remove = remove_doorbell, .engine = vm};
	vm->platform.bus->doorbells = &vm->doorbells;
}

void kvm_messages_finish(struct vm *vm)
{
	if (vm->platform.bus->doorbells == &vm->doorbells)
		vm->platform.bus->doorbells = NULL;
}
