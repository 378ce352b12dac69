/* Litmus tests for two harts: message passing, store and load buffering, coherence, LR/SC beside AMOs. */
#include "litmus.h"

/* Message passing: x is the message, y says that it is there. */
PART(mp_write, ONE(X) ONE(Y))
PART(mp_write_w, ONE(X) FENCE("w, w") ONE(Y))
PART(mp_write_tso, ONE(X) "fence.tso; " ONE(Y))
PART(mp_write_rl, ONE(X) "amoswap.d.rl zero, t0, (a1); ")
PART(mp_write_sc, ONE(X) "1: lr.d t2, (a1); sc.d.rl t2, t0, (a1); bnez t2, 1b; ")
PART(mp_read, FIRST(Y) SECOND(X))
PART(mp_read_r, FIRST(Y) FENCE("r, r") SECOND(X))
PART(mp_read_tso, FIRST(Y) "fence.tso; " SECOND(X))
PART(mp_read_amo, "amoor.d.aq t5, zero, (a1); " SECOND(X))
PART(mp_read_lr, "lr.d.aq t5, (a1); " SECOND(X))
PART(mp_read_address, FIRST(Y) "xor t2, t5, t5; add a0, a0, t2; " SECOND(X))
PART(mp_write_bytes, "sb t0, 7(a0); fence w, w; sb t0, 3(a1); ")
PART(mp_read_bytes, "lbu t5, 3(a1); fence r, r; lbu t6, 7(a0); ")
PART(mp_write_mixed, "sw t0, 4(a0); fence w, w; sh t0, 2(a1); ")
PART(mp_read_mixed, "lw t5, 0(a1); srli t5, t5, 16; fence r, r; ld t6, 0(a0); srli t6, t6, 32; ")

/* Store buffering. */
PART(sb_0, ONE(X) FIRST(Y))
PART(sb_1, ONE(Y) FIRST(X))
PART(sb_0_all, ONE(X) ALL FIRST(Y))
PART(sb_1_all, ONE(Y) ALL FIRST(X))
PART(sb_0_wr, ONE(X) FENCE("w, r") FIRST(Y))
PART(sb_1_wr, ONE(Y) FENCE("w, r") FIRST(X))
PART(sb_0_tso, ONE(X) "fence.tso; " FIRST(Y))
PART(sb_1_tso, ONE(Y) "fence.tso; " FIRST(X))
PART(sb_0_amo, "amoswap.d zero, t0, (a0); " FIRST(Y))
PART(sb_1_amo, "amoswap.d zero, t0, (a1); " FIRST(X))
PART(sb_0_amo_aq, "amoswap.d.aq zero, t0, (a0); " FIRST(Y))
PART(sb_1_amo_aq, "amoswap.d.aq zero, t0, (a1); " FIRST(X))
PART(sb_0_pair, "1: lr.d t2, (a0); sc.d.rl t2, t0, (a0); bnez t2, 1b; lr.d.aq t5, (a1); ")
PART(sb_1_pair, "1: lr.d t2, (a1); sc.d.rl t2, t0, (a1); bnez t2, 1b; lr.d.aq t5, (a0); ")
PART(sb_0_io, ONE(X) FENCE("iorw, iorw") FIRST(Y))
PART(sb_1_io, ONE(Y) FENCE("iorw, iorw") FIRST(X))
PART(sb_0_byte, "sb t0, (a0); fence rw, rw; lbu t5, (a1); ")
PART(sb_1_byte, "sb t0, (a1); fence rw, rw; lbu t5, (a0); ")

/* Load buffering. */
PART(lb_0, FIRST(X) ONE(Y))
PART(lb_1, FIRST(Y) ONE(X))
PART(lb_0_all, FIRST(X) ALL ONE(Y))
PART(lb_1_all, FIRST(Y) ALL ONE(X))
PART(lb_0_data, FIRST(X) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a1); ")
PART(lb_1_data, FIRST(Y) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a0); ")
PART(lb_0_address, FIRST(X) "xor t2, t5, t5; add a1, a1, t2; " ONE(Y))
PART(lb_1_address, FIRST(Y) "xor t2, t5, t5; add a0, a0, t2; " ONE(X))
PART(lb_0_control, FIRST(X) "bnez t5, 1f; 1: " ONE(Y))
PART(lb_1_control, FIRST(Y) "bnez t5, 1f; 1: " ONE(X))

/* Coherence: one word. */
PART(one_two, ONE(X) TWO(X))
PART(only_two, TWO(X))
PART(read_twice, FIRST(X) SECOND(X))
PART(read_one, FIRST(X) ONE(X))
PART(one_read, ONE(X) FIRST(X))
PART(one_read_twice, ONE(X) FIRST(X) SECOND(X))

/* Two words, two writes each; a write between a write and a read; a read between. */
PART(ww_0, ONE(X) TWO(Y))
PART(ww_1, ONE(Y) TWO(X))
PART(ww_0_all, ONE(X) ALL TWO(Y))
PART(ww_1_all, ONE(Y) ALL TWO(X))
PART(r_0, ONE(X) ALL ONE(Y))
PART(r_1, TWO(Y) ALL FIRST(X))
PART(s_0, TWO(X) FENCE("w, w") ONE(Y))
PART(s_1_data, FIRST(Y) "xor t2, t5, t5; addi t2, t2, 1; sd t2, (a0); ")
PART(s_1_all, FIRST(Y) ALL ONE(X))

/* An access that is aligned is never seen in parts: all ones, or nothing. t5: whether it was. */
#define WHOLE "addi t2, t5, 1; snez t5, t5; snez t2, t2; and t5, t5, t2; "
PART(ones_8, "li t0, -1; sd t0, (a0); ")
PART(ones_4, "li t0, -1; sw t0, 4(a0); ")
PART(ones_2, "li t0, -1; sh t0, 6(a0); ")
PART(ones_amo, "li t0, -1; amoswap.d zero, t0, (a0); ")
PART(whole_8, FIRST(X) WHOLE)
PART(whole_4, "lw t5, 4(a0); " WHOLE)
PART(whole_2, "lh t5, 6(a0); " WHOLE)
PART(halves, "lwu t5, (a0); fence r, r; lwu t6, 4(a0); snez t5, t5; snez t6, t6; ")

/* LR and SC: t6 is 1 when the SC wrote, so that failures do not match. */
PART(pair_one, "lr.d t5, (a0); sc.d t6, t0, (a0); seqz t6, t6; ")
PART(pair_add_1, "1: lr.d t2, (a0); addi t2, t2, 1; sc.d t3, t2, (a0); bnez t3, 1b; ")
PART(pair_add_2, "1: lr.d.aq t2, (a0); addi t2, t2, 2; sc.d.rl t3, t2, (a0); bnez t3, 1b; ")
PART(amo_add_2, "amoadd.d zero, t1, (a0); ")
PART(amo_add_2_all, "amoadd.d.aqrl zero, t1, (a0); ")
PART(swap_1, "amoswap.d t5, t0, (a0); ")
PART(swap_2, "amoswap.d t5, t1, (a0); ")
/* Words of one doubleword. */
PART(pair_add_low, "1: lr.w t2, (a0); addi t2, t2, 1; sc.w t3, t2, (a0); bnez t3, 1b; "
		   "lwu t5, (a0); ")
PART(amo_add_high, "addi a0, a0, 4; amoadd.w zero, t0, (a0); lwu t5, (a0); ")
PART(store_high, "sw t0, 4(a0); lwu t5, 4(a0); ")
/* A store of the value that is there already, between LR and SC: both say so in z and y. The specification has the
 * SC fail; monitors that compare values let it write. */
PART(same_pair, "lr.d.aqrl t2, (a0); sd t0, (a2); fence; ld t5, (a1); fence; sc.d t6, t0, (a0); seqz t6, t6; ")
PART(same_swap, "ld t5, (a2); fence; amoswap.d.aqrl t6, zero, (a0); fence; sd t0, (a1); ")

static const struct litmus tests[] = {
	{"MP", ALLOWED, "1.0=1 1.1=0", {mp_write, mp_read}},
	{"MP w,w r,r", FORBIDDEN, "1.0=1 1.1=0", {mp_write_w, mp_read_r}},
	{"MP tso", FORBIDDEN, "1.0=1 1.1=0", {mp_write_tso, mp_read_tso}},
	{"MP amo.rl amo.aq", FORBIDDEN, "1.0=1 1.1=0", {mp_write_rl, mp_read_amo}},
	{"MP sc.rl lr.aq", FORBIDDEN, "1.0=1 1.1=0", {mp_write_sc, mp_read_lr}},
	{"MP w,w address", FORBIDDEN, "1.0=1 1.1=0", {mp_write_w, mp_read_address}},
	{"MP bytes", FORBIDDEN, "1.0=1 1.1=0", {mp_write_bytes, mp_read_bytes}},
	{"MP mixed sizes", FORBIDDEN, "1.0=1 1.1=0", {mp_write_mixed, mp_read_mixed}},
	{"SB", ALLOWED, "0.0=0 1.0=0", {sb_0, sb_1}},
	{"SB rw,rw", FORBIDDEN, "0.0=0 1.0=0", {sb_0_all, sb_1_all}},
	{"SB w,r", FORBIDDEN, "0.0=0 1.0=0", {sb_0_wr, sb_1_wr}},
	{"SB iorw,iorw", FORBIDDEN, "0.0=0 1.0=0", {sb_0_io, sb_1_io}},
	{"SB bytes", FORBIDDEN, "0.0=0 1.0=0", {sb_0_byte, sb_1_byte}},
	{"SB tso", ALLOWED, "0.0=0 1.0=0", {sb_0_tso, sb_1_tso}},
	{"SB one fence", ALLOWED, "0.0=0 1.0=0", {sb_0_all, sb_1}},
	{"SB amo", ALLOWED, "0.0=0 1.0=0", {sb_0_amo, sb_1_amo}},
	{"SB amo.aq", FORBIDDEN, "0.0=0 1.0=0", {sb_0_amo_aq, sb_1_amo_aq}},
	{"SB sc.rl lr.aq", FORBIDDEN, "0.0=0 1.0=0", {sb_0_pair, sb_1_pair}},
	{"SB amo.aq rw,rw", FORBIDDEN, "0.0=0 1.0=0", {sb_0_amo_aq, sb_1_all}},
	{"LB", ALLOWED, "0.0=1 1.0=1", {lb_0, lb_1}},
	{"LB rw,rw", FORBIDDEN, "0.0=1 1.0=1", {lb_0_all, lb_1_all}},
	{"LB data", FORBIDDEN, "0.0=1 1.0=1", {lb_0_data, lb_1_data}},
	{"LB address", FORBIDDEN, "0.0=1 1.0=1", {lb_0_address, lb_1_address}},
	{"LB control", FORBIDDEN, "0.0=1 1.0=1", {lb_0_control, lb_1_control}},
	{"CoRR", FORBIDDEN, "1.0=1 1.1=0; 1.0=2 1.1=0; 1.0=2 1.1=1", {one_two, read_twice}},
	{"CoWW", FORBIDDEN, "x=1", {one_two, read_twice}},
	{"CoRW", FORBIDDEN, "1.0=2 x=2", {only_two, read_one}},
	{"CoRW own", FORBIDDEN, "1.0=1", {only_two, read_one}},
	{"CoWR", FORBIDDEN, "1.0=2 x=1; 1.0=0", {only_two, one_read}},
	{"CoWRR", FORBIDDEN, "1.0=2 1.1=1", {only_two, one_read_twice}},
	{"2+2W", ALLOWED, "x=1 y=1", {ww_0, ww_1}},
	{"2+2W rw,rw", FORBIDDEN, "x=1 y=1", {ww_0_all, ww_1_all}},
	{"R rw,rw", FORBIDDEN, "y=2 1.0=0", {r_0, r_1}},
	{"S w,w data", FORBIDDEN, "x=2 1.0=1", {s_0, s_1_data}},
	{"S w,w rw,rw", FORBIDDEN, "x=2 1.0=1", {s_0, s_1_all}},
	{"whole doubleword", FORBIDDEN, "1.0=1", {ones_8, whole_8}},
	{"whole word", FORBIDDEN, "1.0=1", {ones_4, whole_4}},
	{"whole halfword", FORBIDDEN, "1.0=1", {ones_2, whole_2}},
	{"whole amo", FORBIDDEN, "1.0=1", {ones_amo, whole_8}},
	{"halves in order", FORBIDDEN, "1.0=1 1.1=0", {ones_8, halves}},
	{"LR SC, store", FORBIDDEN, "0.0=0 0.1=1 x=1", {pair_one, only_two}},
	{"LR SC, LR SC", FORBIDDEN, "x=1; x=2", {pair_add_1, pair_add_2}},
	{"LR SC, amo", FORBIDDEN, "x=1; x=2", {pair_add_1, amo_add_2}},
	{"LR SC aq rl, amo.aqrl", FORBIDDEN, "x=1; x=2", {pair_add_2, amo_add_2_all}},
	{"swaps", FORBIDDEN, "0.0=0 1.0=0; 0.0=2 1.0=1", {swap_1, swap_2}},
	{"LR SC, amo of the neighbour", FORBIDDEN, "0.0=0; 1.0=0", {pair_add_low, amo_add_high}},
	{"LR SC, store to the neighbour", FORBIDDEN, "0.0=0; 1.0=0", {pair_add_low, store_high}},
	{"LR SC, store of the same value", UNCHECKED, "0.0=1 0.1=1 1.0=1", {same_pair, same_swap}},
};

int main(void)
{
	litmus_run(tests, sizeof tests / sizeof *tests, 2);
	return 0;
}
