#include "values.h"

#include "base/types.h"

uint64_t isa_random(struct isa_random *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

unsigned isa_below(struct isa_random *r, unsigned bound)
{
	return (unsigned)((isa_random(r) >> 32) * bound >> 32);
}

const uint64_t isa_integer_corners[] = {
	0, 1, 2, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff,
	0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001, 0xffffffff7fffffff,
	0xffffffff80000000, 0xffffffffffffff80, 0xfffffffffffffffe, 0xffffffffffffffff,
	0x0123456789abcdef, 0x00ff01807f000100,
};
const unsigned isa_integer_corner_count = ARRAY_SIZE(isa_integer_corners);

uint64_t isa_integer(struct isa_random *r)
{
	uint64_t raw = isa_random(r);

	switch (isa_below(r, 6)) {
	case 0:
		return raw;
	case 1:
		return raw >> isa_below(r, 64);
	case 2:
		return (uint64_t)((int64_t)raw >> isa_below(r, 64));
	case 3:
		return (UINT64_C(1) << (raw & 63)) + (raw >> 8 & 3) - 1;
	case 4:
		return ~raw << isa_below(r, 64);
	default:
		return isa_integer_corners[raw % isa_integer_corner_count];
	}
}

/* Zeros, least and greatest subnormal, least normal, neighbours of 1, greatest, infinities, NaNs, edges of
 * the integer formats. */
static const uint64_t corners16[] = {
	0xffffffffffff0000, 0xffffffffffff8000, 0xffffffffffff0001, 0xffffffffffff8001, 0xffffffffffff03ff,
	0xffffffffffff0400, 0xffffffffffff8400, 0xffffffffffff3800, 0xffffffffffff3bff, 0xffffffffffff3c00,
	0xffffffffffff3c01, 0xffffffffffffbc00, 0xffffffffffff3e00, 0xffffffffffff7800, 0xffffffffffff7bff,
	0xfffffffffffffbff, 0xffffffffffff7c00, 0xfffffffffffffc00, 0xffffffffffff7e00, 0xffffffffffff7c01,
	0xfffffffffffffdff, 0xfffffffeffff3c00, 0x0000000000003c00,
};
static const uint64_t corners32[] = {
	0xffffffff00000000, 0xffffffff80000000, 0xffffffff00000001, 0xffffffff807fffff, 0xffffffff00800000,
	0xffffffff3f000000, 0xffffffff3f7fffff, 0xffffffff3f800000, 0xffffffff3f800001, 0xffffffffbf800000,
	0xffffffff3fc00000, 0xffffffff477fe000, 0xffffffff477ff000, 0xffffffff387fe000, 0xffffffff33000000,
	0xffffffff4effffff, 0xffffffff4f000000, 0xffffffffcf000000, 0xffffffffcf000001, 0xffffffff4f800000,
	0xffffffff5f000000, 0xffffffffdf000000, 0xffffffff5f800000, 0xffffffff7f7fffff, 0xffffffffff7fffff,
	0xffffffff7f800000, 0xffffffffff800000, 0xffffffff7fc00000, 0xffffffff7f800001, 0xffffffffffbfffff,
	0xfffffffe3f800000, 0x000000003f800000,
};
static const uint64_t corners64[] = {
	0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x800fffffffffffff, 0x0010000000000000,
	0x3fe0000000000000, 0x3fefffffffffffff, 0x3ff0000000000000, 0x3ff0000000000001, 0xbff0000000000000,
	0x3ff8000000000000, 0x40effc0000000000, 0x40effe0000000000, 0x3e6fffffffffffff, 0x36a0000000000000,
	0x47efffffe0000000, 0x47efffffefffffff, 0x47effffff0000000, 0x41dfffffffc00000, 0x41dfffffffe00000,
	0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000100000, 0xc1e0000000200000, 0x41efffffffe00000,
	0x41efffffffffffff, 0x41f0000000000000, 0x43e0000000000000, 0xc3e0000000000000, 0xc3e0000000000001,
	0x43efffffffffffff, 0x43f0000000000000, 0xbfefffffffffffff, 0x7fefffffffffffff, 0xffefffffffffffff,
	0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff7ffffffffffff,
};

const uint64_t *isa_float_corners(unsigned bits, unsigned *count)
{
	if (bits == 16) {
		*count = ARRAY_SIZE(corners16);
		return corners16;
	}
	*count = bits == 32 ? ARRAY_SIZE(corners32) : ARRAY_SIZE(corners64);
	return bits == 32 ? corners32 : corners64;
}

/* A number whose exponent is near the middle, where sums and products stay finite. */
static uint64_t middling(struct isa_random *r, unsigned bits)
{
	unsigned fraction = bits == 16 ? 10 : bits == 32 ? 23 : 52;
	uint64_t bias = bits == 16 ? 15 : bits == 32 ? 127 : 1023;
	uint64_t exponent = bias + isa_below(r, 24) - 12;
	uint64_t mantissa = isa_random(r) & ((UINT64_C(1) << fraction) - 1);

	if (isa_below(r, 2))
		mantissa &= ~UINT64_C(0) << isa_below(r, fraction);
	return exponent << fraction | mantissa | (uint64_t)isa_below(r, 2) << (bits - 1);
}

uint64_t isa_float(struct isa_random *r)
{
	unsigned bits = 16u << isa_below(r, 3), count;
	const uint64_t *corners = isa_float_corners(bits, &count);
	uint64_t box = bits == 64 ? 0 : ~UINT64_C(0) << bits;

	switch (isa_below(r, 8)) {
	case 0:
		return isa_random(r);
	case 1:
		return isa_random(r) | box;
	case 2:
	case 3:
	case 4:
		return middling(r, bits) | box;
	default:
		return corners[isa_below(r, count)];
	}
}
