#include "machine/load.h"

#include "base/clock.h"
#include "device/virtio/blk.h"
#include "device/virtio/net.h"
#include "machine/private.h"

static void read_virtio(struct virtio *virtio, struct virtio_statistics *out)
{
	_Atomic uint64_t *from = (_Atomic uint64_t *)&virtio->statistics, *to = (_Atomic uint64_t *)out;

	for (size_t i = 0; i < sizeof *out / sizeof *to; i++)
		atomic_init(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
}

static void count_accesses(const struct bus *bus, const struct device *device, struct machine_device_load *out)
{
	out->reads = atomic_load_explicit(&device->reads, memory_order_relaxed);
	out->writes = atomic_load_explicit(&device->writes, memory_order_relaxed);
	for (unsigned i = 0; i < bus->count; i++) {
		const struct bus_region *region = &bus->regions[i];

		if (region->device != device)
			continue;
		out->reads += atomic_load_explicit(&region->reads, memory_order_relaxed);
		out->writes += atomic_load_explicit(&region->writes, memory_order_relaxed);
	}
}

static void measure_device(const struct board *board, struct device *device, struct machine_device_load *out)
{
	struct virtio *virtio = virtio_of(device);

	*out = (struct machine_device_load){.name = device->name, .kind = device->type->name};
	count_accesses(&board->bus, device, out);
	out->is_virtio = virtio != NULL;
	out->is_disk = device->type == &virtio_blk_type;
	out->is_nic = device->type == &virtio_net_type;
	if (out->is_virtio)
		read_virtio(virtio, &out->virtio);
	if (out->is_disk)
		block_get_statistics(virtio_blk_block(virtio), &out->disk);
}

static unsigned count_asleep(const struct board *board)
{
	unsigned asleep = 0;

	for (unsigned i = 0; i < board->cpu_count; i++)
		asleep += cpu_is_asleep(board->cpus[i]);
	return asleep;
}

static void measure_memory(struct machine *machine, struct machine_load *out)
{
	out->memory_bytes = memory_size(&machine->board->memory);
	gauge_read(&machine->gauge, &machine->board->memory, &out->memory);
	out->has_balloon = machine->balloon != NULL;
	if (!machine->balloon)
		return;
	virtio_balloon_get_statistics(machine->balloon, &out->balloon);
	/* The guest says it. */
	if (out->balloon.actual_bytes > out->memory_bytes)
		out->balloon.actual_bytes = out->memory_bytes;
	if (machine->state == MACHINE_RUNNING)
		virtio_balloon_ask_statistics(machine->balloon);
}

void machine_measure(struct machine *machine, struct machine_load *out)
{
	struct board *board = machine->board;

	*out = (struct machine_load){.at_ns = clock_host_ns(),
				     .guest_ns = clock_ticks(&board->clock) * CLOCK_NS_PER_TICK,
				     .state = machine->state,
				     .stalled = machine->stalled,
				     .cpus = board->cpu_count,
				     .asleep = count_asleep(board),
				     .engine_name = crew_engine(machine->crew)->name};
	machine_use(machine, &out->use);
	machine_get_quota(machine, &out->quota);
	machine_statistics(machine, &out->engine);
	measure_memory(machine, out);
	out->console_bytes = atomic_load_explicit(&machine->printed, memory_order_relaxed);
	/* What carries a device is counted with it. */
	for (unsigned i = 0; i < board->device_count; i++)
		if (board->devices[i]->type != &virtio_pci_type)
			measure_device(board, board->devices[i], &out->devices[out->device_count++]);
}
