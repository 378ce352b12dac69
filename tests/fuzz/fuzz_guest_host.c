/* A hostile guest's bytes against the host's side of a command: whatever comes, it ends. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char *const words[] = {"x", NULL}, *const none[] = {NULL};
	const struct guest_command command = {.directory = "", .user = "", .arguments = words, .environment = none};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), pair[2], status = 0;
	struct guest_run run = {.command = &command, .in = null, .out = null, .err = null, .signals = -1};
	bool refused;
	struct wire wire;
	struct error e;

	if (size > 65536 || null < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (wire_init(&wire, pair[0], &e) < 0 || write(pair[1], bytes, size) != (ssize_t)size ||
	    shutdown(pair[1], SHUT_WR) < 0)
		abort();
	if (guest_execute(&wire, &run, &status, &refused, &e) == 0 && (status < 0 || status > 255))
		abort();
	guest_close(&wire);
	close(pair[1]);
	close(null);
	return 0;
}
