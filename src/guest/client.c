#include "guest/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/socket.h"
#include "guest/tree.h"

#define RETRY_MS 100
/* The device answers "OK PORT\n". */
#define ANSWER_MAX 32
#define STRING_OF_(number) #number
#define STRING_OF(number)  STRING_OF_(number)
#define GREETING           "CONNECT " STRING_OF(GUEST_PORT) "\n"

/* A name that no path is too long for. */
static int connect_to(int folder, int *fd)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d/guest", folder);
	return socket_connect(path, fd);
}

/* What the device wants to hear, and HELLO right behind it. */
static int greet(struct wire *wire)
{
	static const char greeting[] = GREETING;
	uint8_t hello[GUEST_HELLO_SIZE];

	memcpy(wire->out, greeting, strlen(greeting));
	wire->out_end = strlen(greeting);
	guest_hello_encode(hello);
	return wire_put(wire, GUEST_HELLO, 0, hello, sizeof hello);
}

static int left_ms(uint64_t deadline_ns)
{
	uint64_t now = clock_host_ns();

	return deadline_ns > now ? (int)((deadline_ns - now) / 1000000) + 1 : 0;
}

/* -EPIPE: nobody there, yet. */
static int hear_device(struct wire *wire, uint64_t deadline_ns)
{
	int r = wire_write(wire, NULL);

	while (r == 0) {
		const uint8_t *end = memchr(wire->in, '\n', wire->in_end);
		struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN};
		int left = left_ms(deadline_ns);

		if (end) {
			wire->in_start = (size_t)(end - wire->in) + 1;
			return memcmp(wire->in, "OK ", 3) == 0 ? 0 : -EPIPE;
		}
		if (wire->in_end > ANSWER_MAX)
			return -EPIPE;
		if (left == 0 || poll(&poll_fd, 1, left) == 0)
			return -ETIMEDOUT;
		r = wire_read(wire, NULL);
	}
	return r;
}

static int hear_guest(struct wire *wire, const char *name, uint64_t deadline_ns, struct error *e)
{
	struct wire_frame frame;
	uint32_t version;
	int r = wire_receive(wire, &frame, left_ms(deadline_ns), NULL);

	if (r < 0)
		return r;
	r = frame.type == GUEST_HELLO ? guest_hello_decode(frame.bytes, frame.length, &version) : -EPROTO;
	return r < 0 ? error_set(e, ERROR_FAILED, r,
				 "%s: its program doppel-guest speaks another protocol than this doppel; run "
				 "doppel image pull and start the machine anew",
				 name)
		     : 0;
}

/* -EPIPE and -ETIMEDOUT leave `e` as it is. */
static int attempt(struct wire *wire, int folder, const char *name, uint64_t deadline_ns, struct error *e)
{
	int fd, r = connect_to(folder, &fd);

	if (r == -EAGAIN)
		return -EPIPE;
	if (r < 0)
		return error_set(e, ERROR_STATE, -ECONNREFUSED,
				 "%s does not run, or has no socket device; start it first", name);
	r = wire_init(wire, fd, e);
	if (r == 0)
		r = greet(wire);
	if (r == 0)
		r = hear_device(wire, deadline_ns);
	if (r == 0)
		r = hear_guest(wire, name, deadline_ns, e);
	if (r < 0) {
		wire_finish(wire);
		close(fd);
	}
	return r;
}

int guest_open(struct wire *wire, int folder, const char *name, unsigned timeout_ms, struct error *e)
{
	uint64_t deadline_ns = clock_host_ns() + (uint64_t)timeout_ms * 1000000;
	int r;

	while ((r = attempt(wire, folder, name, deadline_ns, e)) == -EPIPE && left_ms(deadline_ns) > 0)
		nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
	if (r != -EPIPE && r != -ETIMEDOUT)
		return r;
	return error_set(e, ERROR_TIMEOUT, -ETIMEDOUT,
			 "the guest of %s does not answer: it is still starting (--timeout waits longer), or its image lacks "
			 "the program doppel-guest, which the images debian and debian-tiny have",
			 name);
}

void guest_close(struct wire *wire)
{
	close(wire->fd);
	wire_finish(wire);
}

int guest_ask_power_off(int fd, struct error *e)
{
	struct wire wire;
	int r = wire_init(&wire, fd, e);

	if (r == 0)
		r = greet(&wire);
	if (r == 0)
		r = wire_put(&wire, GUEST_POWER_OFF, 0, NULL, 0);
	if (r == 0)
		r = wire_write(&wire, e);
	wire_finish(&wire);
	return r;
}

static int put_path(struct wire *wire, enum guest_type type, const char *path, struct error *e)
{
	size_t length = strlen(path) + 1;

	if (length == 1 || length > 4096)
		return error_set(e, ERROR_USAGE, -EINVAL, "'%.100s': that is no path", path);
	return wire_put(wire, type, 0, path, length);
}

/* Until the guest has stored all. */
static int hear_done(struct wire *wire, const struct tree_hooks *hooks, struct error *e)
{
	struct guest_failure failure;
	struct wire_frame frame;
	int r;

	while ((r = wire_receive(wire, &frame, -1, e)) == 0) {
		if (frame.type == GUEST_DONE)
			return 0;
		if (frame.type == GUEST_FAILED)
			return tree_failure(&frame, e);
		if (frame.type != GUEST_PROBLEM || guest_failure_decode(frame.bytes, frame.length, &failure) < 0)
			return error_set(e, ERROR_FAILED, -EPROTO, "the guest sends what is not the protocol");
		hooks->problem(hooks->context, failure.code, failure.text);
	}
	return r;
}

int guest_put(struct wire *wire, const char *from, int stream, const char *to, const struct tree_hooks *hooks,
	      struct error *e)
{
	int r = put_path(wire, GUEST_PUT, to, e);

	if (r == 0 && from)
		r = tree_send(wire, from, hooks, e);
	else if (r == 0)
		r = tree_send_stream(wire, stream, "stdin", hooks, e);
	return r == 0 ? hear_done(wire, hooks, e) : r;
}

int guest_get(struct wire *wire, const char *from, const char *to, int stream, const struct tree_hooks *hooks,
	      struct error *e)
{
	int r = put_path(wire, GUEST_GET, from, e);

	if (r < 0)
		return r;
	return to ? tree_receive(wire, to, TREE_SUSPICIOUS, hooks, e) : tree_receive_stream(wire, stream, hooks, e);
}
