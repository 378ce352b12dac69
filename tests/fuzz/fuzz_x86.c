/*
 * What a file can say of x86-64 CPUs. The first byte chooses: a file of a CPU model, or the fields of a saved CPU, of the chips or
 * of a CPUID, laid over ones that are as after power-on. Whatever is taken must be told again without harm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "x86/platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_model(const uint8_t *data, size_t size)
{
	struct x86_model model;
	char path[64];
	int fd = memfd_create("model", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (x86_model_parse(&model, path, NULL) == 0)
		for (unsigned i = 0; i < X86_FEATURE_WORDS; i++)
			if (model.needed[i] & ~model.shown[i])
				abort();
	close(fd);
}

/* The bytes lie over the object's, from an offset that they tell. */
static void lay_over(void *object, size_t room, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		size_t at = ((size_t)data[0] | (size_t)data[1] << 8) % room, length = data[2] % 16;

		data += 3;
		size -= 3;
		length = length > size ? size : length;
		length = length > room - at ? room - at : length;
		memcpy((uint8_t *)object + at, data, length);
		data += length;
		size -= length;
	}
}

static int take(const struct state_descriptor *d, const void *object, void *into)
{
	struct state_writer w;
	struct state_reader r;
	struct state_section section;
	int code = -1;

	state_writer_init(&w);
	state_save(&w, d, "it", object);
	state_reader_init(&r, w.bytes, w.length);
	if (!w.failed && state_next(&r, &section, NULL) == 1)
		code = state_load(&section, d, into, NULL);
	state_writer_finish(&w);
	return code;
}

static void try_cpu(const uint8_t *data, size_t size)
{
	struct clock clock;
	struct x86_platform platform = {.clock = &clock, .cpus_most = 2};
	struct x86_cpuid host = {.count = 3, .entries = {{0, 0, false, {13}}, {1, 0, false, {1, 2, 3, 4}}, {7, 0, true, {0}}}};
	struct x86_cpu *from, *to;
	uint64_t value;

	clock_init(&clock);
	platform.cpuid = host;
	from = x86_cpu_new(&platform);
	to = x86_cpu_new(&platform);
	if (!from || !to)
		abort();
	lay_over(from, offsetof(struct x86_cpu, cpu), data, size);
	if (take(&x86_cpu_state, from, to) == 0) {
		(void)x86_cpu_get_msr(to, 0x277, &value);
		(void)x86_cpuid_physical_bits(&to->cpuid);
		if (x86_cpuid_check(&to->cpuid, &host, NULL) == 0)
			x86_cpuid_personalize(&to->cpuid, 1);
	}
	x86_cpu_free(from);
	x86_cpu_free(to);
}

static void try_chips(const uint8_t *data, size_t size)
{
	struct x86_chips from, to;

	x86_chips_reset(&from);
	x86_chips_reset(&to);
	lay_over(&from, sizeof from, data, size);
	if (take(&x86_chips_state, &from, &to) == 0 && to.ioapic_base != X86_IOAPIC_BASE)
		abort();
}

static void try_host(const uint8_t *data, size_t size)
{
	const struct x86_topology topology = {.cpus = size ? data[0] % 64u + 1 : 1};
	struct x86_cpuid host = {.count = X86_CPUID_MAX / 2}, guest;
	struct x86_model model;

	lay_over(host.entries, sizeof host.entries, data, size);
	for (uint32_t i = 0; i < host.count; i++) {
		uint8_t any;

		memcpy(&any, &host.entries[i].indexed, 1);
		host.entries[i].indexed = any & 1;
	}
	if (x86_model_parse(&model, "host", NULL) < 0)
		abort();
	if (x86_cpuid_build(&guest, &host, &model, &topology, NULL) == 0 && guest.count > X86_CPUID_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const uint8_t *data, size_t size) = {try_model, try_cpu, try_chips, try_host};

	if (size)
		tries[data[0] % 4](data + 1, size - 1);
	return 0;
}
