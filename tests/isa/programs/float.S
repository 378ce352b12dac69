# F, D and Zfh: boxes, canonical NaNs, flags, conversions at the edges, fclass.
#include "check.h"
/* insn fd, fa, fb on raw bits, with the flags that it raises */
	.macro ff move, back, insn, a, b, value, flags
	li	t0, \a
	li	t1, \b
	\move	fa0, t0
	\move	fa1, t1
	csrw	fflags, x0
	\insn	fa2, fa0, fa1
	\back	t2, fa2
	expect	t2, \value
	csrr	t2, fflags
	expect	t2, \flags
	.endm
/* insn rd, fa in a rounding mode */
	.macro fx move, insn, mode, a, value, flags
	li	t0, \a
	\move	fa0, t0
	csrw	fflags, x0
	\insn	t2, fa0, \mode
	expect	t2, \value
	csrr	t2, fflags
	expect	t2, \flags
	.endm
	.macro class move, insn, a, value
	li	t0, \a
	\move	fa0, t0
	\insn	t2, fa0
	expect	t2, \value
	.endm
	.macro quiet make, insn, a, b, flags, value
	li	t0, \a
	\make	fa0, t0
	li	t0, \b
	\make	fa1, t0
	li	t0, \flags
	csrw	fflags, t0
	frflags	t1
	\insn	t2, fa0, fa1
	fsflags	t1
	expect	t2, \value
	csrr	t2, fflags
	expect	t2, \flags
	.endm
	.macro xf insn, back, mode, a, value, flags
	csrw	fflags, x0
	li	t0, \a
	\insn	fa0, t0, \mode
	\back	t2, fa0
	expect	t2, \value
	csrr	t2, fflags
	expect	t2, \flags
	.endm
	begin
	ff	fmv.w.x, fmv.x.w, fadd.s, 0x3f800000, 0x33800000, 0x3f800000, 1
	ff	fmv.w.x, fmv.x.w, fdiv.s, 0x3f800000, 0, 0x7f800000, 8
	ff	fmv.w.x, fmv.x.w, fdiv.s, 0, 0, 0x7fc00000, 16
	ff	fmv.w.x, fmv.x.w, fmul.s, 0x7f7fffff, 0x7f7fffff, 0x7f800000, 5
	ff	fmv.w.x, fmv.x.w, fmul.s, 0x00800000, 0x00800000, 0, 3
	ff	fmv.w.x, fmv.x.w, fmin.s, 0x7fc00000, 0x3f800000, 0x3f800000, 0
	ff	fmv.w.x, fmv.x.w, fmin.s, 0x7f800001, 0x3f800000, 0x3f800000, 16
	ff	fmv.w.x, fmv.x.w, fmin.s, 0, 0x80000000, -0x80000000, 0
	ff	fmv.w.x, fmv.x.w, fmax.s, 0x80000000, 0, 0, 0
	ff	fmv.w.x, fmv.x.w, fmax.s, 0x7fc00001, 0x7fffffff, 0x7fc00000, 0
	ff	fmv.d.x, fmv.x.d, fadd.d, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 16
	ff	fmv.d.x, fmv.x.d, fsub.d, 0x3ff0000000000000, 0x3ff0000000000000, 0, 0
	ff	fmv.d.x, fmv.x.d, fsgnjn.d, 0x7ff0000000000001, 0, 0xfff0000000000001, 0
	ff	fmv.h.x, fmv.x.h, fadd.h, 0x7bff, 0x7bff, 0x7c00, 5
	ff	fmv.h.x, fmv.x.h, fmul.h, 0x0001, 0x3800, 0, 3
	# a value that is not boxed reads as the canonical NaN
	li	t0, 0x3f800000
	fmv.d.x	fa0, t0
	fadd.s	fa1, fa0, fa0
	fmv.x.w	t2, fa1
	expect	t2, 0x7fc00000
	fmv.x.w	t2, fa0
	expect	t2, 0x3f800000
	# results are boxed
	fmv.w.x	fa0, t0
	fmv.x.d	t2, fa0
	expect	t2, 0xffffffff3f800000
	fx	fmv.w.x, fcvt.w.s, rtz, 0x4f000000, 0x7fffffff, 16
	fx	fmv.w.x, fcvt.w.s, rtz, 0xcf000000, -0x80000000, 0
	fx	fmv.w.x, fcvt.w.s, rtz, 0x7fc00000, 0x7fffffff, 16
	fx	fmv.w.x, fcvt.wu.s, rtz, 0xbf7fffff, 0, 1
	fx	fmv.w.x, fcvt.wu.s, rtz, 0xbf800000, 0, 16
	fx	fmv.w.x, fcvt.wu.s, rtz, 0x7f800000, -1, 16
	fx	fmv.w.x, fcvt.l.s, rtz, 0x5f000000, 0x7fffffffffffffff, 16
	fx	fmv.w.x, fcvt.lu.s, rtz, 0x5f800000, -1, 16
	fx	fmv.d.x, fcvt.wu.d, rtz, 0x41efffffffe00000, -1, 0
	fx	fmv.d.x, fcvt.w.d, rne, 0x3fe0000000000000, 0, 1
	fx	fmv.d.x, fcvt.w.d, rne, 0x3ff8000000000000, 2, 1
	fx	fmv.d.x, fcvt.w.d, rmm, 0x3fe0000000000000, 1, 1
	fx	fmv.d.x, fcvt.w.d, rup, 0x3fb0000000000000, 1, 1
	fx	fmv.d.x, fcvt.w.d, rdn, 0xbfb0000000000000, -1, 1
	class	fmv.w.x, fclass.s, 0xff800000, 1
	class	fmv.w.x, fclass.s, 0xbf800000, 2
	class	fmv.w.x, fclass.s, 0x80000001, 4
	class	fmv.w.x, fclass.s, 0x80000000, 8
	class	fmv.w.x, fclass.s, 0, 16
	class	fmv.w.x, fclass.s, 1, 32
	class	fmv.w.x, fclass.s, 0x3f800000, 64
	class	fmv.w.x, fclass.s, 0x7f800000, 128
	class	fmv.w.x, fclass.s, 0x7f800001, 256
	class	fmv.w.x, fclass.s, 0x7fc00000, 512
	class	fmv.d.x, fclass.d, 0x3f800000, 32
	class	fmv.d.x, fclass.s, 0x3f800000, 512
	class	fmv.h.x, fclass.h, 0x03ff, 32
	# feq is quiet, flt is not
	li	t0, 0x7fc00000
	fmv.w.x	fa0, t0
	csrw	fflags, x0
	feq.s	t2, fa0, fa0
	expect	t2, 0
	csrr	t2, fflags
	expect	t2, 0
	flt.s	t2, fa0, fa0
	expect	t2, 0
	csrr	t2, fflags
	expect	t2, 16
	# fma rounds once: (1 + 2^-23)^2 - (1 + 2^-22) = 2^-46
	li	t0, 0x3f800001
	li	t1, 0xbf800002
	fmv.w.x	fa0, t0
	fmv.w.x	fa1, t1
	fmadd.s	fa2, fa0, fa0, fa1
	fmv.x.w	t2, fa2
	expect	t2, 0x28800000
	# inf * 0 + NaN is invalid even for a quiet NaN
	csrw	fflags, x0
	li	t0, 0x7f800000
	fmv.w.x	fa0, t0
	fmv.w.x	fa1, x0
	li	t0, 0x7fc00000
	fmv.w.x	fa2, t0
	fmadd.s	fa2, fa0, fa1, fa2
	csrr	t2, fflags
	expect	t2, 16
	# a comparison between frflags and fsflags leaves the flags as they were, also where a NaN takes part
	quiet	fmv.d.x, flt.d, 0x3ff0000000000000, 0x4000000000000000, 0, 1
	quiet	fmv.d.x, flt.d, 0x4000000000000000, 0x3ff0000000000000, 1, 0
	quiet	fmv.d.x, flt.d, 0x7ff8000000000000, 0x3ff0000000000000, 0, 0
	quiet	fmv.d.x, fle.d, 0x3ff0000000000000, 0x7ff0000000000001, 5, 0
	quiet	fmv.d.x, fle.d, 0x3ff0000000000000, 0x3ff0000000000000, 16, 1
	quiet	fmv.w.x, flt.s, 0x3f800000, 0x40000000, 0, 1
	quiet	fmv.w.x, fle.s, 0x7fc00000, 0x40000000, 0, 0
	quiet	fmv.w.x, flt.s, 0x40000000, 0x7f800001, 8, 0
	quiet	fmv.d.x, flt.s, 0x3f800000, 0x40000000, 2, 0
	# integers that the float does not hold, rounded as the instruction says
	xf	fcvt.s.w, fmv.x.w, rtz, 16777217, 0x4b800000, 1
	xf	fcvt.s.w, fmv.x.w, rup, 16777217, 0x4b800001, 1
	xf	fcvt.s.w, fmv.x.w, rdn, -16777217, -0x347fffff, 1
	xf	fcvt.s.w, fmv.x.w, rtz, -16777216, -0x34800000, 0
	xf	fcvt.s.w, fmv.x.w, rup, 16777216, 0x4b800000, 0
	xf	fcvt.s.w, fmv.x.w, rdn, 0x500000003, 0x40400000, 0
	xf	fcvt.s.l, fmv.x.w, rmm, 0x100000080000000, 0x5b800000, 1
	xf	fcvt.d.l, fmv.x.d, rtz, 0x20000000000001, 0x4340000000000000, 1
	xf	fcvt.d.l, fmv.x.d, rup, 0x20000000000001, 0x4340000000000001, 1
	xf	fcvt.d.l, fmv.x.d, rdn, 0x20000000000000, 0x4340000000000000, 0
	finish
