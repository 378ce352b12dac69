/*
 * Addresses and wire integers as types of their own.
 *
 * A guest-virtual address, a guest-physical address and a host pointer never mix without one of
 * the named conversions below. Integers in memory shared with a guest, in files and on the wire
 * are `le16_t`, `le32_t`, `le64_t` (or `be32_t`): the conversion functions are the only way in and out.
 */
#ifndef DOPPEL_BASE_TYPES_H
#define DOPPEL_BASE_TYPES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A guest-virtual address: what guest code uses; means something only with a translation context. */
typedef struct {
	uint64_t value;
} gva_t;

/* A guest-physical address: what the machine's memory map is written in. */
typedef struct {
	uint64_t value;
} gpa_t;

static inline gva_t gva(uint64_t value)
{
	return (gva_t){value};
}

static inline gpa_t gpa(uint64_t value)
{
	return (gpa_t){value};
}

/* Wraps around at 2^64, as guest address arithmetic does. */
static inline gva_t gva_add(gva_t a, uint64_t offset)
{
	return (gva_t){a.value + offset};
}

static inline gpa_t gpa_add(gpa_t a, uint64_t offset)
{
	return (gpa_t){a.value + offset};
}

typedef struct {
	uint16_t raw;
} le16_t;
typedef struct {
	uint32_t raw;
} le32_t;
typedef struct {
	uint64_t raw;
} le64_t;

static inline uint16_t le16_get(le16_t v)
{
	return le16toh(v.raw);
}
static inline uint32_t le32_get(le32_t v)
{
	return le32toh(v.raw);
}
static inline uint64_t le64_get(le64_t v)
{
	return le64toh(v.raw);
}
static inline le16_t le16_put(uint16_t v)
{
	return (le16_t){htole16(v)};
}
static inline le32_t le32_put(uint32_t v)
{
	return (le32_t){htole32(v)};
}
static inline le64_t le64_put(uint64_t v)
{
	return (le64_t){htole64(v)};
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_US     UINT64_C(1000)

#endif
