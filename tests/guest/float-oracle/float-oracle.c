/* Runs as a riscv64 Linux program: executes the instruction of each case in its rounding mode and reports the
 * destination register and fflags. See operations.h. */
#include <stdio.h>

#include "operations.h"

#define EXECUTE_F_F(i) __asm__ volatile(i " %0, %1" : "=f"(d) : "f"(a))
#define EXECUTE_V_F(i) EXECUTE_F_F(i)
#define EXECUTE_FF_F(i) __asm__ volatile(i " %0, %1, %2" : "=f"(d) : "f"(a), "f"(b))
#define EXECUTE_MM_F(i) EXECUTE_FF_F(i)
#define EXECUTE_FFF_F(i) __asm__ volatile(i " %0, %1, %2, %3" : "=f"(d) : "f"(a), "f"(b), "f"(c))
#define EXECUTE_MM_X(i) __asm__ volatile(i " %0, %1, %2" : "=r"(x) : "f"(a), "f"(b))
#define EXECUTE_M_X(i) __asm__ volatile(i " %0, %1" : "=r"(x) : "f"(a))
#define EXECUTE_F_X32(i) EXECUTE_M_X(i)
#define EXECUTE_F_X64(i) EXECUTE_M_X(i)
#define EXECUTE_X_F(i) __asm__ volatile(i " %0, %1" : "=f"(d) : "r"(request->a))

static double register_of(uint64_t bits)
{
	double v;
	__asm__("fmv.d.x %0, %1" : "=f"(v) : "r"(bits));
	return v;
}

#define EXECUTE(shape, name, bits, mnemonic)                                                                 \
	case FLOAT_##bits##_##name:                                                                          \
		EXECUTE_##shape(mnemonic);                                                                   \
		break;

static struct float_outcome execute(const struct float_case *request)
{
	double a = register_of(request->a), b = register_of(request->b), c = register_of(request->c);
	double d = 0;
	uint64_t x = 0, from_d, flags;

	__asm__ volatile("fscsr %0" : : "r"((uint64_t)request->rounding << 5));
	switch (request->operation) {
		FLOAT_OPERATIONS(EXECUTE)
	}
	__asm__ volatile("frflags %0" : "=r"(flags));
	__asm__ volatile("fmv.x.d %0, %1" : "=r"(from_d) : "f"(d));
	return (struct float_outcome){ .value = x | from_d, .flags = flags };
}

int main(void)
{
	struct float_case request;

	while (fread(&request, sizeof request, 1, stdin) == 1) {
		struct float_outcome outcome = execute(&request);
		if (fwrite(&outcome, sizeof outcome, 1, stdout) != 1)
			return 1;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
