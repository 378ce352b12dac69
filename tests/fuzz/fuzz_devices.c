/*
 * Device registers as a hostile guest, host and state file see them: all platform devices on one bus. The input is a
 * sequence of operations; after each one the wires into the harts must be what the PLIC's registers imply.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "device/devices.h"
#include "input.h"

#define HARTS      4
#define DEVICES    6
#define OPERATIONS 4096 /* bounds one run */

#define PLIC         UINT64_C(0xc000000)
#define PENDING(w)   (PLIC + 0x1000 + 4 * (uint64_t)(w))
#define ENABLE(c, w) (PLIC + 0x2000 + 0x80 * (uint64_t)(c) + 4 * (uint64_t)(w))
#define THRESHOLD(c) (PLIC + 0x200000 + 0x1000 * (uint64_t)(c))
#define CLAIM(c)     (THRESHOLD(c) + 4)

struct platform {
	const uint8_t *input;
	size_t left;
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster;
	struct hart harts[HARTS];
	struct device *devices[DEVICES];
	struct device *plic, *uart, *rtc;
	bool refused; /* the UART owes a call of on_room */
};

static uint64_t next(struct platform *p, unsigned size)
{
	return input_take(&p->input, &p->left, size);
}

static void on_power(void *platform, enum power_action action, unsigned code)
{
	(void)platform;
	assert(action == POWER_OFF || action == POWER_RESET);
	assert(code <= 255);
}

static void on_output(void *platform, const uint8_t *bytes, size_t length)
{
	(void)platform;
	assert(bytes && length > 0 && length <= 16);
}

static void on_room(void *platform)
{
	struct platform *p = platform;

	assert(p->refused);
	p->refused = false;
}

static void platform_start(struct platform *p, const uint8_t *input, size_t length)
{
	struct serial_sink sink = {.write = on_output, .console = p};
	struct power_sink power = {.request = on_power, .machine = p};
	int failed = 0;

	memset(p, 0, sizeof *p);
	p->input = input;
	p->left = length;
	bus_init(&p->bus);
	clock_init(&p->clock);
	p->cluster = (struct hart_cluster){.bus = &p->bus, .clock = &p->clock, .count = HARTS};
	for (unsigned i = 0; i < HARTS; i++) {
		p->cluster.harts[i] = &p->harts[i];
		hart_init(&p->harts[i], &p->cluster, i);
	}
	failed |= plic_new(&p->devices[0], "plic", gpa(PLIC), &p->cluster, NULL);
	p->plic = p->devices[0];
	failed |= uart16550_new(&p->devices[1], "uart0", gpa(0x10000000), plic_line(p->plic, 10), sink, NULL);
	p->uart = p->devices[1];
	failed |= goldfish_rtc_new(&p->devices[2], "rtc", gpa(0x101000), plic_line(p->plic, 11), NULL);
	p->rtc = p->devices[2];
	failed |= aclint_new(&p->devices[3], "aclint", gpa(0x2000000), &p->cluster, NULL);
	failed |= aclint_sswi_new(&p->devices[4], "sswi", gpa(0x2f00000), &p->cluster, NULL);
	failed |= finisher_new(&p->devices[5], "finisher", gpa(0x100000), power, NULL);
	for (unsigned i = 0; i < DEVICES; i++) {
		failed |= device_attach(p->devices[i], &p->bus, NULL);
		device_reset(p->devices[i]);
	}
	assert(!failed);
	uart16550_on_room(p->uart, on_room, p);
}

static uint32_t plic_word(struct platform *p, uint64_t address)
{
	uint64_t value = 0;
	int result = bus_read(&p->bus, gpa(address), 4, &value);

	assert(!result && value <= UINT32_MAX);
	return (uint32_t)value;
}

/* The highest priority among the sources that are pending and enabled for a context; 0: none. */
static uint32_t best_priority(struct platform *p, unsigned context)
{
	uint32_t best = 0;

	for (unsigned w = 0; w < 3; w++) {
		uint32_t bits = plic_word(p, PENDING(w)) & plic_word(p, ENABLE(context, w));

		for (; bits; bits &= bits - 1) {
			uint32_t priority = plic_word(p, PLIC + 4 * (32 * w + (unsigned)__builtin_ctz(bits)));

			best = priority > best ? priority : best;
		}
	}
	return best;
}

static void check_wires(struct platform *p)
{
	for (unsigned context = 0; context < 2 * HARTS; context++) {
		uint64_t lines = atomic_load(&p->harts[context / 2].mip_lines);
		bool line = lines & IRQ_BIT(context % 2 ? IRQ_SEI : IRQ_MEI);

		assert(line == (best_priority(p, context) > plic_word(p, THRESHOLD(context))));
	}
}

static void claim(struct platform *p, unsigned context)
{
	uint32_t best = best_priority(p, context), pending[3], source;

	for (unsigned w = 0; w < 3; w++)
		pending[w] = plic_word(p, PENDING(w));
	source = plic_word(p, CLAIM(context));
	assert(source <= PLIC_SOURCES && (source != 0) == (best != 0));
	if (!source)
		return;
	assert(pending[source / 32] & plic_word(p, ENABLE(context, source / 32)) & 1u << (source % 32));
	assert(plic_word(p, PLIC + 4 * source) == best);
	assert(!(plic_word(p, PENDING(source / 32)) & 1u << (source % 32)));
}

/* Offsets of one byte reach the small devices whole; with two more, any register of the large ones. */
static void access_register(struct platform *p, bool write, bool far)
{
	const struct device *device = p->devices[next(p, 1) % DEVICES];
	unsigned size = 1u << (next(p, 1) % 4);
	uint64_t offset = next(p, far ? 3 : 1) % device->size, value = 0;
	gpa_t address = gpa_add(device->base, offset & ~(uint64_t)(size - 1));
	int result;

	if (write)
		result = bus_write(&p->bus, address, size, next(p, size));
	else
		result = bus_read(&p->bus, address, size, &value);
	assert((result == 0) == ((device->type->ops->sizes & size) != 0));
	assert(size == 8 || value >> (8 * size) == 0);
}

static void receive(struct platform *p)
{
	uint8_t bytes[300];
	size_t length = next(p, 2) % (sizeof bytes + 1), taken;

	memset(bytes, (int)next(p, 1), sizeof bytes);
	taken = uart16550_receive(p->uart, bytes, length);
	assert(taken <= length);
	p->refused = taken < length;
}

static void take_input(struct platform *p)
{
	uint8_t bytes[64];
	size_t room = next(p, 1) % (sizeof bytes + 1);

	assert(uart16550_take_input(p->uart, bytes, room) <= room);
}

/* Saves a device, changes some bytes as an attacker would (the checksum is his to compute), and loads it. */
static void load_damaged(struct platform *p)
{
	struct device *device = p->devices[next(p, 1) % DEVICES];
	unsigned changes = (unsigned)next(p, 1) % 8;

	load_damaged_section(device, changes, &p->input, &p->left);
}

static void operate(struct platform *p)
{
	uint64_t operation = next(p, 1);
	struct irq_line line;

	switch (operation % 12) {
	case 0:
	case 1:
	case 2:
	case 3:
		access_register(p, operation & 1, operation & 2);
		break;
	case 4:
		line = plic_line(p->plic, 1 + (unsigned)next(p, 1) % PLIC_SOURCES);
		irq_set(&line, operation & 0x80);
		break;
	case 5:
		receive(p);
		break;
	case 6:
		take_input(p);
		break;
	case 7:
		clock_set(&p->clock, next(p, 8));
		break;
	case 8:
		load_damaged(p);
		break;
	case 9:
		device_reset(p->devices[next(p, 1) % DEVICES]);
		break;
	case 10:
		(void)goldfish_rtc_next_alarm(p->rtc);
		goldfish_rtc_poll(p->rtc);
		break;
	default:
		claim(p, (unsigned)next(p, 1) % (2 * HARTS));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct platform platform;

	platform_start(&platform, data, size);
	for (unsigned i = 0; i < OPERATIONS && platform.left; i++) {
		operate(&platform);
		check_wires(&platform);
	}
	for (unsigned i = 0; i < DEVICES; i++)
		device_free(platform.devices[i]);
	return 0;
}
