/* Litmus tests for three and four harts: what two see in an order, others see in that order too. */
#include "litmus.h"

PART(one_x, ONE(X))
PART(one_y, ONE(Y))
PART(read_xy, FIRST(X) SECOND(Y))
PART(read_yx, FIRST(Y) SECOND(X))
PART(read_xy_all, FIRST(X) ALL SECOND(Y))
PART(read_yx_all, FIRST(Y) ALL SECOND(X))
PART(read_xy_r, FIRST(X) FENCE("r, r") SECOND(Y))
PART(read_yx_r, FIRST(Y) FENCE("r, r") SECOND(X))
PART(read_xy_address, FIRST(X) "xor t2, t5, t5; add a1, a1, t2; " SECOND(Y))
PART(read_yx_address, FIRST(Y) "xor t2, t5, t5; add a0, a0, t2; " SECOND(X))
PART(read_xy_aq, "lr.d.aq t5, (a0); lr.d.aq t6, (a1); ")
PART(read_yx_aq, "lr.d.aq t5, (a1); lr.d.aq t6, (a0); ")
PART(swap_x, "amoswap.d.rl zero, t0, (a0); ")
PART(swap_y, "amoswap.d.rl zero, t0, (a1); ")
PART(pass_xy_data, FIRST(X) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a1); ")
PART(pass_yz_data, FIRST(Y) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a2); ")
PART(pass_xy_all, FIRST(X) ALL ONE(Y))
PART(read_zx_address, FIRST(Z) "xor t2, t5, t5; add a0, a0, t2; " SECOND(X))
PART(xy_w, ONE(X) FENCE("w, w") ONE(Y))
PART(y_read_x_all, ONE(Y) ALL FIRST(X))
PART(two_x, TWO(X))
PART(y_one_x_address, FIRST(Y) "xor t2, t5, t5; add a0, a0, t2; " ONE(X))
PART(x_y_all, ONE(X) ALL FIRST(Y))
PART(y_z_all, ONE(Y) ALL FIRST(Z))
PART(z_x_all, ONE(Z) ALL FIRST(X))
PART(lx_sy, FIRST(X) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a1); ")
PART(ly_sz, FIRST(Y) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a2); ")
PART(lz_sx, FIRST(Z) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a0); ")
PART(yz_w, TWO(Y) FENCE("w, w") ONE(Z))
PART(zx_all, TWO(Z) ALL FIRST(X))
PART(twice, FIRST(X) SECOND(X))
/* Four counters of a doubleword, one a hart; and one for all. */
#define ADD_HALF(n)                                                                                               \
	"1: lr.d t2, (a0); li t3, 1 << (16 * " #n "); add t2, t2, t3; sc.d t3, t2, (a0); bnez t3, 1b; "             \
	"lhu t5, 2 * " #n "(a0); amoadd.d zero, t0, (a1); "
PART(half_0, ADD_HALF(0))
PART(half_1, ADD_HALF(1))
PART(half_2, ADD_HALF(2))
PART(half_3, "li t3, 1 << 48; amoadd.d zero, t3, (a0); lhu t5, 6(a0); amoadd.d zero, t0, (a1); ")
PART(byte_0, "sb t0, 0(a0); fence; lbu t5, 0(a0); lbu t6, 1(a0); ")
PART(byte_1, "sb t0, 1(a0); fence; lbu t5, 1(a0); lbu t6, 0(a0); ")
PART(byte_2, "sb t0, 2(a0); fence; lbu t5, 2(a0); ")
PART(byte_3, "sb t0, 3(a0); fence; lbu t5, 3(a0); ")

#define IRIW "2.0=1 2.1=0 3.0=1 3.1=0"

static const struct litmus tests[] = {
	{"IRIW", ALLOWED, IRIW, {one_x, one_y, read_xy, read_yx}},
	{"IRIW rw,rw", FORBIDDEN, IRIW, {one_x, one_y, read_xy_all, read_yx_all}},
	{"IRIW r,r", FORBIDDEN, IRIW, {one_x, one_y, read_xy_r, read_yx_r}},
	{"IRIW address", FORBIDDEN, IRIW, {one_x, one_y, read_xy_address, read_yx_address}},
	{"IRIW amo.rl lr.aq", FORBIDDEN, IRIW, {swap_x, swap_y, read_xy_aq, read_yx_aq}},
	{"WRC data address", FORBIDDEN, "1.0=1 2.0=1 2.1=0", {one_x, pass_xy_data, read_yx_address}},
	{"WRC rw,rw r,r", FORBIDDEN, "1.0=1 2.0=1 2.1=0", {one_x, pass_xy_all, read_yx_r}},
	{"ISA2", FORBIDDEN, "1.0=1 2.0=1 2.1=0", {xy_w, pass_yz_data, read_zx_address}},
	{"RWC rw,rw", FORBIDDEN, "1.0=1 1.1=0 2.0=0", {one_x, read_xy_all, y_read_x_all}},
	{"WWC", FORBIDDEN, "1.0=2 2.0=1 x=2", {two_x, pass_xy_data, y_one_x_address}},
	{"3.SB rw,rw", FORBIDDEN, "0.0=0 1.0=0 2.0=0", {x_y_all, y_z_all, z_x_all}},
	{"3.LB data", FORBIDDEN, "0.0=1 1.0=1 2.0=1", {lx_sy, ly_sz, lz_sx}},
	{"Z6 rw,rw", FORBIDDEN, "y=2 z=2 2.0=0", {xy_w, yz_w, zx_all}},
	{"CoRR for two", FORBIDDEN, "2.0=1 2.1=2 3.0=2 3.1=1; 2.0=2 2.1=1 3.0=1 3.1=2",
	 {one_x, two_x, twice, twice}},
	{"counters of a doubleword", FORBIDDEN, "0.0=0; 1.0=0; 2.0=0; 3.0=0; y=1; y=2; y=3; y=0",
	 {half_0, half_1, half_2, half_3}},
	{"bytes of a word", FORBIDDEN, "0.0=0; 1.0=0; 2.0=0; 3.0=0; 0.1=0 1.1=0", {byte_0, byte_1, byte_2, byte_3}},
};

int main(void)
{
	litmus_run(tests, sizeof tests / sizeof *tests, 4);
	return 0;
}
