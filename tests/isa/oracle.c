/*
 * The independent oracle: a riscv64 Linux program without a C library that executes fragments (protocol.h) from its
 * standard input under qemu-riscv64 and writes what became of them to its standard output.
 *
 * One signal handler does the work. The exception that ends a fragment enters it; it reports the registers that the
 * kernel saved, reads the next fragment, and replaces the saved registers by that fragment's, so that the
 * return from the signal starts it. Nothing here may depend on sp, gp or tp: they belong to the fragment.
 */
#include <asm/unistd.h>
#include <signal.h>
#include <ucontext.h>

#include "protocol.h"

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = e;
	register long a5 __asm__("a5") = f;
	register long a7 __asm__("a7") = number;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
	return a0;
}

static void leave(long code)
{
	for (;;)
		call(__NR_exit_group, code, 0, 0, 0, 0, 0);
}

/* End of input between two fragments is the harness's way to say that there are no more. */
static void transfer(long number, long fd, uint64_t at, uint64_t bytes)
{
	while (bytes) {
		long done = call(number, fd, (long)at, (long)bytes, 0, 0, 0);

		if (done <= 0)
			leave(done == 0 ? 0 : 1);
		at += (uint64_t)done;
		bytes -= (uint64_t)done;
	}
}

static uint64_t ending_of(int signal)
{
	switch (signal) {
	case SIGTRAP:
		return ISA_BREAKPOINT;
	case SIGILL:
		return ISA_ILLEGAL;
	case SIGBUS:
		return ISA_MISALIGNED;
	case SIGSEGV:
		return ISA_FAULT;
	default:
		return ISA_ODD;
	}
}

static struct isa_start start;
static struct isa_end end;
static int began;

static void report(int signal, const siginfo_t *info, const mcontext_t *machine)
{
	end.ending = ending_of(signal);
	end.address = end.ending >= ISA_MISALIGNED ? (uint64_t)info->si_addr : 0;
	end.state.pc = machine->__gregs[0];
	end.state.fcsr = machine->__fpregs.__d.__fcsr;
	end.state.x[0] = 0;
	for (int i = 1; i < 32; i++)
		end.state.x[i] = machine->__gregs[i];
	for (int i = 0; i < 32; i++)
		end.state.f[i] = machine->__fpregs.__d.__f[i];
	transfer(__NR_write, 1, (uint64_t)&end, sizeof end);
	transfer(__NR_write, 1, ISA_DATA, ISA_DATA_SIZE);
}

static void next(mcontext_t *machine)
{
	transfer(__NR_read, 0, (uint64_t)&start, sizeof start);
	if (start.code_bytes > ISA_CODE_SIZE)
		leave(2);
	transfer(__NR_read, 0, ISA_CODE, start.code_bytes);
	for (uint64_t at = start.code_bytes & ~UINT64_C(1); at < ISA_CODE_SIZE; at += 2)
		*(volatile uint16_t *)(ISA_CODE + at) = ISA_EBREAK;
	transfer(__NR_read, 0, ISA_DATA, ISA_DATA_SIZE);
	__asm__ volatile("fence.i" : : : "memory");
	machine->__gregs[0] = ISA_CODE;
	machine->__fpregs.__d.__fcsr = (unsigned)start.state.fcsr;
	for (int i = 1; i < 32; i++)
		machine->__gregs[i] = start.state.x[i];
	for (int i = 0; i < 32; i++)
		machine->__fpregs.__d.__f[i] = start.state.f[i];
}

static void handle(int signal, siginfo_t *info, void *context)
{
	mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;

	if (began)
		report(signal, info, machine);
	began = 1;
	next(machine);
}

/* As the kernel has it: this architecture has no restorer. */
struct kernel_sigaction {
	void (*handler)(int signal, siginfo_t *info, void *context);
	unsigned long flags;
	unsigned long mask;
};

static void map(uint64_t at, uint64_t bytes, long protection)
{
	const long private_fixed_anonymous = 2 | 16 | 32;

	if (call(__NR_mmap, (long)at, (long)bytes, protection, private_fixed_anonymous, -1, 0) != (long)at)
		leave(3);
}

void _start(void);
void _start(void)
{
	static const int signals[] = {SIGTRAP, SIGILL, SIGBUS, SIGSEGV};
	static char stack[65536] __attribute__((aligned(16)));
	static const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	static const struct kernel_sigaction action = {handle, SA_SIGINFO | SA_ONSTACK, 0};

	map(ISA_CODE, ISA_CODE_SIZE, 7);
	map(ISA_DATA, ISA_DATA_SIZE, 3);
	call(__NR_sigaltstack, (long)&alternate, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		call(__NR_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0);
	__asm__ volatile("ebreak");
	leave(4);
}
