/* The assembler against objdump and GNU as: floats and vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/translate/x64.h"
#include "x64_oracle.h"

static char suffix(unsigned int size)
{
	return size == 8 ? 'd' : 's';
}

static void test_float_moves(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_XMM(x)
	EACH_REG(reg)
	{
		x64_movq_xr(&o.a, x, reg);
		oracle_wants(&o, "movq %s,%s", xmm_name(x), reg_name(8, reg));
		x64_movq_rx(&o.a, reg, x);
		oracle_wants(&o, "movq %s,%s", reg_name(8, reg), xmm_name(x));
		x64_movd_xr(&o.a, x, reg);
		oracle_wants(&o, "movd %s,%s", xmm_name(x), reg_name(4, reg));
		x64_movd_rx(&o.a, reg, x);
		oracle_wants(&o, "movd %s,%s", reg_name(4, reg), xmm_name(x));
		x64_fmov_rr(&o.a, x, (enum x64_xmm)reg);
		oracle_wants(&o, "movaps %s,%s", xmm_name(x), xmm_name((enum x64_xmm)reg));
	}
	EACH_SIZE(size, 4)
	EACH_MEM(mem)
	EACH_XMM(x)
	{
		x64_fload(&o.a, size, x, mem);
		oracle_wants(&o, "movs%c %s,%s", suffix(size), xmm_name(x), mem_name(size, mem));
		x64_fstore(&o.a, size, mem, x);
		oracle_wants(&o, "movs%c %s,%s", suffix(size), mem_name(size, mem), xmm_name(x));
	}
	oracle_end(&o);
}

static void float_pair(struct oracle *o, unsigned int size, enum x64_xmm x, enum x64_xmm y)
{
	static const char *const names[] = {"add", "sub", "mul", "div", "sqrt", "min", "max"};
	struct x64_mem mem = oracle_mem_of_few(y % oracle_mem_count_few());

	for (enum x64_farith op = X64_FADD; op <= X64_FMAX; op++) {
		x64_farith(&o->a, op, size, x, y);
		oracle_wants(o, "%ss%c %s,%s", names[op], suffix(size), xmm_name(x), xmm_name(y));
		x64_farith_m(&o->a, op, size, x, mem);
		oracle_wants(o, "%ss%c %s,%s", names[op], suffix(size), xmm_name(x), mem_name(size, mem));
	}
	x64_ucomi(&o->a, size, x, y);
	oracle_wants(o, "ucomis%c %s,%s", suffix(size), xmm_name(x), xmm_name(y));
	x64_comi(&o->a, size, x, y);
	oracle_wants(o, "comis%c %s,%s", suffix(size), xmm_name(x), xmm_name(y));
}

static void test_float_arithmetic(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(size, 4)
	EACH_XMM(x)
	EACH_XMM(y)
	float_pair(&o, size, x, y);
	oracle_end(&o);
}

static void test_float_to_integer(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(fsize, 4)
	EACH_SIZE(isize, 4)
	EACH_XMM(x)
	EACH_REG(reg)
	{
		x64_cvtsi2f(&o.a, isize, fsize, x, reg);
		oracle_wants(&o, "cvtsi2s%c %s,%s", suffix(fsize), xmm_name(x), reg_name(isize, reg));
		x64_cvtf2si(&o.a, fsize, isize, reg, x);
		oracle_wants(&o, "cvts%c2si %s,%s", suffix(fsize), reg_name(isize, reg), xmm_name(x));
		x64_cvttf2si(&o.a, fsize, isize, reg, x);
		oracle_wants(&o, "cvtts%c2si %s,%s", suffix(fsize), reg_name(isize, reg), xmm_name(x));
	}
	oracle_end(&o);
}

static void vector_pair(struct oracle *o, enum x64_xmm x, enum x64_xmm y)
{
	static const char *const logic[] = {"andps", "andnps", "orps", "xorps"};
	static const char *const equal[] = {[1] = "pcmpeqb", [2] = "pcmpeqw", [4] = "pcmpeqd", [8] = "pcmpeqq"};
	static const char *const product[] = {"pclmullqlqdq", "pclmulhqlqdq", "pclmullqhqdq", "pclmulhqhqdq"};
	const char *dst = xmm_name(x), *src = xmm_name(y);
	struct x64_mem mem = oracle_mem_of_few(y % oracle_mem_count_few());

	for (enum x64_flogic op = X64_FAND; op <= X64_FXOR; op++) {
		x64_flogic(&o->a, op, x, y);
		oracle_wants(o, "%s %s,%s", logic[op], dst, src);
		x64_flogic_m(&o->a, op, x, mem);
		oracle_wants(o, "%s %s,%s", logic[op], dst, mem_name(16, mem));
	}
	EACH_SIZE(size, 1)
	{
		x64_pcmpeq(&o->a, size, x, y);
		oracle_wants(o, "%s %s,%s", equal[size], dst, src);
	}
	for (unsigned int i = 0; i < 4; i++) {
		x64_pclmulqdq(&o->a, x, y, (i & 1) | (i & 2) << 3);
		oracle_wants(o, "%s %s,%s", product[i], dst, src);
	}
}

static void whole_pair(struct oracle *o, enum x64_xmm x, enum x64_xmm y)
{
	struct x64_mem mem = oracle_mem_of_few(y % oracle_mem_count_few());
	unsigned int count = (x * 7u + y) % 64;

	x64_vload(&o->a, x, mem);
	oracle_wants(o, "movups %s,%s", xmm_name(x), mem_name(16, mem));
	x64_vstore(&o->a, mem, x);
	oracle_wants(o, "movups %s,%s", mem_name(16, mem), xmm_name(x));
	x64_vload_high(&o->a, x, mem);
	oracle_wants(o, "movhps %s,%s", xmm_name(x), mem_name(8, mem));
	x64_vstore_high(&o->a, mem, x);
	oracle_wants(o, "movhps %s,%s", mem_name(8, mem), xmm_name(x));
	EACH_SIZE(size, 4)
	{
		x64_vshift_ri(&o->a, X64_SHL, size, x, y, count % (size * 8));
		oracle_wants(o, "vpsll%c %s,%s,0x%x", size == 4 ? 'd' : 'q', xmm_name(x), xmm_name(y), count % (size * 8));
		x64_vshift_ri(&o->a, X64_SHR, size, x, y, count % (size * 8));
		oracle_wants(o, "vpsrl%c %s,%s,0x%x", size == 4 ? 'd' : 'q', xmm_name(x), xmm_name(y), count % (size * 8));
		x64_vsqrt(&o->a, size, x, y);
		oracle_wants(o, "vsqrtp%c %s,%s", suffix(size), xmm_name(x), xmm_name(y));
		x64_vspread(&o->a, size, x, y);
		oracle_wants(o, "vpbroadcast%c %s,%s", size == 4 ? 'd' : 'q', xmm_name(x), xmm_name(y));
		x64_vtest(&o->a, size, x, y);
		oracle_wants(o, "vtestp%c %s,%s", suffix(size), xmm_name(x), xmm_name(y));
	}
	x64_vshift_ri(&o->a, X64_SAR, 4, x, y, count % 32);
	oracle_wants(o, "vpsrad %s,%s,0x%x", xmm_name(x), xmm_name(y), count % 32);
}

static void conversion_pair(struct oracle *o, enum x64_xmm x, enum x64_xmm y)
{
	const char *dst = xmm_name(x), *src = xmm_name(y);
	unsigned int mode = (x + y) % 5;

	x64_cvtsd2ss(&o->a, x, y);
	oracle_wants(o, "cvtsd2ss %s,%s", dst, src);
	x64_cvtss2sd(&o->a, x, y);
	oracle_wants(o, "cvtss2sd %s,%s", dst, src);
	x64_cvtph2ps(&o->a, x, y);
	oracle_wants(o, "vcvtph2ps %s,%s", dst, src);
	x64_cvtps2ph(&o->a, x, y, (enum x64_round)mode);
	oracle_wants(o, "vcvtps2ph %s,%s,0x%x", dst, src, mode);
	x64_roundsd(&o->a, x, y, mode);
	oracle_wants(o, "roundsd %s,%s,0x%x", dst, src, mode);
	x64_roundss(&o->a, x, y, mode | X64_ROUND_QUIET);
	oracle_wants(o, "roundss %s,%s,0x%x", dst, src, mode | X64_ROUND_QUIET);
}

static void test_vectors(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_XMM(x)
	EACH_XMM(y)
	{
		vector_pair(&o, x, y);
		conversion_pair(&o, x, y);
		whole_pair(&o, x, y);
	}
	EACH_MEM(mem)
	{
		x64_ldmxcsr(&o.a, mem);
		oracle_wants(&o, "ldmxcsr %s", mem_name(4, mem));
		x64_stmxcsr(&o.a, mem);
		oracle_wants(&o, "stmxcsr %s", mem_name(4, mem));
	}
	oracle_end(&o);
}

static void fused(struct oracle *o, enum x64_xmm x, enum x64_xmm y, enum x64_xmm z)
{
	static const char *const names[] = {"vfmadd", "vfmsub", "vfnmadd", "vfnmsub"};
	static const char *const orders[] = {"132", "213", "231"};

	for (enum x64_fma op = X64_FMADD; op <= X64_FNMSUB; op++)
		for (enum x64_fma_order order = X64_FMA132; order <= X64_FMA231; order++)
			EACH_SIZE(size, 4)
			{
				x64_fma(&o->a, op, order, size, x, y, z);
				oracle_wants(o, "%s%ss%c %s,%s,%s", names[op], orders[order], suffix(size),
					     xmm_name(x), xmm_name(y), xmm_name(z));
			}
}

static void three(struct oracle *o, enum x64_xmm x, enum x64_xmm y, enum x64_xmm z)
{
	static const char *const names[] = {[X64_FADD] = "vadd", [X64_FSUB] = "vsub", [X64_FMUL] = "vmul",
					    [X64_FDIV] = "vdiv", [X64_FMIN] = "vmin", [X64_FMAX] = "vmax"};

	for (enum x64_farith op = X64_FADD; op <= X64_FMAX; op++)
		EACH_SIZE(size, 4)
		{
			if (!names[op])
				continue;
			x64_farith3(&o->a, op, size, x, y, z);
			oracle_wants(o, "%ss%c %s,%s,%s", names[op], suffix(size), xmm_name(x), xmm_name(y), xmm_name(z));
		}
}

static void elements_of_three(struct oracle *o, enum x64_xmm x, enum x64_xmm y, enum x64_xmm z)
{
	static const char *const names[][2] = {
		[X64_VADD] = {"vpaddd", "vpaddq"},  [X64_VSUB] = {"vpsubd", "vpsubq"},  [X64_VAND] = {"vpand", "vpand"},
		[X64_VOR] = {"vpor", "vpor"},       [X64_VXOR] = {"vpxor", "vpxor"},    [X64_VSHL] = {"vpslld", "vpsllq"},
		[X64_VSHR] = {"vpsrld", "vpsrlq"},  [X64_VSAR] = {"vpsrad", NULL},      [X64_VMUL] = {"vpmulld", NULL},
		[X64_VFADD] = {"vaddps", "vaddpd"}, [X64_VFSUB] = {"vsubps", "vsubpd"}, [X64_VFMUL] = {"vmulps", "vmulpd"},
		[X64_VFDIV] = {"vdivps", "vdivpd"}};
	static const char *const fused[] = {"vfmadd", "vfmsub", "vfnmadd", "vfnmsub"};
	const char *a = xmm_name(x), *b = xmm_name(y), *c = xmm_name(z);

	EACH_SIZE(size, 4)
	{
		for (enum x64_vector op = X64_VADD; op <= X64_VFDIV; op++) {
			if (!names[op][size == 8])
				continue;
			x64_vector(&o->a, op, size, x, y, z);
			oracle_wants(o, "%s %s,%s,%s", names[op][size == 8], a, b, c);
		}
		for (enum x64_fma op = X64_FMADD; op <= X64_FNMSUB; op++) {
			x64_vfma(&o->a, op, X64_FMA213, size, x, y, z);
			oracle_wants(o, "%s213p%c %s,%s,%s", fused[op], suffix(size), a, b, c);
		}
		x64_vunordered(&o->a, size, x, y, z);
		oracle_wants(o, "vcmpunordp%c %s,%s,%s", suffix(size), a, b, c);
	}
	x64_vshuffle(&o->a, x, y, z, (x + z) % 4u);
	oracle_wants(o, "vshufpd %s,%s,%s,0x%x", a, b, c, (x + z) % 4u);
}

static void test_three(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_XMM(x)
	EACH_XMM(y)
	{
		three(&o, x, y, (enum x64_xmm)other_reg(x + y));
		elements_of_three(&o, x, y, (enum x64_xmm)other_reg(x + y));
	}
	oracle_end(&o);
}

static void test_fused(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_XMM(x)
	EACH_XMM(y)
	fused(&o, x, y, (enum x64_xmm)other_reg(x + y));
	oracle_end(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_float_moves),
		cmocka_unit_test(test_float_arithmetic),
		cmocka_unit_test(test_float_to_integer),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_fused),
		cmocka_unit_test(test_three),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
