/* DBCN (SBI 2.0, 12) and the legacy console calls. */
#include "riscv/sbi/sbi.h"

/* A call moves at most this much, so that a guest can not keep its monitor in one call: the specification lets
 * a call do less than was asked. */
#define CALL_LIMIT (64 * KIB)
#define CHUNK      256

static void console_write(struct sbi *sbi, const uint8_t *bytes, size_t length)
{
	if (!sbi->console.write)
		return;
	pthread_mutex_lock(&sbi->console_lock);
	sbi->console.write(sbi->console.console, bytes, length);
	pthread_mutex_unlock(&sbi->console_lock);
}

static size_t console_read(struct sbi *sbi, uint8_t *bytes, size_t room)
{
	size_t length;

	if (!sbi->console.read)
		return 0;
	pthread_mutex_lock(&sbi->console_lock);
	length = sbi->console.read(sbi->console.console, bytes, room);
	pthread_mutex_unlock(&sbi->console_lock);
	return length;
}

/* The range in a[0] (bytes), a[1] (low address), a[2] (high address) lies in RAM (SBI 2.0, 3.2). */
static bool range_valid(const struct sbi *sbi, const uint64_t *a)
{
	return a[2] == 0 && memory_find(sbi->cluster->memory, gpa(a[1]), a[0]);
}

static size_t chunk_length(uint64_t left)
{
	return left < CHUNK ? (size_t)left : CHUNK;
}

static struct sbi_reply write_bytes(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint64_t length = a[0] < CALL_LIMIT ? a[0] : CALL_LIMIT, done = 0;
	uint8_t bytes[CHUNK];

	(void)hart;
	if (!range_valid(sbi, a))
		return sbi_fail(SBI_INVALID_PARAM);
	while (done < length) {
		size_t now = chunk_length(length - done);

		if (memory_read(sbi->cluster->memory, gpa(a[1] + done), bytes, now))
			return sbi_fail(SBI_FAILED);
		console_write(sbi, bytes, now);
		done += now;
	}
	return sbi_ok(done);
}

static struct sbi_reply read_bytes(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint64_t length = a[0] < CALL_LIMIT ? a[0] : CALL_LIMIT, done = 0;
	uint8_t bytes[CHUNK];

	(void)hart;
	if (!range_valid(sbi, a))
		return sbi_fail(SBI_INVALID_PARAM);
	while (done < length) {
		size_t now = console_read(sbi, bytes, chunk_length(length - done));

		if (now == 0)
			break;
		if (memory_write(sbi->cluster->memory, gpa(a[1] + done), bytes, now))
			return sbi_fail(SBI_FAILED);
		done += now;
	}
	return sbi_ok(done);
}

static struct sbi_reply write_byte(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint8_t byte = (uint8_t)a[0];

	(void)hart;
	console_write(sbi, &byte, 1);
	return sbi_ok(0);
}

static sbi_function *const functions[] = {write_bytes, read_bytes, write_byte};
SBI_EXTENSION(sbi_dbcn, 0x4442434e);

static sbi_function *const putchar_functions[] = {write_byte};
const struct sbi_extension sbi_legacy_putchar = {0x01, putchar_functions, 1, true};

/* Answers the character itself where others answer an error; -1 for none. */
static struct sbi_reply legacy_getchar(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint8_t byte;

	(void)hart;
	(void)a;
	return sbi_fail(console_read(sbi, &byte, 1) ? byte : SBI_FAILED);
}

static sbi_function *const getchar_functions[] = {legacy_getchar};
const struct sbi_extension sbi_legacy_getchar = {0x02, getchar_functions, 1, true};
