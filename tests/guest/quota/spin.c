/*
 * Guests that use all the processor time they can get, each in its own way, for ever. In M-mode with the monitor's
 * devices, or (guest_s_*) above its SBI; every hart runs the same. GUEST names the function that this payload is.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART      0x10000000u
#define FINISHER  0x100000u
#define RTC       0x101000u
#define CLINT     0x2000000u
#define MSIP      0x2000000u
#define MTIMECMP  0x2004000u
#define MTIME     0x200bff8u
#define PLIC      0xc000000u
#define VIRTIO    0x10001000u
#define HARTS_MAX 8

static inline void put32(uintptr_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline uint32_t get32(uintptr_t address)
{
	return *(volatile uint32_t *)address;
}

static inline uint64_t get64(uintptr_t address)
{
	return *(volatile uint64_t *)address;
}

#define FOREVER for (;;)
#define CSRW(name, value) __asm__ volatile("csrw " #name ", %0" ::"r"((uint64_t)(value)))

/* Nothing but a jump. */
void guest_loop(uint64_t hart)
{
	(void)hart;
	FOREVER
		__asm__ volatile("");
}

/* Sleeps until a moment that is almost there, again and again. */
void guest_naps(uint64_t hart)
{
	CSRW(mie, 0x80);
	FOREVER {
		*(volatile uint64_t *)(uintptr_t)(MTIMECMP + 8 * hart) = get64(MTIME) + 20;
		__asm__ volatile("wfi");
	}
}

/* Traps, whose handler traps. */
void guest_traps(uint64_t hart)
{
	(void)hart;
	__asm__ volatile("la t0, 1f; csrw mtvec, t0; .balign 4; 1: .word 0" ::: "t0");
}

/* A load from nowhere, stepped over. */
void guest_faults(uint64_t hart)
{
	(void)hart;
	__asm__ volatile("la t0, 1f; csrw mtvec, t0; j 2f; .balign 4; 1: csrr t0, mepc; addi t0, t0, 4; csrw mepc, t0; "
			 "mret; .balign 4; 2: li t1, 0x40000000; 3: .4byte 0x00033383; j 3b" ::
				 : "t0", "t1", "t2");
}

/* Devices' registers. */
void guest_devices(uint64_t hart)
{
	(void)hart;
	FOREVER {
		get32(UART + 5);
		put32(PLIC + 4, get32(PLIC + 0x1000));
		get32(VIRTIO);
		get64(MTIME);
	}
}

/* Writes to the console as fast as it is taken. */
void guest_console(uint64_t hart)
{
	(void)hart;
	FOREVER
		*(volatile uint8_t *)(uintptr_t)UART = '.';
}

/* Code that is new each time. */
void guest_patches(uint64_t hart)
{
	static uint32_t code[HARTS_MAX][1024];
	uint32_t *own = code[hart % HARTS_MAX];

	for (uint32_t round = 0;; round++) {
		for (unsigned i = 0; i < 1023; i++)
			own[i] = 0x00150513 + ((round & 0x3ff) << 20); /* addi a0, a0, n */
		own[1023] = 0x00008067; /* ret */
		__asm__ volatile("fence.i");
		((void (*)(void))(uintptr_t)own)();
	}
}

/* Each page once, without an end: nothing stays in any cache. */
void guest_memory(uint64_t hart)
{
	volatile uint8_t *memory = (volatile uint8_t *)(uintptr_t)0x81000000;

	FOREVER
		for (size_t i = 0; i < (16u << 20); i += 4096)
			memory[i + 64 * hart]++;
}

/* Interrupts between harts that sleep, and fences for all of them. */
void guest_kicks(uint64_t hart)
{
	CSRW(mie, 8);
	FOREVER {
		put32((uint32_t)(MSIP + 4 * hart), 0);
		put32((uint32_t)(MSIP + 4 * (hart ^ 1)), 1);
		__asm__ volatile("wfi; fence.i; sfence.vma");
	}
}

/* The machine starts anew, at once. */
void guest_resets(uint64_t hart)
{
	(void)hart;
	FOREVER
		put32(FINISHER, 0x7777);
}

/* Calls to the monitor's SBI: a fence for all harts, a timer, an interrupt to itself. */
void guest_s_calls(uint64_t hart)
{
	(void)hart;
	FOREVER
		__asm__ volatile("li a7, 0x52464e43; li a6, 0; li a0, -1; li a1, -1; ecall; "
				 "li a7, 0x54494d45; li a6, 0; li a0, -1; ecall; "
				 "li a7, 0x735049; li a6, 0; li a0, 1; li a1, 0; ecall" ::
					 : "a0", "a1", "a6", "a7", "memory");
}

/* A disk (the first virtio device), Virtio 1.2, 4.2.2 and 5.2.6. */

#define ENTRIES 256
#define CHAINS  80
#define AHEAD   0x82000000u /* what is read goes there */
#define LENGTH  (1u << 20)

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static struct {
	struct descriptor table[ENTRIES];
	struct {
		uint16_t flags, index, ring[ENTRIES], event;
	} driver;
	struct {
		uint16_t flags, index;
		struct {
			uint32_t id, length;
		} ring[ENTRIES];
		uint16_t event;
	} device __attribute__((aligned(8)));
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} request;
	uint8_t status;
} disk __attribute__((aligned(4096)));

static void put_address(uint32_t offset, const volatile void *pointer)
{
	put32(VIRTIO + offset, (uint32_t)(uintptr_t)pointer);
	put32(VIRTIO + offset + 4, (uint32_t)((uintptr_t)pointer >> 32));
}

static void start_disk(void)
{
	put32(VIRTIO + 0x70, 0);
	put32(VIRTIO + 0x70, 3);
	put32(VIRTIO + 0x24, 1); /* VIRTIO_F_VERSION_1, and nothing else */
	put32(VIRTIO + 0x20, 1);
	put32(VIRTIO + 0x24, 0);
	put32(VIRTIO + 0x20, 0);
	put32(VIRTIO + 0x70, 11);
	put32(VIRTIO + 0x30, 0);
	put32(VIRTIO + 0x38, ENTRIES);
	put_address(0x80, disk.table);
	put_address(0x90, &disk.driver);
	put_address(0xa0, &disk.device);
	put32(VIRTIO + 0x44, 1);
	put32(VIRTIO + 0x70, 15);
}

static void wait_forever(void)
{
	CSRW(mie, 0);
	FOREVER
		__asm__ volatile("wfi");
}

/* Kicks for a queue that is empty: the worker has nothing to do, all the time. */
void guest_notifies(uint64_t hart)
{
	if (hart > 0)
		wait_forever();
	start_disk();
	FOREVER
		put32(VIRTIO + 0x50, 0);
}

/* Reads of a mebibyte, as many at once as the queue takes. */
void guest_reads(uint64_t hart)
{
	uint16_t sent = 0;

	if (hart > 0)
		wait_forever();
	start_disk();
	for (unsigned i = 0; i < CHAINS; i++) {
		struct descriptor *chain = &disk.table[3 * i];
		uint16_t first = (uint16_t)(3 * i);

		chain[0] = (struct descriptor){(uintptr_t)&disk.request, 16, 1, (uint16_t)(first + 1)};
		chain[1] = (struct descriptor){AHEAD, LENGTH, 3, (uint16_t)(first + 2)};
		chain[2] = (struct descriptor){(uintptr_t)&disk.status, 1, 2, 0};
	}
	FOREVER {
		while ((uint16_t)(sent - *(volatile uint16_t *)&disk.device.index) < CHAINS) {
			disk.driver.ring[sent % ENTRIES] = (uint16_t)(3 * (sent % CHAINS));
			sent++;
		}
		__asm__ volatile("fence" ::: "memory");
		*(volatile uint16_t *)&disk.driver.index = sent;
		__asm__ volatile("fence" ::: "memory");
		put32(VIRTIO + 0x50, 0);
	}
}

/* Reads and writes all over a disk of 32 MiB, whatever comes of it. The console tells of the first that goes well, and of
 * the first that does not. */
void guest_disk(uint64_t hart)
{
	static const char *const words[] = {"the disk works\n", "the disk fails\n"};
	bool told[2] = {false, false};

	if (hart > 0)
		wait_forever();
	start_disk();
	disk.table[0] = (struct descriptor){(uintptr_t)&disk.request, 16, 1, 1};
	disk.table[2] = (struct descriptor){(uintptr_t)&disk.status, 1, 2, 0};
	for (uint16_t sent = 1;; sent++) {
		bool write = sent & 2, failed;

		disk.request.type = write;
		disk.request.sector = sent * 521u % 8192 * 8;
		disk.table[1] = (struct descriptor){AHEAD, 4096, write ? 1 : 3, 2};
		__asm__ volatile("fence" ::: "memory");
		*(volatile uint16_t *)&disk.driver.index = sent;
		__asm__ volatile("fence" ::: "memory");
		put32(VIRTIO + 0x50, 0);
		while (*(volatile uint16_t *)&disk.device.index != sent)
			;
		failed = *(volatile uint8_t *)&disk.status != 0;
		for (const char *at = words[failed]; *at && !told[failed]; at++)
			*(volatile uint8_t *)(uintptr_t)UART = (uint8_t)*at;
		told[failed] = true;
	}
}

/* Each is four bytes long, for the handler that steps over those that trap. */
#define ACCESS(instruction, value, at)                                                                            \
	__asm__ volatile(".option push; .option norvc; " instruction " %0, 0(%1); .option pop" : "+r"(value)      \
			 : "r"(at)                                                                                \
			 : "memory")

static void access(unsigned form, uint64_t at, uint64_t value)
{
	switch (form % 8) {
	case 0: ACCESS("lbu", value, at); break;
	case 1: ACCESS("lhu", value, at); break;
	case 2: ACCESS("lwu", value, at); break;
	case 3: ACCESS("ld", value, at); break;
	case 4: ACCESS("sb", value, at); break;
	case 5: ACCESS("sh", value, at); break;
	case 6: ACCESS("sw", value, at); break;
	default: ACCESS("sd", value, at); break;
	}
}

/* Every register of every device, in every width, with values that are sensible now and then, mostly where a driver would
 * write. What switches the machine off or resets it is left out. */
void guest_hammer(uint64_t hart)
{
	static const struct {
		uint32_t base, size;
	} windows[] = {
		{FINISHER, 0x1000}, {RTC, 0x1000},    {CLINT, 0x10000},   {PLIC, 0x202000},
		{UART, 0x100},      {VIRTIO, 0x1000}, {VIRTIO, 0x20000},
	};
	uint64_t dice = 88172645463325252u + hart;

	__asm__ volatile("la t0, 1f; csrw mtvec, t0; j 2f; .balign 4; 1: csrw mscratch, t0; csrr t0, mepc; addi t0, t0, 4; "
			 "csrw mepc, t0; csrr t0, mscratch; mret; 2:" ::
				 : "t0");
	FOREVER {
		unsigned window, form = (unsigned)(dice >> 56);
		uint64_t at, value;

		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		window = (unsigned)(dice % (sizeof windows / sizeof *windows));
		at = windows[window].base + (dice >> 8) % windows[window].size;
		/* One in eight is not aligned. */
		at &= dice >> 61 ? ~((UINT64_C(1) << form % 4) - 1) : ~UINT64_C(0);
		value = dice >> 59 & 3 ? dice >> 40 & 0xf : dice * 3;
		access(form, at, window == 0 ? value | 0x808 : value);
	}
}

void start(void);

#define TEXT(text) #text
#define NAME(name) TEXT(name)
__attribute__((section(".text.start"), naked)) void start(void)
{
	/* 4 KiB of stack below the code's end for each hart. */
	__asm__ volatile("la sp, stack_end; slli t0, a0, 12; sub sp, sp, t0; call " NAME(GUEST));
}

__attribute__((aligned(16))) uint8_t stack[HARTS_MAX * 4096];
__asm__(".globl stack_end; .set stack_end, stack + 8 * 4096");
