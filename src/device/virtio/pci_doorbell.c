/* Kicks that the engine turns into events for the worker, one address a queue (Virtio 1.2, 4.1.4.4). */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "device/virtio/pci.h"

#define KICK_SIZE 2 /* bytes that a driver writes to notify (4.1.5.2); other sizes come by the bus */

static void rung(void *arg, uint32_t events)
{
	const struct virtio_doorbell *bell = arg;
	eventfd_t times;

	(void)events;
	if (eventfd_read(bell->eventfd, &times) == 0)
		virtio_kick(bell->virtio, bell->queue);
}

static int watch_all(void *arg, struct error *e)
{
	struct virtio_pci *pci = arg;
	struct loop *loop = worker_loop(pci->virtio->worker);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < pci->virtio->queue_count; i++) {
		struct virtio_doorbell *bell = &pci->doorbells[i];

		r = loop_watch(loop, bell->eventfd, EPOLLIN, rung, bell, &bell->watch, e);
	}
	return r;
}

int virtio_pci_make_doorbells(struct virtio_pci *pci, struct error *e)
{
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		pci->doorbells[i] = (struct virtio_doorbell){.virtio = pci->virtio, .queue = i, .eventfd = -1};
	pci->bells = pci_doorbells(&pci->function);
	if (!pci->bells)
		return 0;
	for (unsigned i = 0; i < pci->virtio->queue_count; i++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return error_errno(e, -errno, "an event for the queues of %s", pci->virtio->device.name);
		pci->doorbells[i].eventfd = fd;
	}
	return worker_try(pci->virtio->worker, watch_all, pci, e);
}

static gpa_t address_of(const struct virtio_doorbell *bell, uint64_t base)
{
	return gpa(base + VIRTIO_PCI_NOTIFY + (uint64_t)bell->queue * VIRTIO_PCI_NOTIFY_WIDTH);
}

void virtio_pci_move_doorbells(struct virtio_pci *pci, uint64_t from, uint64_t to)
{
	const struct bus_doorbells *bells = pci->bells;

	for (unsigned i = 0; bells && i < pci->virtio->queue_count; i++) {
		struct virtio_doorbell *bell = &pci->doorbells[i];

		if (bell->rings)
			bells->remove(bells->engine, address_of(bell, from), KICK_SIZE, bell->eventfd);
		bell->rings = to != PCI_NOWHERE &&
			      bells->add(bells->engine, address_of(bell, to), KICK_SIZE, bell->eventfd) == 0;
	}
}

static void unwatch_all(void *arg)
{
	struct virtio_pci *pci = arg;

	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		loop_unwatch(worker_loop(pci->virtio->worker), pci->doorbells[i].watch);
		pci->doorbells[i].watch = NULL;
	}
}

void virtio_pci_end_doorbells(struct virtio_pci *pci)
{
	if (!pci->bells)
		return;
	virtio_pci_move_doorbells(pci, atomic_load(&pci->function.bars[0].base), PCI_NOWHERE);
	worker_call(pci->virtio->worker, unwatch_all, pci);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		if (pci->doorbells[i].eventfd >= 0)
			close(pci->doorbells[i].eventfd);
	pci->bells = NULL;
}
