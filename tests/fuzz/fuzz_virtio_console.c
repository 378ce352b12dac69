/* The terminal and the channels under a hostile driver, with a user who types and clients that come, talk, and go. The
 * terminal takes no more input than it has room for. */
#include "virtio_kind.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/socket.h"
#include "device/virtio/console.h"

#define CHANNELS 2

static char paths[CHANNELS][64];
static int clients[CHANNELS];
static atomic_bool crowded;
static bool is_terminal;

static bool show(void *console, const uint8_t *bytes, size_t length)
{
	(void)console;
	assert(bytes && length > 0);
	return atomic_load(&crowded);
}

static int make(struct kind_platform *p)
{
	const struct virtio_channel_options options[CHANNELS] = {{"first", paths[0]}, {"second", paths[1]}};

	for (unsigned i = 0; i < CHANNELS; i++) {
		snprintf(paths[i], sizeof paths[i], "/tmp/doppel-fuzz-channel-%d-%u", (int)getpid(), i);
		clients[i] = -1;
	}
	atomic_store(&crowded, false);
	is_terminal = next(p, 1) & 1;
	if (is_terminal)
		return virtio_terminal_new(&p->virtio, "terminal0", kind_worker,
					   (struct virtio_terminal_sink){show, NULL}, NULL);
	return virtio_channels_new(&p->virtio, "channels0", kind_worker, options, CHANNELS, NULL);
}

static void user_acts(struct kind_platform *p)
{
	static const uint8_t typed[2 * VIRTIO_CONSOLE_INPUT];
	uint64_t choice = next(p, 1);

	if (choice & 0x80) {
		atomic_store(&crowded, choice & 1);
		if (!(choice & 1))
			virtio_terminal_room(p->virtio);
	} else if (choice & 0x40) {
		virtio_terminal_resize(p->virtio, (uint16_t)next(p, 1), (uint16_t)next(p, 2));
	} else {
		size_t length = next(p, 2) % sizeof typed;

		assert(virtio_terminal_receive(p->virtio, typed, length) <= VIRTIO_CONSOLE_INPUT);
	}
}

static void client_acts(struct kind_platform *p)
{
	uint64_t choice = next(p, 1);
	int *client = &clients[choice % CHANNELS];
	char bytes[256] = {0};

	if (*client < 0) {
		if (socket_connect(paths[choice % CHANNELS], client) < 0)
			*client = -1;
	} else if (choice & 0x80) {
		close(*client);
		*client = -1;
	} else if (choice & 0x40) {
		(void)!read(*client, bytes, sizeof bytes);
	} else if (choice & 0x20) {
		shutdown(*client, SHUT_WR);
	} else {
		(void)!send(*client, bytes, 1 + next(p, 1), MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

/* A control message with numbers that likely mean something. */
static void control(struct kind_platform *p)
{
	uint64_t choice = next(p, 1);
	const struct {
		le32_t port;
		le16_t event, value;
	} message = {le32_put((uint32_t)(choice & 3)), le16_put((uint16_t)(choice >> 2 & 7)),
		     le16_put((uint16_t)(choice >> 7))};

	kind_offer(p, 3, &message, sizeof message);
}

static void operate(struct kind_platform *p)
{
	uint64_t operation = next(p, 1);

	if (operation % 8 < 2 && !is_terminal)
		control(p);
	else if (operation % 8 < 5)
		kind_offer(p, (unsigned)(operation >> 4) % p->virtio->queue_count, NULL, 0);
	else if (operation % 8 == 7)
		kind_befall(p);
	else if (is_terminal)
		user_acts(p);
	else
		client_acts(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kind_platform p;

	kind_begin(&p, data, size, make);
	for (unsigned i = 0; i < OPERATIONS && p.left; i++) {
		operate(&p);
		kind_check(&p);
	}
	kind_end(&p);
	for (unsigned i = 0; i < CHANNELS; i++)
		if (clients[i] >= 0)
			close(clients[i]);
	return 0;
}
