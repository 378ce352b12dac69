#include "x86/aml.h"

#include <errno.h>
#include <string.h>

enum {
	NAME = 0x08,
	BYTE = 0x0a,
	WORD = 0x0b,
	DWORD = 0x0c,
	TEXT = 0x0d,
	QWORD = 0x0e,
	SCOPE = 0x10,
	BUFFER = 0x11,
	PACKAGE = 0x12,
	METHOD = 0x14,
	DUAL_NAME = 0x2e,
	MULTI_NAME = 0x2f,
	EXTENDED = 0x5b,
	REGION = 0x80, /* these three after EXTENDED */
	FIELD = 0x81,
	DEVICE = 0x82,
	LOCAL = 0x60,
	STORE = 0x70,
	AND = 0x7b,
	NOTIFY = 0x86,
	IF = 0xa0,
};

#define METHOD_SERIALIZED 0x08
#define SYSTEM_IO         1
#define FIELD_BYTE_ACCESS 1

/* Blocks that are buffers of resources remember it in the offset's top bit: aml_end finishes them first. */
#define IS_TEMPLATE ((size_t)1 << (sizeof(size_t) * 8 - 1))

static void fail(struct acpi_writer *w, int code)
{
	if (!w->failed)
		w->failed = code;
}

/* The block's length (20.2.4) comes before what is in it, and takes as few bytes as it can: aml_end makes room for it. */
static void begin(struct acpi_writer *w, size_t flags)
{
	if (w->depth == ACPI_DEPTH_MAX)
		fail(w, -ENOSPC);
	else
		w->open[w->depth++] = w->length | flags;
}

static unsigned encode_length(size_t length, uint8_t out[4])
{
	unsigned bytes = length + 1 < 64 ? 1 : length + 2 < 1 << 12 ? 2 : length + 3 < 1 << 20 ? 3 : 4;
	size_t value = length + bytes;

	if (bytes == 1) {
		out[0] = (uint8_t)value;
		return 1;
	}
	out[0] = (uint8_t)((bytes - 1) << 6 | (value & 15));
	value >>= 4;
	for (unsigned i = 1; i < bytes; i++, value >>= 8)
		out[i] = (uint8_t)value;
	return bytes;
}

static void insert(struct acpi_writer *w, size_t at, const uint8_t *bytes, size_t length)
{
	size_t end = w->length;

	acpi_put(w, bytes, length);
	if (w->failed)
		return;
	memmove(w->bytes + at + length, w->bytes + at, end - at);
	memcpy(w->bytes + at, bytes, length);
}

/* The end tag, whose checksum 0 means that there is none, and the size that was left open. */
static void end_template(struct acpi_writer *w, size_t start)
{
	static const uint8_t end_tag[] = {0x79, 0};
	le16_t size;

	acpi_put(w, end_tag, sizeof end_tag);
	if (w->failed)
		return;
	size = le16_put((uint16_t)(w->length - start - 3));
	memcpy(w->bytes + start + 1, &size, sizeof size);
}

void aml_end(struct acpi_writer *w)
{
	uint8_t length[4];
	size_t start;

	if (w->depth == 0) {
		fail(w, -EINVAL);
		return;
	}
	start = w->open[--w->depth];
	if (start & IS_TEMPLATE)
		end_template(w, start & ~IS_TEMPLATE);
	start &= ~IS_TEMPLATE;
	if (!w->failed)
		insert(w, start, length, encode_length(w->length - start, length));
}

static size_t segment_length(const char *segment)
{
	return strcspn(segment, ".");
}

static void put_segment(struct acpi_writer *w, const char *segment)
{
	size_t length = segment_length(segment);

	if (length < 1 || length > 4)
		fail(w, -EINVAL);
	else
		acpi_put(w, segment, length);
	for (; length < 4; length++)
		acpi_put8(w, '_');
}

static unsigned count_segments(const char *path)
{
	unsigned count = 1;

	for (; *path; path++)
		count += *path == '.';
	return count;
}

void aml_path(struct acpi_writer *w, const char *path)
{
	unsigned count;

	if (*path == '\\')
		acpi_put8(w, (uint8_t)*path++);
	count = count_segments(path);
	if (count == 2)
		acpi_put8(w, DUAL_NAME);
	else if (count > 2) {
		acpi_put8(w, MULTI_NAME);
		acpi_put8(w, (uint8_t)count);
	}
	for (; count; count--) {
		put_segment(w, path);
		path += segment_length(path) + (count > 1);
	}
}

void aml_scope(struct acpi_writer *w, const char *path)
{
	acpi_put8(w, SCOPE);
	begin(w, 0);
	aml_path(w, path);
}

void aml_device(struct acpi_writer *w, const char *name)
{
	acpi_put8(w, EXTENDED);
	acpi_put8(w, DEVICE);
	begin(w, 0);
	aml_path(w, name);
}

void aml_method(struct acpi_writer *w, const char *name, unsigned arguments)
{
	acpi_put8(w, METHOD);
	begin(w, 0);
	aml_path(w, name);
	acpi_put8(w, (uint8_t)(METHOD_SERIALIZED | arguments));
}

static void put_local(struct acpi_writer *w, unsigned local)
{
	acpi_put8(w, (uint8_t)(LOCAL + local));
}

void aml_if_local(struct acpi_writer *w, unsigned local, uint64_t mask)
{
	acpi_put8(w, IF);
	begin(w, 0);
	acpi_put8(w, AND);
	put_local(w, local);
	aml_integer(w, mask);
	acpi_put8(w, 0); /* the result goes nowhere else */
}

void aml_package(struct acpi_writer *w, unsigned count)
{
	acpi_put8(w, PACKAGE);
	begin(w, 0);
	acpi_put8(w, (uint8_t)count);
}

void aml_name(struct acpi_writer *w, const char *name)
{
	acpi_put8(w, NAME);
	aml_path(w, name);
}

void aml_integer(struct acpi_writer *w, uint64_t value)
{
	if (value <= 1) {
		acpi_put8(w, (uint8_t)value);
	} else if (value <= UINT8_MAX) {
		acpi_put8(w, BYTE);
		acpi_put8(w, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		acpi_put8(w, WORD);
		acpi_put16(w, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		acpi_put8(w, DWORD);
		acpi_put32(w, (uint32_t)value);
	} else {
		acpi_put8(w, QWORD);
		acpi_put64(w, value);
	}
}

void aml_text(struct acpi_writer *w, const char *text)
{
	acpi_put8(w, TEXT);
	acpi_put(w, text, strlen(text) + 1);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits and four hexadecimal digits, the most significant byte first (19.3.4). */
void aml_eisa(struct acpi_writer *w, const char *id)
{
	uint32_t value = 0;

	if (strlen(id) != 7) {
		fail(w, -EINVAL);
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		value = value << 5 | ((uint32_t)id[i] & 0x1f);
	for (unsigned i = 3; i < 7; i++)
		value = value << 4 | hex_digit(id[i]);
	acpi_put8(w, DWORD);
	acpi_put32(w, __builtin_bswap32(value));
}

void aml_name_integer(struct acpi_writer *w, const char *name, uint64_t value)
{
	aml_name(w, name);
	aml_integer(w, value);
}

void aml_name_text(struct acpi_writer *w, const char *name, const char *text)
{
	aml_name(w, name);
	aml_text(w, text);
}

void aml_name_eisa(struct acpi_writer *w, const char *name, const char *id)
{
	aml_name(w, name);
	aml_eisa(w, id);
}

void aml_port_register(struct acpi_writer *w, const char *region, uint16_t port, const char *name)
{
	acpi_put8(w, EXTENDED);
	acpi_put8(w, REGION);
	aml_path(w, region);
	acpi_put8(w, SYSTEM_IO);
	aml_integer(w, port);
	aml_integer(w, 1);
	acpi_put8(w, EXTENDED);
	acpi_put8(w, FIELD);
	begin(w, 0);
	aml_path(w, region);
	acpi_put8(w, FIELD_BYTE_ACCESS);
	aml_path(w, name);
	acpi_put8(w, 8); /* bits, as a block's length */
	aml_end(w);
}

void aml_store_local(struct acpi_writer *w, const char *path, unsigned local)
{
	acpi_put8(w, STORE);
	aml_path(w, path);
	put_local(w, local);
}

void aml_notify(struct acpi_writer *w, const char *path, uint64_t value)
{
	acpi_put8(w, NOTIFY);
	aml_path(w, path);
	aml_integer(w, value);
}

void aml_resources(struct acpi_writer *w, const char *name)
{
	aml_name(w, name);
	acpi_put8(w, BUFFER);
	begin(w, IS_TEMPLATE);
	acpi_put8(w, WORD);
	acpi_put16(w, 0);
}

void aml_io(struct acpi_writer *w, uint16_t port, uint8_t ports)
{
	acpi_put8(w, 0x47); /* 6.4.2.5, all 16 bits decoded */
	acpi_put8(w, 1);
	acpi_put16(w, port);
	acpi_put16(w, port);
	acpi_put8(w, 1);
	acpi_put8(w, ports);
}

void aml_memory32(struct acpi_writer *w, uint32_t base, uint32_t size)
{
	acpi_put8(w, 0x86); /* 6.4.3.4, writable */
	acpi_put16(w, 9);
	acpi_put8(w, 1);
	acpi_put32(w, base);
	acpi_put32(w, size);
}

void aml_interrupt(struct acpi_writer *w, uint32_t gsi, enum aml_trigger trigger)
{
	acpi_put8(w, 0x89); /* 6.4.3.6: consumer, active high, exclusive */
	acpi_put16(w, 6);
	acpi_put8(w, (uint8_t)(trigger == AML_EDGE ? 3 : 1));
	acpi_put8(w, 1);
	acpi_put32(w, gsi);
}

enum { WINDOW_MEMORY = 0, WINDOW_IO = 1, WINDOW_BUS = 2 };
#define WINDOW_FIXED  0x0c /* both ends are what they are; the bridge is the producer */
#define IO_ENTIRE     0x03
#define MEMORY_WRITES 0x01

static void put_window_head(struct acpi_writer *w, uint8_t tag, uint16_t length, uint8_t kind, uint8_t flags)
{
	acpi_put8(w, tag);
	acpi_put16(w, length);
	acpi_put8(w, kind);
	acpi_put8(w, WINDOW_FIXED);
	acpi_put8(w, flags);
}

/* 6.4.3.5.3: granularity, first, last, translation, length. */
static void put_word_window(struct acpi_writer *w, uint8_t kind, uint8_t flags, uint16_t first, uint32_t length)
{
	put_window_head(w, 0x88, 13, kind, flags);
	acpi_put16(w, 0);
	acpi_put16(w, first);
	acpi_put16(w, (uint16_t)(first + length - 1));
	acpi_put16(w, 0);
	acpi_put16(w, (uint16_t)length);
}

void aml_bus_window(struct acpi_writer *w, uint16_t first, uint16_t last)
{
	put_word_window(w, WINDOW_BUS, 0, first, (uint32_t)last - first + 1);
}

void aml_io_window(struct acpi_writer *w, uint16_t base, uint32_t size)
{
	put_word_window(w, WINDOW_IO, IO_ENTIRE, base, size);
}

void aml_memory_window(struct acpi_writer *w, uint64_t base, uint64_t size)
{
	/* 6.4.3.5.1 */
	put_window_head(w, 0x8a, 43, WINDOW_MEMORY, MEMORY_WRITES);
	acpi_put64(w, 0);
	acpi_put64(w, base);
	acpi_put64(w, base + size - 1);
	acpi_put64(w, 0);
	acpi_put64(w, size);
}
