/* The tests of a bare PC, by the name that the command line gives. */
#include "bare.h"

#define EVENTS 5

static volatile unsigned events;

static void count(struct frame *frame)
{
	(void)frame;
	events++;
	*apic(APIC_EOI) = 0;
}

static void hello(void)
{
	put_text("hello, RAM ");
	put_hex(boot.ram_bytes);
	put_text(boot.pvh ? " by PVH\n" : " by multiboot\n");
}

/* The bytes of the module add up to what the command line does not say: each is its place's number. */
static void module(void)
{
	CHECK(boot.module_bytes, 5000);
	for (unsigned i = 0; i < boot.module_bytes; i++)
		CHECK(boot.module[i], (uint8_t)i);
}

static void timer(void)
{
	on_interrupt(40, count);
	*apic(APIC_DIVIDE) = 0xb;
	*apic(APIC_TIMER) = 40 | 1 << 17;
	*apic(APIC_COUNT) = 1000000;
	while (events < EVENTS)
		wait_for_interrupt();
	*apic(APIC_COUNT) = 0;
}

static uint8_t sum(const uint8_t *bytes, uint32_t length)
{
	uint8_t total = 0;

	for (uint32_t i = 0; i < length; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

static uint32_t word(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool is(const uint8_t *at, const char *letters, unsigned count_)
{
	for (unsigned i = 0; i < count_; i++)
		if (at[i] != (uint8_t)letters[i])
			return false;
	return true;
}

static const uint8_t *find_root(void)
{
	for (const uint8_t *at = (const uint8_t *)(uintptr_t)0xe0000; at < (const uint8_t *)(uintptr_t)0x100000;
	     at += 16)
		if (is(at, "RSD PTR ", 8))
			return at;
	fail("the ACPI root pointer", 0, 1);
}

struct tables {
	unsigned count, cpus;
};

/* Root, list of tables, each table's sum; how many CPUs the MADT has. */
static struct tables look_at_tables(void)
{
	const uint8_t *root = find_root(), *xsdt = (const uint8_t *)(uintptr_t)word(root + 24);
	struct tables found = {0};

	CHECK(sum(root, 20), 0);
	CHECK(root[15], 2);
	CHECK(sum(root, 36), 0);
	CHECK(sum(xsdt, word(xsdt + 4)), 0);
	for (uint32_t at = 36; at < word(xsdt + 4); at += 8) {
		const uint8_t *table = (const uint8_t *)(uintptr_t)word(xsdt + at);

		CHECK(sum(table, word(table + 4)), 0);
		found.count++;
		if (!is(table, "APIC", 4))
			continue;
		for (uint32_t i = 44; i < word(table + 4); i += table[i + 1])
			found.cpus += table[i] == 0;
	}
	return found;
}

static void acpi(void)
{
	struct tables found = look_at_tables();

	put_text("tables ");
	put_hex(found.count);
	put_text(", CPUs ");
	put_hex(found.cpus);
	put_text("\n");
}

static volatile uint32_t other_id;
static volatile bool other_ready, other_answered;

void other_main(void)
{
	other_id = *apic(APIC_ID) >> 24;
	other_ready = true;
	while (!other_answered)
		__asm__ volatile("pause");
	other_ready = false;
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void send(uint32_t to, uint32_t command)
{
	*apic(APIC_COMMAND_TO) = to << 24;
	*apic(APIC_COMMAND) = command;
	while (*apic(APIC_COMMAND) & 1 << 12)
		;
}

/* One after the other: they share a stack. */
static void start_other(uint32_t id)
{
	other_answered = false;
	send(id, 0x4500);
	send(id, 0x4608);
	while (!other_ready)
		__asm__ volatile("pause");
	CHECK(other_id, id);
	other_answered = true;
	while (other_ready)
		__asm__ volatile("pause");
}

static void smp(void)
{
	uint8_t *to = (uint8_t *)(uintptr_t)0x8000;
	unsigned cpus = look_at_tables().cpus;

	for (const uint8_t *from = other_start; from < other_end; from++)
		*to++ = *from;
	for (uint32_t id = 1; id < cpus; id++)
		start_other(id);
	put_text("CPUs ");
	put_hex(cpus);
	put_text("\n");
}

static volatile uint64_t fault_address, fault_code, fault_vector;
static void *volatile resume;

static void note_fault(struct frame *frame)
{
	uint64_t cr2;

	__asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
	fault_address = cr2;
	fault_code = frame->code;
	fault_vector = frame->vector;
	frame->rip = (uintptr_t)resume;
}

static void fault(void)
{
	volatile uint8_t *nowhere = (volatile uint8_t *)UINT64_C(0x123456789000);

	on_interrupt(14, note_fault);
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, %0; movb $1, (%1); 1:"
			 : "=m"(resume)
			 : "r"(nowhere)
			 : "rax", "memory");
	CHECK(fault_vector, 14);
	CHECK(fault_address, UINT64_C(0x123456789000));
	CHECK(fault_code, 2);
}

static uint8_t user_stack[4096] __attribute__((aligned(16)));
static volatile uint64_t user_cs, user_value;

static void user_calls(struct frame *frame)
{
	user_cs = frame->cs;
	user_value = frame->rax;
	frame->rip = (uintptr_t)leave_user;
	frame->cs = 8;
	frame->ss = 0x10;
}

/* Its way out is an undefined instruction: hosts that emulate a guest's supervisor code know those. */
static void user_code(void)
{
	__asm__ volatile("movq $0x5555, %%rax; ud2" : : : "rax");
}

/* cli is not for ring 3: a fault, then the way out. */
static void user_faults(void)
{
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, %0; cli; 1: movq $0x6666, %%rax; ud2"
			 : "=m"(resume)
			 :
			 : "rax");
}

static void user(void)
{
	on_interrupt(6, user_calls);
	on_interrupt(13, note_fault);
	enter_user(user_code, user_stack + sizeof user_stack);
	CHECK(user_cs, 0x23);
	CHECK(user_value, 0x5555);
	CHECK(fault_vector, 0);
	enter_user(user_faults, user_stack + sizeof user_stack);
	CHECK(user_value, 0x6666);
	CHECK(fault_vector, 13);
}

static uint8_t cmos(uint8_t index)
{
	out8(0x70, index);
	return in8(0x71);
}

static void set_cmos(uint8_t index, uint8_t value)
{
	out8(0x70, index);
	out8(0x71, value);
}

static void on_clock(struct frame *frame)
{
	CHECK(cmos(12) & 0x90, 0x90);
	count(frame);
}

/* The clock's interrupt after an update, by input 8. */
static void clock(void)
{
	on_interrupt(41, on_clock);
	route(8, 41, false);
	CHECK(cmos(0x32), 0x20);
	cmos(12);
	set_cmos(11, 0x12);
	while (!events)
		wait_for_interrupt();
	set_cmos(11, 0x02);
}

/* The serial port says that it takes more, by input 4. */
static void serial(void)
{
	on_interrupt(42, count);
	route(4, 42, false);
	out8(0x3f8 + 1, 2);
	while (!events)
		wait_for_interrupt();
	CHECK(in8(0x3f8 + 2) & 15, 2);
	out8(0x3f8 + 1, 0);
}

/* Waits for the button, whose event is at port 0x604. */
static volatile uint8_t button;

static void on_button(struct frame *frame)
{
	button = in8(0x604);
	count(frame);
}

static void power_button(void)
{
	on_interrupt(43, on_button);
	route(9, 43, true);
	put_text("waiting\n");
	while (!events)
		wait_for_interrupt();
	CHECK(button, 1);
	out8(0x600, 5 << 2 | 0x20);
}

static void power_off(void)
{
	out8(0x600, 5 << 2 | 0x20);
}

static void reset_acpi(void)
{
	put_text("begins\n");
	out8(0x602, 1);
}

static void reset_keyboard(void)
{
	put_text("begins\n");
	while (in8(0x64) & 2)
		;
	out8(0x64, 0xfe);
}

/* Back to real mode, and to where a BIOS begins: as Linux restarts a PC that is said to have EFI and has none. Runs at LOW. */
#define LOW      0x60000
#define LOW_TEXT "0x60000"
extern const char to_bios[], to_bios_end[];
__asm__(".pushsection .rodata\n"
	"to_bios: .code64\n"
	"lgdt " LOW_TEXT " + 5f - to_bios\n"
	"mov $" LOW_TEXT " + 1f - to_bios, %eax\n"
	"push $8\n"
	"push %rax\n"
	"lretq\n"
	"1: .code32\n"
	"mov %cr0, %eax\n"
	"and $0x7fffffff, %eax\n"
	"mov %eax, %cr0\n"
	"mov $0xc0000080, %ecx\n"
	"xor %eax, %eax\n"
	"xor %edx, %edx\n"
	"wrmsr\n"
	"ljmp $16, $2f - to_bios\n"
	"2: .code16\n"
	"mov %cr0, %eax\n"
	"and $0xfe, %al\n"
	"mov %eax, %cr0\n"
	"ljmp $0xf000, $0xfff0\n"
	".balign 8\n"
	"4: .quad 0, 0x00cf9a000000ffff, 0x00009a060000ffff\n"
	"5: .word 23\n"
	".quad " LOW_TEXT " + 4b - to_bios\n"
	"to_bios_end: .code64\n"
	".popsection");

static void reset_bios(void)
{
	volatile uint8_t *low = (volatile uint8_t *)LOW;

	put_text("begins\n");
	for (const char *from = to_bios; from < to_bios_end; from++)
		*low++ = (uint8_t)*from;
	__asm__ volatile("cli; jmp *%0" : : "r"((uint64_t)LOW));
}

static void crash(void)
{
	CHECK(in8(0x505) & 1, 1);
	out8(0x505, 1);
}

static void triple_fault(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* What there is not reads as ones, and takes writes. */
static void nothing_there(void)
{
	CHECK(in8(0x1234), 0xff);
	out32(0x1234, 1);
	CHECK(*(volatile uint32_t *)(uintptr_t)0xf8000000u, 0xffffffff);
}

static void spin(void)
{
	put_text("spinning\n");
	for (;;)
		__asm__ volatile("cli; pause");
}

const struct test tests[] = {
	{"hello", hello},
	{"module", module},
	{"timer", timer},
	{"smp", smp},
	{"acpi", acpi},
	{"fault", fault},
	{"user", user},
	{"clock", clock},
	{"serial", serial},
	{"power-button", power_button},
	{"power-off", power_off},
	{"reset-acpi", reset_acpi},
	{"reset-keyboard", reset_keyboard},
	{"reset-bios", reset_bios},
	{"crash", crash},
	{"triple-fault", triple_fault},
	{"nothing-there", nothing_there},
	{"spin", spin},
};
const unsigned test_count = sizeof tests / sizeof *tests;
