/* Sockets under a hostile driver, with programs of the host at both kinds of ends that come, talk, and go. The device never
 * has more connections than it may. */
#include "virtio_kind.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/socket.h"
#include "device/virtio/vsock_private.h"

#define CID       7
#define HOSTS_MAX 8

static char folder[] = "/tmp/doppel-fuzz-vsock-XXXXXX";
static int listener = -1;
static int hosts[HOSTS_MAX];

static int make(struct kind_platform *p)
{
	char path[64];

	if (listener < 0) {
		if (!mkdtemp(folder))
			return -1;
		snprintf(path, sizeof path, "%s/5", folder);
		if (socket_listen(path, &listener, NULL) < 0)
			return -1;
	}
	return virtio_vsock_new(&p->virtio, "vsock0", kind_worker, CID, folder, NULL);
}

static void leave_no_folder(void)
{
	char path[64];

	snprintf(path, sizeof path, "%s/5", folder);
	unlink(path);
	rmdir(folder);
}

/* A packet from ports that are likely to exist. */
static void send_packet(struct kind_platform *p)
{
	uint64_t ports = next(p, 1);
	struct vsock_header header = {
		.source_cid = le64_put(CID),
		.destination_cid = le64_put(2),
		.source_port = le32_put(ports & 3),
		.destination_port = le32_put(ports & 0x80 ? 0x40000000 + (ports >> 2 & 7) : 4 + (ports >> 2 & 1)),
		.type = le16_put(1),
		.operation = le16_put((uint16_t)(next(p, 1) % 9)),
		.buffer = le32_put((uint32_t)next(p, 2)),
		.forwarded = le32_put((uint32_t)next(p, 1)),
	};
	uint64_t twist = next(p, 1);

	header.length = le32_put((uint32_t)next(p, 2));
	header.flags = le32_put(twist & 3);
	if (twist & 0x80)
		((uint8_t *)&header)[twist >> 2 & 31] ^= (uint8_t)next(p, 1);
	kind_offer(p, 1, &header, sizeof header);
}

/* One of the host's programs: comes, is taken, says something, listens, or goes. */
static void host_acts(struct kind_platform *p)
{
	uint64_t choice = next(p, 1);
	int *host = &hosts[choice % HOSTS_MAX];
	char path[64], bytes[256];
	size_t length = 0;

	if (*host < 0 && (choice & 0x80)) {
		*host = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} else if (*host < 0) {
		snprintf(path, sizeof path, "%s/guest", folder);
		if (socket_connect(path, host) < 0)
			*host = -1;
	} else if (choice & 0x80) {
		close(*host);
		*host = -1;
	} else if (choice & 0x40) {
		(void)!read(*host, bytes, sizeof bytes);
	} else {
		if (choice & 0x20)
			length = (size_t)snprintf(bytes, sizeof bytes, "CONNECT %u\n", (unsigned)next(p, 1) & 3);
		for (uint64_t more = next(p, 1) % 128; more; more--)
			bytes[length++] = (char)next(p, 1);
		(void)!send(*host, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

static void operate(struct kind_platform *p)
{
	uint64_t operation = next(p, 1);

	if (operation % 8 < 3)
		send_packet(p);
	else if (operation % 8 == 3)
		kind_offer(p, (unsigned)(operation >> 4) % 3, NULL, 0);
	else if (operation % 8 == 4) {
		uint16_t head = p->descriptor[0];

		kind_piece(p, 0, 1024, true, true);
		kind_publish(p, 0, head);
	} else if (operation % 8 < 7)
		host_acts(p);
	else
		kind_befall(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kind_platform p;
	int left;

	if (listener < 0)
		atexit(leave_no_folder);
	memset(hosts, -1, sizeof hosts);
	kind_begin(&p, data, size, make);
	for (unsigned i = 0; i < OPERATIONS && p.left; i++) {
		operate(&p);
		kind_check(&p);
		assert(((struct virtio_vsock *)p.virtio)->connection_count <= VSOCK_CONNECTIONS_MAX);
		assert(((struct virtio_vsock *)p.virtio)->reset_count <= RESETS_MAX);
	}
	kind_end(&p);
	for (unsigned i = 0; i < HOSTS_MAX; i++)
		if (hosts[i] >= 0)
			close(hosts[i]);
	while ((left = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		close(left);
	return 0;
}
