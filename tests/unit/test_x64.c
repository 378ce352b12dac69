/* The assembler against objdump and GNU as: the integer functions and control, all registers, memory operands
 * and ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/translate/x64.h"
#include "x64_oracle.h"

static const char *const alu_names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
static const char *const cc_names[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
				       "s", "ns", "p", "np", "l", "ge", "le", "g"};
static const int32_t immediates[] = {0,   1,     -1,    127,    128,       -128,      -129,      255,
				     256, 32767, 32768, -32768, INT32_MAX, INT32_MIN, 0x12345678};

static void test_alu_registers(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (enum x64_alu op = X64_ADD; op <= X64_CMP; op++)
		EACH_SIZE(size, 1)
	EACH_REG(dst)
	EACH_REG(src)
	{
		x64_alu_rr(&o.a, op, size, dst, src);
		oracle_wants(&o, "%s %s,%s", alu_names[op], reg_name(size, dst), reg_name(size, src));
	}
	oracle_end(&o);
}

static void test_alu_immediates(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (enum x64_alu op = X64_ADD; op <= X64_CMP; op++)
		EACH_SIZE(size, 1)
	EACH_REG(dst)
	for (size_t i = 0; i < COUNT(immediates); i++) {
		x64_alu_ri(&o.a, op, size, dst, immediates[i]);
		oracle_wants(&o, "%s %s,0x%llx", alu_names[op], reg_name(size, dst),
			     LL(imm_shown(size, immediates[i])));
	}
	oracle_end(&o);
}

static void alu_with_memory(struct oracle *o, enum x64_alu op, unsigned int size, struct x64_mem mem,
			    enum x64_reg reg)
{
	const char *name = alu_names[op], *r = reg_name(size, reg);

	x64_alu_rm(&o->a, op, size, reg, mem);
	oracle_wants(o, "%s %s,%s", name, r, mem_name(size, mem));
	x64_alu_mr(&o->a, op, size, mem, reg);
	oracle_wants(o, "%s %s,%s", name, mem_name(size, mem), r);
	for (size_t i = reg % 2; i < COUNT(immediates); i += 2) {
		x64_alu_mi(&o->a, op, size, mem, immediates[i]);
		oracle_wants(o, "%s %s,0x%llx", name, mem_name(size, mem), LL(imm_shown(size, immediates[i])));
	}
	if (op == X64_CMP)
		return;
	x64_lock_alu_mr(&o->a, op, size, mem, reg);
	oracle_wants(o, "lock %s %s,%s", name, mem_name(size, mem), r);
}

static void test_alu_memory(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (enum x64_alu op = X64_ADD; op <= X64_CMP; op++)
		EACH_SIZE(size, 1)
	EACH_MEM(mem)
	alu_with_memory(&o, op, size, mem, other_reg((unsigned int)i_ + op));
	oracle_end(&o);
}

/* Every memory operand, once in the place of each width of displacement. */
static void test_addresses(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (size_t i = 0; i < oracle_mem_count_all(); i++) {
		struct x64_mem mem = oracle_mem_of_all(i);
		enum x64_reg reg = other_reg((unsigned int)i);

		x64_load(&o.a, 8, reg, mem);
		oracle_wants(&o, "mov %s,%s", reg_name(8, reg), mem_name(8, mem));
		x64_lea(&o.a, 4, reg, mem);
		oracle_wants(&o, "lea %s,%s", reg_name(4, reg), address_name(mem));
	}
	oracle_end(&o);
}

/* The size that x64_test_ri is to choose. */
static unsigned int narrowed(unsigned int size, int32_t imm)
{
	if (imm >= 0 && imm < 128)
		return 1;
	return size == 8 && imm >= 0 ? 4 : size;
}

static void test_test(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(size, 1)
	{
		EACH_REG(x)
		EACH_REG(y)
		{
			x64_test_rr(&o.a, size, x, y);
			oracle_wants(&o, "test %s,%s", reg_name(size, x), reg_name(size, y));
		}
		for (size_t i = 0; i < COUNT(immediates); i++) {
			int32_t imm = immediates[i];
			unsigned int chosen = narrowed(size, imm);

			EACH_REG(x)
			{
				x64_test_ri(&o.a, size, x, imm);
				oracle_wants(&o, "test %s,0x%llx", reg_name(chosen, x),
					     LL(imm_shown(chosen, imm)));
			}
			EACH_MEM(mem)
			{
				x64_test_mi(&o.a, size, mem, imm);
				oracle_wants(&o, "test %s,0x%llx", mem_name(size, mem), LL(imm_shown(size, imm)));
			}
		}
	}
	oracle_end(&o);
}

typedef void unary_fn(struct x64 *a, unsigned int size, enum x64_reg reg);
typedef void binary_fn(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);

static void test_one_and_two_registers(void **state)
{
	static const struct {
		const char *name;
		unary_fn *emit;
		unsigned int least;
	} unary[] = {
		{"neg", x64_neg, 1}, {"not", x64_not, 1},   {"mul", x64_mul, 1},     {"imul", x64_imul1, 1},
		{"div", x64_div, 1}, {"idiv", x64_idiv, 1}, {"bswap", x64_bswap, 4},
	};
	static const struct {
		const char *name;
		binary_fn *emit;
		unsigned int least;
	} binary[] = {
		{"mov", x64_mov_rr, 1},  {"imul", x64_imul_rr, 2},  {"lzcnt", x64_lzcnt, 2},
		{"tzcnt", x64_tzcnt, 2}, {"popcnt", x64_popcnt, 2},
	};
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (size_t i = 0; i < COUNT(unary); i++)
		EACH_SIZE(size, unary[i].least)
	EACH_REG(reg)
	{
		unary[i].emit(&o.a, size, reg);
		oracle_wants(&o, "%s %s", unary[i].name, reg_name(size, reg));
	}
	for (size_t i = 0; i < COUNT(binary); i++)
		EACH_SIZE(size, binary[i].least)
	EACH_REG(dst)
	EACH_REG(src)
	{
		binary[i].emit(&o.a, size, dst, src);
		oracle_wants(&o, "%s %s,%s", binary[i].name, reg_name(size, dst), reg_name(size, src));
	}
	oracle_end(&o);
}

static void test_multiply_immediate(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(size, 2)
	EACH_REG(dst)
	for (size_t i = 0; i < COUNT(immediates); i++) {
		enum x64_reg src = other_reg(dst + (unsigned int)i);

		x64_imul_rri(&o.a, size, dst, src, immediates[i]);
		oracle_wants(&o, "imul %s,%s,0x%llx", reg_name(size, dst), reg_name(size, src),
			     LL(imm_shown(size, immediates[i])));
	}
	oracle_end(&o);
}

static void test_constants(void **state)
{
	static const uint64_t values[] = {0,
					  1,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  0x100000000,
					  ~UINT64_C(0),
					  UINT64_C(1) << 63,
					  0xffffffff80000000,
					  0xffffffff7fffffff};
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_REG(dst)
	for (size_t i = 0; i < COUNT(values); i++) {
		bool half = values[i] <= UINT32_MAX, far = !half && (int64_t)values[i] != (int32_t)values[i];
		size_t length = far ? 10 : half ? 5 + (dst >= X64_R8) : 7;

		x64_mov_ri(&o.a, dst, values[i]);
		assert_int_equal(oracle_pending(&o), length);
		oracle_wants(&o, "%s %s,0x%llx", far ? "movabs" : "mov", reg_name(half ? 4 : 8, dst),
			     LL(values[i]));
	}
	EACH_REG(dst)
	{
		x64_zero(&o.a, dst);
		oracle_wants(&o, "xor %s,%s", reg_name(4, dst), reg_name(4, dst));
	}
	oracle_end(&o);
}

static void test_loads_and_stores(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(size, 1)
	EACH_MEM(mem)
	EACH_REG(reg)
	{
		x64_load(&o.a, size, reg, mem);
		oracle_wants(&o, "mov %s,%s", reg_name(size, reg), mem_name(size, mem));
		x64_store(&o.a, size, mem, reg);
		oracle_wants(&o, "mov %s,%s", mem_name(size, mem), reg_name(size, reg));
		x64_xchg_mr(&o.a, size, mem, reg);
		oracle_wants(&o, "xchg %s,%s", mem_name(size, mem), reg_name(size, reg));
		x64_lock_xadd(&o.a, size, mem, reg);
		oracle_wants(&o, "lock xadd %s,%s", mem_name(size, mem), reg_name(size, reg));
		x64_lock_cmpxchg(&o.a, size, mem, reg);
		oracle_wants(&o, "lock cmpxchg %s,%s", mem_name(size, mem), reg_name(size, reg));
		x64_xadd(&o.a, size, mem, reg);
		oracle_wants(&o, "xadd %s,%s", mem_name(size, mem), reg_name(size, reg));
		x64_cmpxchg(&o.a, size, mem, reg);
		oracle_wants(&o, "cmpxchg %s,%s", mem_name(size, mem), reg_name(size, reg));
	}
	EACH_SIZE(size, 1)
	EACH_MEM(mem)
	for (size_t i = 0; i < COUNT(immediates); i++) {
		x64_store_i(&o.a, size, mem, immediates[i]);
		oracle_wants(&o, "mov %s,0x%llx", mem_name(size, mem), LL(imm_shown(size, immediates[i])));
	}
	oracle_end(&o);
}

static void test_extensions(void **state)
{
	static const char *const sign[] = {[1] = "movsx", [2] = "movsx", [4] = "movsxd", [8] = "mov"};
	static const char *const zero[] = {[1] = "movzx", [2] = "movzx", [4] = "mov", [8] = "mov"};
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(size, 1)
	EACH_REG(dst)
	{
		const char *narrow = reg_name(size == 8 ? 8 : 4, dst), *full = reg_name(8, dst);

		EACH_REG(src)
		{
			x64_movsx_rr(&o.a, size, dst, src);
			oracle_wants(&o, "%s %s,%s", sign[size], full, reg_name(size, src));
			x64_movzx_rr(&o.a, size, dst, src);
			oracle_wants(&o, "%s %s,%s", zero[size], narrow, reg_name(size, src));
		}
		EACH_MEM(mem)
		{
			x64_load_sx(&o.a, size, dst, mem);
			oracle_wants(&o, "%s %s,%s", sign[size], full, mem_name(size, mem));
			x64_load_zx(&o.a, size, dst, mem);
			oracle_wants(&o, "%s %s,%s", zero[size], narrow, mem_name(size, mem));
		}
	}
	oracle_end(&o);
}

static void test_conditions(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_CC(cc)
	EACH_REG(dst)
	{
		x64_setcc(&o.a, cc, dst);
		oracle_wants(&o, "set%s %s", cc_names[cc], reg_name(1, dst));
		EACH_SIZE(size, 2)
		{
			EACH_REG(src)
			{
				x64_cmov(&o.a, cc, size, dst, src);
				oracle_wants(&o, "cmov%s %s,%s", cc_names[cc], reg_name(size, dst),
					     reg_name(size, src));
			}
			struct x64_mem mem = oracle_mem_of_few((cc + (size_t)dst) % oracle_mem_count_few());

			x64_cmov_rm(&o.a, cc, size, dst, mem);
			oracle_wants(&o, "cmov%s %s,%s", cc_names[cc], reg_name(size, dst), mem_name(size, mem));
		}
	}
	oracle_end(&o);
	assert_int_equal(x64_cc_negate(X64_E), X64_NE);
	assert_int_equal(x64_cc_negate(X64_G), X64_LE);
}

static void test_stack(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_REG(reg)
	{
		x64_push_r(&o.a, reg);
		oracle_wants(&o, "push %s", reg_name(8, reg));
		x64_pop_r(&o.a, reg);
		oracle_wants(&o, "pop %s", reg_name(8, reg));
	}
	for (size_t i = 0; i < COUNT(immediates); i++) {
		x64_push_i(&o.a, immediates[i]);
		oracle_wants(&o, "push 0x%llx", LL(imm_shown(8, immediates[i])));
	}
	EACH_MEM(mem)
	{
		x64_push_m(&o.a, mem);
		oracle_wants(&o, "push %s", mem_name(8, mem));
	}
	oracle_end(&o);
}

static const char *const shift_names[] = {"rol", "ror", "shl", "shr", "sar"};

static void test_shifts(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (enum x64_shift op = X64_ROL; op <= X64_SAR; op++)
		EACH_SIZE(size, 1)
	EACH_REG(reg)
	{
		for (unsigned int count = 0; count < 8 * size; count++) {
			x64_shift_ri(&o.a, op, size, reg, count);
			oracle_wants(&o, count == 1 ? "%s %s,1" : "%s %s,0x%x", shift_names[op],
				     reg_name(size, reg), count);
		}
		x64_shift_rcl(&o.a, op, size, reg);
		oracle_wants(&o, "%s %s,cl", shift_names[op], reg_name(size, reg));
	}
	oracle_end(&o);
}

static void three_registers(struct oracle *o, unsigned int size, enum x64_reg dst, enum x64_reg x)
{
	enum x64_reg y = other_reg(dst + x);
	const char *d = reg_name(size, dst), *first = reg_name(size, x), *second = reg_name(size, y);

	for (enum x64_shift op = X64_SHL; op <= X64_SAR; op++) {
		x64_shiftx(&o->a, op, size, dst, x, y);
		oracle_wants(o, "%sx %s,%s,%s", shift_names[op], d, first, second);
	}
	x64_andn(&o->a, size, dst, x, y);
	oracle_wants(o, "andn %s,%s,%s", d, first, second);
	x64_rorx(&o->a, size, dst, x, (dst + x) % 32);
	oracle_wants(o, "rorx %s,%s,0x%x", d, first, (dst + x) % 32);
}

static void test_bmi(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_SIZE(size, 4)
	EACH_REG(dst)
	EACH_REG(x)
	three_registers(&o, size, dst, x);
	oracle_end(&o);
}

static void test_single_bits(void **state)
{
	static const char *const names[] = {"bt", "bts", "btr", "btc"};
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (enum x64_bit op = X64_BT; op <= X64_BTC; op++)
		EACH_SIZE(size, 2)
	EACH_REG(reg)
	{
		for (unsigned int bit = 0; bit < 8 * size; bit += 5) {
			x64_bit_ri(&o.a, op, size, reg, bit);
			oracle_wants(&o, "%s %s,0x%x", names[op], reg_name(size, reg), bit);
		}
		EACH_REG(bit)
		{
			x64_bit_rr(&o.a, op, size, reg, bit);
			oracle_wants(&o, "%s %s,%s", names[op], reg_name(size, reg), reg_name(size, bit));
		}
	}
	oracle_end(&o);
}

static void test_without_operands(void **state)
{
	static const struct {
		const char *name;
		void (*emit)(struct x64 *a);
	} rows[] = {
		{"cqo", x64_cqo}, {"cdq", x64_cdq}, {"mfence", x64_mfence}, {"ret", x64_ret}, {"int3", x64_int3}};
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (size_t i = 0; i < COUNT(rows); i++) {
		rows[i].emit(&o.a);
		oracle_wants(&o, "%s", rows[i].name);
	}
	oracle_end(&o);
}

static void test_indirect_branches(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_REG(reg)
	{
		x64_jmp_r(&o.a, reg);
		oracle_wants(&o, "jmp %s", reg_name(8, reg));
		x64_call_r(&o.a, reg);
		oracle_wants(&o, "call %s", reg_name(8, reg));
	}
	EACH_MEM(mem)
	{
		x64_jmp_m(&o.a, mem);
		oracle_wants(&o, "jmp %s", mem_name(8, mem));
		x64_call_m(&o.a, mem);
		oracle_wants(&o, "call %s", mem_name(8, mem));
	}
	oracle_end(&o);
}

/* Backward and forward, with targets as offsets from the start of the code. */
static void test_direct_branches(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	const uint8_t *backward = o.start, *forward = o.start + 0x12345;

	x64_int3(&o.a);
	oracle_wants(&o, "int3");
	x64_jmp_rel32(&o.a, forward);
	oracle_wants_only_read(&o, "jmp 0x12345");
	x64_jmp_rel32(&o.a, backward);
	oracle_wants_only_read(&o, "jmp 0x0");
	x64_call_rel32(&o.a, backward);
	oracle_wants_only_read(&o, "call 0x0");
	EACH_CC(cc)
	{
		x64_jcc_rel32(&o.a, cc, forward);
		oracle_wants_only_read(&o, "j%s 0x12345", cc_names[cc]);
		x64_jcc_rel32(&o.a, cc, backward);
		oracle_wants_only_read(&o, "j%s 0x0", cc_names[cc]);
	}
	EACH_REG(reg)
	{
		long distance = (long)(forward - o.a.at) - 7;

		x64_lea_rip(&o.a, reg, forward);
		oracle_wants_only_read(&o, "lea %s,[rip+0x%lx]", reg_name(8, reg), (unsigned long)distance);
		x64_lea_rip(&o.a, reg, (const void *)UINT64_C(0x123456789abcdef0));
		oracle_wants(&o, "movabs %s,0x123456789abcdef0", reg_name(8, reg));
	}
	oracle_end(&o);
}

static void test_forward_branches(void **state)
{
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	EACH_CC(cc)
	{
		uint8_t *far = x64_jcc_forward(&o.a, cc);
		unsigned long here = (unsigned long)(o.a.at - o.start);

		oracle_wants_only_read(&o, "j%s 0x%lx", cc_names[cc], here + 9);
		uint8_t *near = x64_jcc_forward8(&o.a, cc);

		oracle_wants_only_read(&o, "j%s 0x%lx", cc_names[cc], here + 9);
		uint8_t *far_jump = x64_jmp_forward(&o.a);

		oracle_wants_only_read(&o, "jmp 0x%lx", here + 9);
		assert_ptr_equal(o.a.at, o.start + here + 7);
		uint8_t *near_jump = x64_jmp_forward8(&o.a);

		oracle_wants_only_read(&o, "jmp 0x%lx", here + 9);
		x64_patch_here(&o.a, far);
		x64_patch_here8(&o.a, near);
		x64_patch_here(&o.a, far_jump);
		x64_patch_here8(&o.a, near_jump);
	}
	oracle_end(&o);
}

static void test_nops(void **state)
{
	static const char *const names[] = {
		"nop",
		"xchg ax,ax",
		"nop DWORD PTR [rax]",
		"nop DWORD PTR [rax+0x0]",
		"nop DWORD PTR [rax+rax*1+0x0]",
		"nop WORD PTR [rax+rax*1+0x0]",
		"nop DWORD PTR [rax+0x0]",
		"nop DWORD PTR [rax+rax*1+0x0]",
		"nop WORD PTR [rax+rax*1+0x0]",
	};
	struct oracle o;
	(void)state;

	oracle_begin(&o);
	for (size_t count = 1; count <= COUNT(names); count++) {
		x64_nop(&o.a, count);
		assert_int_equal(oracle_pending(&o), count);
		oracle_wants_only_read(&o, "%s", names[count - 1]);
	}
	oracle_end(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alu_registers),
		cmocka_unit_test(test_alu_immediates),
		cmocka_unit_test(test_alu_memory),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_test),
		cmocka_unit_test(test_one_and_two_registers),
		cmocka_unit_test(test_multiply_immediate),
		cmocka_unit_test(test_constants),
		cmocka_unit_test(test_loads_and_stores),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_stack),
		cmocka_unit_test(test_shifts),
		cmocka_unit_test(test_bmi),
		cmocka_unit_test(test_single_bits),
		cmocka_unit_test(test_without_operands),
		cmocka_unit_test(test_indirect_branches),
		cmocka_unit_test(test_direct_branches),
		cmocka_unit_test(test_forward_branches),
		cmocka_unit_test(test_nops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
