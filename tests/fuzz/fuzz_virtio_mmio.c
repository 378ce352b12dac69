/*
 * Virtio devices over MMIO under a hostile driver: any registers in any order, any contents of the rings, pauses, and
 * damaged saved states, against the balloon, the entropy device and the button with a real worker. After each step the
 * registers are possible and the wire is what they imply.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio/balloon.h"
#include "device/virtio/button.h"
#include "device/virtio/rng.h"
#include "input.h"

#define RAM        UINT64_C(0x80000000)
#define RAM_SIZE   (256 * KIB)
#define WINDOW     UINT64_C(0x10001000)
#define OPERATIONS 2048

struct platform {
	const uint8_t *input;
	size_t left;
	struct memory memory;
	struct bus bus;
	struct virtio *virtio;
	atomic_bool level;
};

/* One for all runs: a thread is slow to make. */
static struct worker *worker;

static uint64_t next(struct platform *p, unsigned size)
{
	return input_take(&p->input, &p->left, size);
}

static void wire(void *platform, unsigned number, bool level)
{
	assert(number == 1);
	atomic_store(&((struct platform *)platform)->level, level);
}

static void platform_start(struct platform *p)
{
	const struct irq_line line = {.set = wire, .controller = p, .number = 1};
	uint64_t choice;
	int failed;

	memory_init(&p->memory);
	bus_init(&p->bus);
	failed = memory_add_ram(&p->memory, gpa(RAM), RAM_SIZE, "ram", NULL);
	choice = next(p, 1);
	if (choice >= 0xe0)
		failed |= virtio_button_new(&p->virtio, "button0", worker, NULL);
	else
		failed |= choice & 1 ? virtio_balloon_new(&p->virtio, "balloon0", worker, NULL)
				     : virtio_rng_new(&p->virtio, "rng0", worker, NULL);
	assert(!failed);
	virtio_mmio_place(p->virtio, gpa(WINDOW), line, &p->memory);
	failed = device_attach(&p->virtio->device, &p->bus, NULL);
	assert(!failed);
	device_reset(&p->virtio->device);
}

static void nothing(void *arg)
{
	(void)arg;
}

static uint32_t read_register(struct platform *p, uint64_t offset)
{
	uint64_t value = 0;
	int r = bus_read(&p->bus, gpa(WINDOW + offset), 4, &value);

	assert(r == 0 && value <= UINT32_MAX);
	return (uint32_t)value;
}

static void write_register(struct platform *p, uint64_t offset, uint64_t value, unsigned size)
{
	int r = bus_write(&p->bus, gpa(WINDOW + offset), size, value);

	assert(r == 0);
}

static void check(struct platform *p)
{
	uint32_t status;

	worker_call(worker, nothing, NULL);
	status = read_register(p, 0x70);
	assert((status & ~0xcfu) == 0);
	assert(!(status & VIRTIO_DRIVER_OK) || (status & VIRTIO_FEATURES_OK));
	assert(!(status & VIRTIO_FEATURES_OK) || (status & 3) == 3);
	assert(read_register(p, 0x60) <= 3);
	assert(atomic_load(&p->level) == (read_register(p, 0x60) != 0));
}

/* The registers that lead somewhere, each in one byte of the input. */
static void access_register(struct platform *p, bool far)
{
	static const uint16_t known[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64,  0x70,  0x80, 0x84,
					 0x90, 0x94, 0xa0, 0xa4, 0xc0, 0x10, 0x34, 0x100, 0x104, 0xfc};
	unsigned size = far ? 1u << next(p, 1) % 3 : 4;
	uint64_t offset = far ? next(p, 2) % 0x1000 & ~(uint64_t)(size - 1) : known[next(p, 1) % ARRAY_SIZE(known)];

	write_register(p, offset, next(p, size), size);
	(void)read_register(p, offset & ~UINT64_C(3));
}

/* What a friendly driver does, so that the input gets past it: features, a queue, DRIVER_OK. */
static void set_up(struct platform *p)
{
	uint64_t queue = next(p, 1) % 6, features = next(p, 1), at = RAM + queue * 0x1000;

	for (unsigned status = 0; status < 4; status = status * 2 + 1)
		write_register(p, 0x70, status, 4);
	write_register(p, 0x24, 0, 4);
	write_register(p, 0x20, (features & 0x27) | (features >> 6) << 28, 4);
	write_register(p, 0x24, 1, 4);
	write_register(p, 0x20, 1 | (features >> 3 & 3) << 2, 4);
	write_register(p, 0x70, 11, 4);
	write_register(p, 0x30, (uint32_t)queue, 4);
	write_register(p, 0x38, 16, 4);
	for (unsigned area = 0; area < 3; area++) {
		write_register(p, 0x80 + 16 * area, (uint32_t)(at + 0x400 * area), 4);
		write_register(p, 0x84 + 16 * area, 0, 4);
	}
	write_register(p, 0x44, 1, 4);
	write_register(p, 0x70, 15, 4);
}

static void poke(struct platform *p)
{
	uint64_t at = next(p, 2) % (0x6000 - 8), length = 1 + next(p, 1) % 8;
	le64_t value = le64_put(next(p, (unsigned)length));

	worker_call(worker, nothing, NULL);
	memcpy(p->memory.regions[0].host + at, &value, length);
}

/* A descriptor that is available in either layout, and the split ring's index. */
static void offer(struct platform *p)
{
	uint64_t at = next(p, 1) % 6 * 0x1000, address = RAM + next(p, 3) % RAM_SIZE, flags = next(p, 1) & 7;
	le64_t words[2] = {le64_put(address), le64_put(next(p, 2) | flags << 32 | (flags | 0x80) << 48)};
	le16_t index = le16_put((uint16_t)next(p, 1));
	uint8_t *ring = p->memory.regions[0].host + at;

	worker_call(worker, nothing, NULL);
	memcpy(ring, words, sizeof words);
	memcpy(ring + 0x402, &index, sizeof index);
	write_register(p, 0x50, (uint32_t)(at / 0x1000), 4);
}

static void load_damaged(struct platform *p)
{
	struct device *device = &p->virtio->device;
	unsigned changes = (unsigned)next(p, 1) % 4;

	device_pause(device);
	load_damaged_section(device, changes, &p->input, &p->left);
	device_resume(device);
}

static void from_the_host(struct platform *p)
{
	struct balloon_statistics s;

	if (p->virtio->device.type == &virtio_button_type) {
		virtio_button_press(p->virtio);
		return;
	}
	if (p->virtio->device.type != &virtio_balloon_type) {
		virtio_config_change(p->virtio, 0, "", 0);
		return;
	}
	virtio_balloon_set_target(p->virtio, next(p, 8));
	virtio_balloon_ask_statistics(p->virtio);
	virtio_balloon_get_statistics(p->virtio, &s);
	assert(s.inflated_bytes % GUEST_PAGE_SIZE == 0 && s.reported_bytes % GUEST_PAGE_SIZE == 0);
}

static void operate(struct platform *p)
{
	uint64_t operation = next(p, 1);

	switch (operation % 8) {
	case 0:
	case 1:
		access_register(p, operation & 0x80);
		break;
	case 2:
		set_up(p);
		break;
	case 3:
		poke(p);
		break;
	case 4:
	case 5:
		offer(p);
		break;
	case 6:
		load_damaged(p);
		break;
	default:
		if (operation & 0x80)
			device_reset(&p->virtio->device);
		else
			from_the_host(p);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct platform platform;

	if (!worker && worker_new(&worker, "fuzz", NULL) < 0)
		abort();
	memset(&platform, 0, sizeof platform);
	platform.input = data;
	platform.left = size;
	platform_start(&platform);
	for (unsigned i = 0; i < OPERATIONS && platform.left; i++) {
		operate(&platform);
		check(&platform);
	}
	device_free(&platform.virtio->device);
	memory_finish(&platform.memory);
	return 0;
}
