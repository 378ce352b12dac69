/* The floating-point unit as privileged state: mstatus.FS off, initial, dirty; fcsr; rounding modes that do not
 * exist, what is raised where it must not be seen. */
#include "bare.h"

/* fmv.w.x f0, x0 */
static naked void move(void)
{
	asm(".word 0xf0000053; ret");
}
/* fsw f0, 0(a0): reads a register, writes none */
static naked void store(void)
{
	asm(".word 0x00052027; ret");
}
/* fld f1, 0(a0) */
static naked void load(void)
{
	asm(".word 0x00053087; ret");
}
/* c.fldsp f1, 0 and c.fsd f8, 0(a0) */
static naked void load_compressed(void)
{
	asm(".half 0x2082; ret");
}
static naked void store_compressed(void)
{
	asm(".half 0xa100; ret");
}
static naked void read_fcsr(void)
{
	asm("csrr a0, fcsr; ret");
}
static naked void write_fcsr(void)
{
	asm("csrw fcsr, a0; ret");
}
static naked void write_frm(void)
{
	asm("csrw frm, a0; ret");
}
static naked void read_frm(void)
{
	asm("csrr a0, frm; ret");
}
static naked void read_fflags(void)
{
	asm("csrr a0, fflags; ret");
}
/* fadd.s f2, f0, f0 with the dynamic rounding mode, and with the reserved modes 5 and 6 */
static naked void add_dynamic(void)
{
	asm(".word 0x00007153; ret");
}
static naked void add_5(void)
{
	asm(".word 0x00005153; ret");
}
static naked void add_6(void)
{
	asm(".word 0x00006153; ret");
}
/* fdiv.s f2, f0, f0: 0 / 0 is invalid */
static naked void divide(void)
{
	asm(".word 0x18007153; ret");
}

/* fmv.d.x f1, a0; fadd.s f2, f1, f1; fsub.s f3, f1, f1; fmv.x.w a0, f2 or f3: one register is looked at twice */
static naked void twice_sum(void)
{
	asm(".word 0xf20500d3, 0x0010f153, 0x0810f1d3, 0xe0010553; ret");
}
static naked void twice_difference(void)
{
	asm(".word 0xf20500d3, 0x0010f153, 0x0810f1d3, 0xe0018553; ret");
}
/* fmv.w.x f1, x0; fcvt.d.wu f1, a0; fadd.s f2, f1, f1; fmv.x.w a0, f2: what was a single is a double */
static naked void single_and_double(void)
{
	asm(".word 0xf00000d3, 0xd21500d3, 0x0010f153, 0xe0010553; ret");
}

/* As floorf and floor do it: the flags are read, fcvt.w.s t1, f1, rdn; fcvt.s.w f2, t1, rdn; fsgnj.s f1, f2, f1, then they are
 * written back. In a0: the bits of the result, shifted, and the flags. */
static naked void floor_single(void)
{
	asm(".word 0xf20500d3; csrr t0, fflags; .word 0xc000a353, 0xd0032153, 0x201100d3; csrw fflags, t0;"
	    ".word 0xe0008553; slli a0, a0, 32; srli a0, a0, 24; csrr t0, fflags; or a0, a0, t0; ret");
}
static naked void floor_double(void)
{
	asm(".word 0xf20500d3; csrr t0, fflags; .word 0xc220a353, 0xd2232153, 0x221100d3; csrw fflags, t0;"
	    ".word 0xe2008553; csrr t0, fflags; slli t0, t0, 1; add a0, a0, t0; ret");
}
/* feq.s t1, f1, f1; flt.s t2, f1, f2 between the two. */
static naked void compare_between(void)
{
	asm(".word 0xf20500d3, 0xf2058153; csrr t0, fflags; .word 0xa010a353, 0xa02093d3; csrw fflags, t0;"
	    "slli t1, t1, 1; or a0, t1, t2; slli a0, a0, 5; csrr t0, fflags; or a0, a0, t0; ret");
}
/* A fault between them. */
static naked void fault_between(void)
{
	asm(".word 0xf20500d3; csrr t0, fflags; .word 0xc000a353; ld t2, 0(a1); csrw fflags, t0; ret");
}

static uint64_t word[2];

static void unit(uint64_t state)
{
	csr_clear(mstatus, STATUS_FS);
	csr_set(mstatus, state << 13);
}
#define FS_NOW (csr_read(mstatus) >> 13 & 3)

static void off(void)
{
	static const void *const all[] = {move,      store,      load,      load_compressed, store_compressed,
					  read_fcsr, write_fcsr, write_frm, read_fflags,     add_dynamic,
					  divide,    read_frm};

	for (unsigned mode = U; mode <= M; mode += mode == S ? 2 : 1)
		for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
			context("off: mode, instruction", mode, i, 0);
			unit(0);
			last = run(mode, all[i], (uint64_t)word, 0);
			check(last.cause, ILLEGAL);
			check(last.epc, all[i]);
			check(FS_NOW, 0);
			unit(1);
			check(run(mode, all[i], all[i] == write_fcsr || all[i] == write_frm ? 0 : (uint64_t)word,
				  0)
				      .cause,
			      ECALL_U + mode);
		}
}

/* What writes a register makes it dirty; what only reads need not. */
static void dirty(void)
{
	static const void *const writers[] = {move,      load,        load_compressed, write_fcsr,
					      write_frm, add_dynamic, divide};

	for (unsigned i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
		context("dirty: instruction", i, 0, 0);
		for (uint64_t state = 1; state <= 2; state++) {
			unit(state);
			run(S, writers[i],
			    writers[i] == write_fcsr || writers[i] == write_frm ? 0 : (uint64_t)word, 0);
			check(FS_NOW, 3);
			check(csr_read(mstatus) >> 63, 1);
		}
	}
}

static void rounding(void)
{
	context("rounding", 0, 0, 0);
	unit(1);
	check(run(S, add_5, 0, 0).cause, ILLEGAL);
	check(run(S, add_6, 0, 0).cause, ILLEGAL);
	for (uint64_t mode = 0; mode < 8; mode++) {
		context("frm", mode, 0, 0);
		check(run(S, write_frm, mode, 0).cause, ECALL_S);
		check(run(S, read_fcsr, 0, 0).a0 >> 5, mode);
		check(run(S, read_frm, 0, 0).a0, mode);
		last = run(S, add_dynamic, 0, 0);
		check(last.cause, mode < 5 ? ECALL_S : ILLEGAL);
		if (mode >= 5)
			check(last.tval, 0x00007153);
	}
}

/* A single without a box is a NaN, each time that it is looked at. */
static void boxes(void)
{
	static const uint64_t unboxed[] = {0x3f800000, 0xfffffffe3f800000, 0x7fffffff3f800000};

	context("boxes", 0, 0, 0);
	unit(1);
	run(S, write_fcsr, 0, 0);
	check(run(S, twice_sum, 0xffffffff3f800000, 0).a0, 0x40000000);
	check(run(S, twice_difference, 0xffffffff3f800000, 0).a0, 0);
	for (unsigned i = 0; i < sizeof(unboxed) / sizeof(unboxed[0]); i++) {
		context("boxes", i, 0, 0);
		check(run(S, twice_sum, unboxed[i], 0).a0, 0x7fc00000);
		check(run(S, twice_difference, unboxed[i], 0).a0, 0x7fc00000);
	}
	check(run(S, single_and_double, 3, 0).a0, 0x7fc00000);
}

static void flags(void)
{
	context("flags", 0, 0, 0);
	check(run(S, write_fcsr, UINT64_MAX, 0).cause, ECALL_S);
	check(run(S, read_fcsr, 0, 0).a0, 0xff);
	run(S, write_fcsr, 0, 0);
	run(S, move, 0, 0);
	run(S, divide, 0, 0);
	check(run(S, read_fflags, 0, 0).a0, 0x10);
	/* Accrued until they are cleared. */
	run(S, add_dynamic, 0, 0);
	check(run(S, read_fflags, 0, 0).a0, 0x10);
}

#define BOXED(bits) (UINT64_C(0xffffffff) << 32 | (bits))

/* What is raised between reading the flags and writing them back is gone, and nothing else. */
static void kept_flags(void)
{
	static const struct {
		uint64_t number, floor;
	} singles[] = {
		{BOXED(0x3fc00000), 0x3f800000}, {BOXED(0xbfc00000), 0xc0000000}, {BOXED(0x40000000), 0x40000000},
		{BOXED(0x80000000), 0x80000000}, {BOXED(0x60000000), 0x4effffff}, {BOXED(0xff800000), 0xcf000000},
		{BOXED(0x7f800001), 0x4effffff}, {BOXED(0xffc00000), 0xceffffff}, {0x3fc00000, 0x4effffff},
		{BOXED(0xcf000000), 0xcf000000},
	}, doubles[] = {
		{0x4004000000000000, 0x4000000000000000}, {0xc004000000000000, 0xc008000000000000},
		{0x7ff0000000000001, 0x43dfffffffffffff}, {0xfe37e43c8800759c, 0xc3e0000000000000},
		{0x43dfffffffffffff, 0x43dfffffffffffff},
	};

	unit(1);
	for (uint64_t before = 0; before < 32; before += 4) {
		run(S, write_fcsr, before, 0);
		for (unsigned i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
			context("floor of a single: flags, number", before, i, 0);
			check(run(S, floor_single, singles[i].number, 0).a0, singles[i].floor << 8 | before);
		}
		for (unsigned i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
			context("floor of a double: flags, number", before, i, 0);
			check(run(S, floor_double, doubles[i].number, 0).a0, doubles[i].floor + 2 * before);
		}
		context("comparisons: flags", before, 0, 0);
		check(run(S, compare_between, BOXED(0x3f800000), BOXED(0x40000000)).a0, 3 << 5 | before);
		check(run(S, compare_between, BOXED(0x40000000), BOXED(0x3f800000)).a0, 2 << 5 | before);
		check(run(S, compare_between, BOXED(0x7f800001), BOXED(0x3f800000)).a0, before);
		check(run(S, compare_between, BOXED(0x3f800000), BOXED(0x7f800001)).a0, 2 << 5 | before);
		check(run(S, compare_between, BOXED(0x3f800000), BOXED(0x7fc00000)).a0, 2 << 5 | before);
		check(run(S, fault_between, BOXED(0x3fc00000), 0).cause, LOAD_ACCESS);
		check(run(S, read_fflags, 0, 0).a0, before | 1);
	}
}

int main(void)
{
	off();
	dirty();
	rounding();
	boxes();
	flags();
	kept_flags();
	return 0;
}
