/* The pc board as its guest finds it: tables in memory, registers at the start, devices at ports, and what is saved of it. */
#include "pc_bench.h"

#include "device/pc/devices.h"
#include "device/virtio/rng.h"

struct set {
	struct boot_directory directory;
	struct board_config config;
	struct board *board;
	struct worker *worker; /* of the virtio devices */
	char output[64];
	size_t output_length;
	enum power_action action;
	unsigned code;
};

static void on_output(void *opaque, const uint8_t *bytes, size_t length)
{
	struct set *s = opaque;

	assert_true(s->output_length + length < sizeof s->output);
	memcpy(s->output + s->output_length, bytes, length);
	s->output_length += length;
}

static void on_power(void *opaque, enum power_action action, unsigned code)
{
	struct set *s = opaque;

	s->action = action;
	s->code = code;
}

static enum board_transport transport; /* of boards that are set up */

static void set_up(struct set *s, struct blob kernel, uint64_t memory, unsigned cpus)
{
	struct blob initrd = make_noise(5000);
	struct error e = {0};

	*s = (struct set){0};
	directory_init(&s->directory);
	assert_int_equal(worker_new(&s->worker, "bench", NULL), 0);
	s->config = (struct board_config){
		.engine = &fake_engine,
		.memory_bytes = memory,
		.cpus = cpus,
		.kernel = directory_add(&s->directory, "kernel", &kernel),
		.initrd = directory_add(&s->directory, "initrd", &initrd),
		.append = "console=ttyS0 quiet",
		.transport = transport,
		.serial = {on_output, s},
		.power = {on_power, s},
	};
	if (board_new(&s->board, &s->config, &e) < 0 || board_reset(s->board, &e) < 0)
		fail_msg("board: %s", e.message);
}

static void tear_down(struct set *s)
{
	board_free(s->board);
	worker_free(s->worker);
	directory_finish(&s->directory);
}

static uint64_t peek(const struct set *s, uint64_t address, unsigned size)
{
	le64_t value = {0};

	assert_int_equal(memory_read(&s->board->memory, gpa(address), &value, size), 0);
	return le64_get(value);
}

static uint64_t in(struct set *s, unsigned port, unsigned size)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(&pc_of(s->board)->ports, gpa(port), size, &value), 0);
	return value;
}

static void out(struct set *s, unsigned port, uint64_t value, unsigned size)
{
	assert_int_equal(bus_write(&pc_of(s->board)->ports, gpa(port), size, value), 0);
}

/* As the processor walks the tables of level 4 to 2. */
static uint64_t translate(const struct set *s, uint64_t cr3, uint64_t address)
{
	uint64_t entry = cr3 | 1;

	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		assert_true(entry & 1);
		entry = peek(s, (entry & ~UINT64_C(0xfff)) + ((address >> shift) & 511) * 8, 8);
	}
	assert_int_equal(entry & 0x83, 0x83);
	return (entry & ~UINT64_C(0x1fffff)) + (address & 0x1fffff);
}

static void test_linux(void **state)
{
	const uint64_t addresses[] = {0, PC_ZERO_PAGE, 16 * MIB + 0x200, 3 * GIB + 12345, 4 * GIB - 1};
	const struct x86_cpu *cpu;
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 2);
	cpu = x86_cpu_of(s.board->cpus[0]);
	assert_int_equal(cpu->rip, 16 * MIB + 0x200);
	assert_int_equal(cpu->registers[X86_RSI], PC_ZERO_PAGE);
	assert_int_equal(cpu->segments[X86_CS].selector, 0x10);
	assert_int_equal(cpu->gdt.base, PC_GDT);
	assert_int_equal(peek(&s, PC_GDT + 0x10, 8), 0x00af9b000000ffff);
	assert_true(cpu->cr0 & X86_CR0_PG);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		assert_int_equal(translate(&s, cpu->cr3, addresses[i]), addresses[i]);
	assert_int_equal(x86_cpu_of(s.board->cpus[1])->power, X86_WAITS_FOR_INIT);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_MAGIC, 4), 0x53726448);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_LOADER, 1), 0xff);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_CODE32, 4), 16 * MIB);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_INITRD, 4), 64 * MIB - 8192);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_INITRD_SIZE, 4), 5000);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_COMMAND_LINE, 4), PC_COMMAND_LINE);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x70, 8), PC_ACPI);
	assert_int_equal(peek(&s, PC_COMMAND_LINE, 8), 0x3d656c6f736e6f63);
	/* RAM, reserved, RAM, ECAM, the host's pages. */
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x1e8, 1), 5);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x2d0 + 40, 8), MIB);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x2d0 + 48, 8), 63 * MIB);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x2d0 + 56, 4), 1);
	assert_int_equal(fake_of(s.board)->loads, 1);
	tear_down(&s);
}

static void test_above_the_hole(void **state)
{
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 5 * GIB, 1);
	assert_int_equal(s.board->memory.count, 2);
	assert_int_equal(s.board->memory.regions[1].base.value, 4 * GIB);
	assert_int_equal(memory_size(&s.board->memory), 5 * GIB);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x1e8, 1), 6);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x2d0 + 5 * 20, 8), 4 * GIB);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + 0x2d0 + 5 * 20 + 8, 8), 2 * GIB);
	tear_down(&s);
}

static void test_pvh(void **state)
{
	const struct x86_cpu *cpu;
	uint64_t list, map;
	struct set s;

	(void)state;
	set_up(&s, make_pvh(0x1000100), 64 * MIB, 1);
	cpu = x86_cpu_of(s.board->cpus[0]);
	assert_int_equal(cpu->rip, 0x1000100);
	assert_int_equal(cpu->cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
	assert_int_equal(cpu->registers[X86_RBX], PC_START_INFO);
	assert_int_equal(peek(&s, PC_START_INFO, 4), 0x336ec578);
	assert_int_equal(peek(&s, PC_START_INFO + 12, 4), 1);
	list = peek(&s, PC_START_INFO + 16, 8);
	assert_int_equal(peek(&s, list, 8), 64 * MIB - 8192);
	assert_int_equal(peek(&s, list + 8, 8), 5000);
	assert_int_equal(peek(&s, PC_START_INFO + 24, 8), PC_COMMAND_LINE);
	assert_int_equal(peek(&s, PC_START_INFO + 32, 8), PC_ACPI);
	map = peek(&s, PC_START_INFO + 40, 8);
	assert_int_equal(peek(&s, PC_START_INFO + 48, 4), 5);
	assert_int_equal(peek(&s, map + 48, 8), MIB);
	assert_int_equal(peek(&s, map + 56, 8), 63 * MIB);
	tear_down(&s);
}

static void test_multiboot(void **state)
{
	const struct x86_cpu *cpu;
	uint64_t list, map;
	struct set s;

	(void)state;
	set_up(&s, make_multiboot(5000, MULTIBOOT_PLACED, 0), 64 * MIB, 1);
	cpu = x86_cpu_of(s.board->cpus[0]);
	assert_int_equal(cpu->rip, MULTIBOOT_LOAD + MULTIBOOT_AT + 32);
	assert_int_equal(cpu->registers[X86_RAX], 0x2badb002);
	assert_int_equal(cpu->registers[X86_RBX], PC_START_INFO);
	assert_int_equal(peek(&s, PC_START_INFO, 4), 0x24d);
	assert_int_equal(peek(&s, PC_START_INFO + 8, 4), 63 * KIB);
	assert_int_equal(peek(&s, PC_START_INFO + 16, 4), PC_COMMAND_LINE);
	assert_int_equal(peek(&s, PC_START_INFO + 20, 4), 1);
	list = peek(&s, PC_START_INFO + 24, 4);
	assert_int_equal(peek(&s, list, 4), 64 * MIB - 8192);
	assert_int_equal(peek(&s, list + 4, 4), 64 * MIB - 8192 + 5000);
	assert_int_equal(peek(&s, PC_START_INFO + 44, 4), 5 * 24);
	map = peek(&s, PC_START_INFO + 48, 4);
	assert_int_equal(peek(&s, map, 4), 20);
	assert_int_equal(peek(&s, map + 2 * 24 + 4, 8), MIB);
	assert_int_equal(peek(&s, map + 2 * 24 + 12, 8), 63 * MIB);
	tear_down(&s);
}

static void check_sum(const struct set *s, uint64_t address, uint64_t length)
{
	uint8_t sum = 0;

	for (uint64_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + peek(s, address + i, 1));
	if (sum)
		fail_msg("the %llu bytes at 0x%llx sum up to 0x%x", (unsigned long long)length,
			 (unsigned long long)address, sum);
}

/* Through root pointer and XSDT; 0: not there. */
static uint64_t find_table(const struct set *s, const char *signature)
{
	uint64_t xsdt = peek(s, PC_ACPI + 24, 8), length = peek(s, xsdt + 4, 4);

	check_sum(s, PC_ACPI, 20);
	check_sum(s, PC_ACPI, 36);
	check_sum(s, xsdt, length);
	for (uint64_t at = 36; at < length; at += 8) {
		uint64_t table = peek(s, xsdt + at, 8);
		char name[4];

		check_sum(s, table, peek(s, table + 4, 4));
		assert_int_equal(memory_read(&s->board->memory, gpa(table), name, 4), 0);
		if (memcmp(name, signature, 4) == 0)
			return table;
	}
	return 0;
}

static void add_virtio(struct set *s, unsigned count)
{
	struct error e;

	for (unsigned i = 0; i < count; i++) {
		struct virtio *rng;

		assert_int_equal(virtio_rng_new(&rng, "rng", s->worker, &e), 0);
		if (board_add_virtio(s->board, rng, &e) < 0)
			fail_msg("%s", e.message);
	}
}

static void test_acpi(void **state)
{
	uint64_t fadt, madt, dsdt;
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 64);
	fadt = find_table(&s, "FACP");
	assert_int_equal(peek(&s, fadt + 4, 4), 276);
	assert_int_equal(peek(&s, fadt + 112, 4) >> 20 & 1, 1);
	assert_int_equal(peek(&s, fadt + 120, 8), PC_PORT_ACPI + ACPI_POWER_RESET);
	assert_int_equal(peek(&s, fadt + 128, 1), ACPI_POWER_RESET_VALUE);
	assert_int_equal(peek(&s, fadt + 248, 8), PC_PORT_ACPI + ACPI_POWER_SLEEP_CONTROL);
	assert_int_equal(peek(&s, fadt + 260, 8), PC_PORT_ACPI + ACPI_POWER_SLEEP_STATUS);
	dsdt = peek(&s, fadt + 140, 8);
	assert_int_equal(peek(&s, fadt + 40, 4), dsdt);
	check_sum(&s, dsdt, peek(&s, dsdt + 4, 4));
	madt = find_table(&s, "APIC");
	assert_int_equal(peek(&s, madt + 4, 4), 44 + 64 * 8 + 12 + 6);
	assert_int_equal(peek(&s, madt + 44 + 63 * 8 + 3, 1), 63);
	tear_down(&s);
}

/* Code for real mode where a PC's firmware begins: it writes to the reset register. */
static void test_bios_entry(void **state)
{
	static const uint8_t code[] = {0xba, 0x02, 0x06, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd};
	uint8_t found[sizeof code] = {0};
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 1);
	assert_int_equal(memory_write(&s.board->memory, gpa(0xffff0), found, sizeof found), 0);
	assert_int_equal(board_reset(s.board, NULL), 0);
	assert_int_equal(memory_read(&s.board->memory, gpa(0xffff0), found, sizeof found), 0);
	assert_memory_equal(found, code, sizeof code);
	assert_int_equal(PC_PORT_ACPI + ACPI_POWER_RESET, 0x602);
	tear_down(&s);
}

/* The generation is where ADDR says, stays over a reset, and is another when it is renewed. */
static void test_generation(void **state)
{
	uint8_t first[VMGENID_BYTES], now[VMGENID_BYTES], other[VMGENID_BYTES] = {1, 2, 3};
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 1);
	assert_int_equal(memory_read(&s.board->memory, gpa(PC_GENERATION), first, sizeof first), 0);
	assert_memory_equal(first, acpi_power_generation(pc_of(s.board)->power), sizeof first);
	assert_int_equal(board_reset(s.board, NULL), 0);
	assert_int_equal(memory_read(&s.board->memory, gpa(PC_GENERATION), now, sizeof now), 0);
	assert_memory_equal(now, first, sizeof now);
	s.board->type->renew(s.board, other);
	assert_int_equal(memory_read(&s.board->memory, gpa(PC_GENERATION), now, sizeof now), 0);
	assert_memory_equal(now, other, sizeof now);
	assert_memory_equal(other, acpi_power_generation(pc_of(s.board)->power), sizeof other);
	tear_down(&s);
}

static void save_table(const struct set *s, uint64_t table, const char *path)
{
	size_t length = (size_t)peek(s, table + 4, 4);
	uint8_t *bytes = malloc(length);
	FILE *f = fopen(path, "wbe");

	assert_non_null(bytes);
	assert_non_null(f);
	assert_int_equal(memory_read(&s->board->memory, gpa(table), bytes, length), 0);
	assert_int_equal(fwrite(bytes, 1, length, f), length);
	fclose(f);
	free(bytes);
}

/* ACPICA's own compiler reads what is written, and can write it again. */
static void check_with_iasl(enum board_transport carrier)
{
	static const char *const names[] = {"dsdt", "facp", "apic", "mcfg"};
	char command[512];
	uint64_t fadt;
	struct set s;

	transport = carrier;
	set_up(&s, make_bzimage(10000), 64 * MIB, 3);
	transport = BOARD_OWN_TRANSPORT;
	add_virtio(&s, PC_VIRTIO_SLOTS);
	assert_int_equal(board_reset(s.board, NULL), 0);
	fadt = find_table(&s, "FACP");
	assert_int_equal(find_table(&s, "MCFG") != 0, carrier != BOARD_MMIO);
	for (unsigned i = 0; i < ARRAY_SIZE(names) - (carrier == BOARD_MMIO); i++) {
		const uint64_t tables[] = {peek(&s, fadt + 140, 8), fadt, find_table(&s, "APIC"),
					   find_table(&s, "MCFG")};
		char path[128];

		snprintf(path, sizeof path, "%s/%s.dat", s.directory.path, names[i]);
		save_table(&s, tables[i], path);
		/* -we: what is doubtful counts as an error. */
		snprintf(
			command, sizeof command,
			"cd %s && iasl -d %s.dat >log 2>&1 && iasl -we %s.dsl >>log 2>&1 && ! grep -q 'ACPI Error\\|AE_\\|Warning ' log ||"
			" { cat log %s.dsl; false; }",
			s.directory.path, names[i], names[i], names[i]);
		assert_int_equal(system(command), 0);
	}
	snprintf(command, sizeof command, "rm -f %s/*.dat %s/*.dsl %s/*.aml %s/log", s.directory.path,
		 s.directory.path, s.directory.path, s.directory.path);
	assert_int_equal(system(command), 0);
	tear_down(&s);
}

static void test_iasl(void **state)
{
	(void)state;
	if (system("command -v iasl >/dev/null 2>&1") != 0) {
		print_message("skipped: no iasl (package acpica-tools)\n");
		skip();
	}
	check_with_iasl(BOARD_MMIO);
	check_with_iasl(BOARD_OWN_TRANSPORT);
}

static void test_ports(void **state)
{
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 1);
	out(&s, 0x3f8, 'x', 1);
	assert_string_equal(s.output, "x");
	assert_int_equal(bus_read(&pc_of(s.board)->ports, gpa(0x400), 1, &(uint64_t){0}), -EFAULT);
	out(&s, 0xf4, 5, 4);
	assert_int_equal(s.action, POWER_OFF);
	assert_int_equal(s.code, 11);
	out(&s, 0x505, 1, 1);
	assert_int_equal(s.action, POWER_CRASH);
	out(&s, 0x64, 0xfe, 1);
	assert_int_equal(s.action, POWER_RESET);
	out(&s, PC_PORT_ACPI, 0x34, 1);
	assert_int_equal(s.action, POWER_OFF);
	assert_int_equal(s.code, 0);
	out(&s, PC_PORT_ACPI + ACPI_POWER_RESET, 1, 1);
	assert_int_equal(s.action, POWER_RESET);
	s.board->type->press_power(s.board);
	assert_true(fake_of(s.board)->level[PC_LINE_ACPI]);
	assert_int_equal(in(&s, PC_PORT_ACPI + ACPI_POWER_EVENTS, 1), 1);
	assert_false(fake_of(s.board)->level[PC_LINE_ACPI]);
	tear_down(&s);
}

static void test_no_more_slots(void **state)
{
	struct virtio *rng;
	struct set s;
	struct error e;

	(void)state;
	transport = BOARD_MMIO;
	set_up(&s, make_bzimage(10000), 64 * MIB, 1);
	transport = BOARD_OWN_TRANSPORT;
	add_virtio(&s, PC_VIRTIO_SLOTS);
	assert_int_equal(virtio_rng_new(&rng, "rng", s.worker, &e), 0);
	assert_int_equal(board_add_virtio(s.board, rng, &e), -ENOSPC);
	assert_contains(e.message, "takes 13 virtio devices");
	tear_down(&s);
}

static void test_saved(void **state)
{
	struct state_reader r;
	struct state_writer w;
	struct error e = {0};
	struct set s, t;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 2);
	set_up(&t, make_bzimage(10000), 64 * MIB, 2);
	pc_of(s.board)->platform->chips.ioapic_id = 7 << 24;
	x86_cpu_of(s.board->cpus[1])->registers[X86_R15] = 1234567;
	out(&s, 0x70, 0x40, 1);
	out(&s, 0x71, 0x99, 1);
	assert_int_equal(board_store(s.board, &e), 0);
	assert_int_equal(fake_of(s.board)->stores, 1);
	state_writer_init(&w);
	board_save(s.board, &w);
	assert_int_equal(w.failed, 0);
	state_reader_init(&r, w.bytes, w.length);
	if (board_load(t.board, &r, &e) < 0)
		fail_msg("%s", e.message);
	assert_int_equal(pc_of(t.board)->platform->chips.ioapic_id, 7 << 24);
	assert_int_equal(x86_cpu_of(t.board->cpus[1])->registers[X86_R15], 1234567);
	assert_int_equal(in(&t, 0x71, 1), 0x99);
	assert_int_equal(fake_of(t.board)->loads, 2);
	state_writer_finish(&w);
	tear_down(&s);
	tear_down(&t);
}

/* What is loaded from elsewhere needs no kernel in memory: its files are read at the first reset that follows. */
static void test_loads(void **state)
{
	struct error e = {0};
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 2);
	board_free(s.board);
	s.config.loads = true;
	assert_int_equal(board_new(&s.board, &s.config, &e), 0);
	assert_int_equal(board_reset(s.board, &e), 0);
	assert_int_equal(pc_of(s.board)->boot->kernel.count, 0);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_MAGIC, 4), 0);
	assert_int_equal(board_reset(s.board, &e), 0);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_MAGIC, 4), 0x53726448);
	assert_int_equal(peek(&s, PC_ZERO_PAGE + BZIMAGE_INITRD, 4), 64 * MIB - 8192);
	assert_int_equal(x86_cpu_of(s.board->cpus[0])->rip, 16 * MIB + 0x200);
	tear_down(&s);
}

/* And what is wrong with them is told then. */
static void test_loads_what_is_wrong(void **state)
{
	struct error e = {0};
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 1);
	board_free(s.board);
	s.config.loads = true;
	s.config.kernel = s.config.initrd;
	assert_int_equal(board_new(&s.board, &s.config, &e), 0);
	assert_int_equal(board_reset(s.board, &e), 0);
	assert_true(board_reset(s.board, &e) < 0);
	assert_contains(e.message, s.config.kernel);
	tear_down(&s);
}

static void refused(struct board_config *config, const char *part)
{
	struct board *board;
	struct error e = {0};

	assert_true(board_new(&board, config, &e) < 0);
	assert_int_equal(e.kind, ERROR_USAGE);
	assert_contains(e.message, part);
}

static void test_refused(void **state)
{
	struct board_config config;
	struct set s;

	(void)state;
	set_up(&s, make_bzimage(10000), 64 * MIB, 1);
	config = s.config;
	config.firmware = config.initrd;
	refused(&config, "this machine has none");
	config.firmware = NULL;
	config.kernel = NULL;
	refused(&config, "nothing to boot");
	config = s.config;
	config.cpus = 65;
	refused(&config, "--cpus takes 1 to 64");
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linux), cmocka_unit_test(test_above_the_hole),
		cmocka_unit_test(test_pvh),   cmocka_unit_test(test_multiboot),
		cmocka_unit_test(test_acpi), cmocka_unit_test(test_bios_entry), cmocka_unit_test(test_generation),
		cmocka_unit_test(test_iasl),
		cmocka_unit_test(test_ports), cmocka_unit_test(test_no_more_slots),
		cmocka_unit_test(test_saved), cmocka_unit_test(test_loads),
		cmocka_unit_test(test_loads_what_is_wrong), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
