#include "bus/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

void bus_init(struct bus *bus)
{
	bus->count = 0;
}

/* How many regions start at or below `address`: the last of them is the only one that can hold it. */
static unsigned starts_below(const struct bus *bus, gpa_t address)
{
	unsigned low = 0, high = bus->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (bus->regions[middle].base.value <= address.value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool overlaps(const struct bus *bus, unsigned at, const struct bus_region *region)
{
	const struct bus_region *before = at > 0 ? &bus->regions[at - 1] : NULL;
	const struct bus_region *after = at < bus->count ? &bus->regions[at] : NULL;

	return (before && region->base.value - before->base.value < before->size) ||
	       (after && after->base.value - region->base.value < region->size);
}

int bus_add(struct bus *bus, const struct bus_region *region, struct error *e)
{
	unsigned at = starts_below(bus, region->base);
	uint64_t last;

	if (region->size == 0 || !checked_add(region->base.value, region->size - 1, &last))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "the registers of '%s' at 0x%" PRIx64 " are %" PRIu64 " bytes, which is none or "
				 "beyond the address space",
				 region->name, region->base.value, region->size);
	if (bus->count == BUS_REGIONS_MAX)
		return error_set(e, ERROR_FAILED, -ENOSPC,
				 "no room on the bus for '%s': it has %u regions already", region->name,
				 bus->count);
	if (overlaps(bus, at, region))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "the registers of '%s' at 0x%" PRIx64 " overlap those of another device",
				 region->name, region->base.value);
	memmove(&bus->regions[at + 1], &bus->regions[at], (bus->count - at) * sizeof *region);
	bus->regions[at] = *region;
	bus->count++;
	return 0;
}

/* The region that takes this access, or NULL. */
static struct bus_region *find(struct bus *bus, gpa_t address, unsigned size)
{
	unsigned after = starts_below(bus, address);
	struct bus_region *region;
	uint64_t offset;

	if (after == 0 || size == 0 || size > 8)
		return NULL;
	region = &bus->regions[after - 1];
	offset = address.value - region->base.value;
	if (!checked_span(offset, size, region->size) || (region->ops->sizes & size) != size)
		return NULL;
	return (size & (size - 1)) == 0 && (address.value & (size - 1)) == 0 ? region : NULL;
}

int bus_read(struct bus *bus, gpa_t address, unsigned size, uint64_t *value)
{
	struct bus_region *region = find(bus, address, size);

	if (!region)
		return -EFAULT;
	atomic_fetch_add_explicit(&region->reads, 1, memory_order_relaxed);
	if (region->lock)
		pthread_mutex_lock(region->lock);
	*value = region->ops->read(region->device, address.value - region->base.value, size);
	if (region->lock)
		pthread_mutex_unlock(region->lock);
	return 0;
}

int bus_write(struct bus *bus, gpa_t address, unsigned size, uint64_t value)
{
	struct bus_region *region = find(bus, address, size);

	if (!region)
		return -EFAULT;
	atomic_fetch_add_explicit(&region->writes, 1, memory_order_relaxed);
	if (region->lock)
		pthread_mutex_lock(region->lock);
	region->ops->write(region->device, address.value - region->base.value, value, size);
	if (region->lock)
		pthread_mutex_unlock(region->lock);
	return 0;
}
