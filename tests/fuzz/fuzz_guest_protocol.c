/* Payloads for all decoders of the protocol of the program in the guest: the first byte says for which. What a decoder
 * takes must come out of the encoder as it went in. */
#include <stdlib.h>
#include <string.h>

#include "guest/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(bool right)
{
	if (!right)
		abort();
}

static void try_command(const uint8_t *bytes, size_t length)
{
	struct guest_command command;
	uint8_t *again;
	size_t again_length;

	if (guest_command_decode(bytes, length, &command) < 0)
		return;
	check(guest_command_encode(&command, &again, &again_length) == 0);
	check(again_length == length && memcmp(again, bytes, length) == 0);
	free(again);
	guest_command_finish(&command);
}

static void try_entry(const uint8_t *bytes, size_t length)
{
	uint8_t again[GUEST_ENTRY_MAX];
	struct guest_entry entry;
	size_t again_length;

	if (guest_entry_decode(bytes, length, &entry) < 0)
		return;
	check(!strchr(entry.name, '/') && strcmp(entry.name, "..") != 0);
	if (guest_entry_encode(&entry, again, &again_length) == 0)
		check(again_length == length && memcmp(again, bytes, length) == 0);
}

static void try_failure(const uint8_t *bytes, size_t length)
{
	uint8_t again[4 + GUEST_TEXT_MAX];
	struct guest_failure failure;

	if (guest_failure_decode(bytes, length, &failure) == 0)
		check(failure.code < 0 && guest_failure_encode(failure.code, failure.text, again) == length &&
		      memcmp(again, bytes, length) == 0);
}

static void try_numbers(const uint8_t *bytes, size_t length)
{
	uint32_t number, second;
	uint16_t rows, columns;
	const char *path;
	uint64_t large;

	check((guest_number_decode(bytes, length, &number) == 0) == (length == 4));
	check((guest_pair_decode(bytes, length, &number, &second) == 0) == (length == 8));
	check((guest_size_decode(bytes, length, &large) == 0) == (length == 8));
	check((guest_window_decode(bytes, length, &rows, &columns) == 0) == (length == 4));
	if (guest_path_decode(bytes, length, &path) == 0)
		check(strlen(path) + 1 == length);
	(void)!guest_hello_decode(bytes, length, &number);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static void (*const tries[])(const uint8_t *, size_t) = {try_command, try_entry, try_failure, try_numbers};
	size_t length = size - 1;
	uint8_t *payload;

	if (size < 1 || length > GUEST_PAYLOAD_MAX)
		return 0;
	/* Of its true size, so that a read behind its end is seen. */
	payload = malloc(length + !length);
	memcpy(payload, bytes + 1, length);
	tries[bytes[0] % ARRAY_SIZE(tries)](payload, length);
	free(payload);
	return 0;
}
