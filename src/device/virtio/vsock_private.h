/* What the two halves of the socket device share: vsock.c (rings) and vsock_connection.c (host sockets). */
#ifndef DOPPEL_DEVICE_VIRTIO_VSOCK_PRIVATE_H
#define DOPPEL_DEVICE_VIRTIO_VSOCK_PRIVATE_H

#include "base/acceptor.h"
#include "device/virtio/vsock.h"
#include "device/virtio/vsock_host.h"

/* A packet's header (5.10.6). */
struct vsock_header {
	le64_t source_cid, destination_cid;
	le32_t source_port, destination_port, length;
	le16_t type, operation;
	le32_t flags, buffer, forwarded;
} __attribute__((packed));
_Static_assert(sizeof(struct vsock_header) == 44, "as on the wire");

enum { VSOCK_STREAM = 1 };
enum vsock_operation {
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE = 2,
	VSOCK_RESET = 3,
	VSOCK_SHUTDOWN = 4,
	VSOCK_DATA = 5,
	VSOCK_CREDIT_UPDATE = 6,
	VSOCK_CREDIT_REQUEST = 7,
};
enum { VSOCK_NO_RECEIVE = 1, VSOCK_NO_SEND = 2 }; /* flags of SHUTDOWN, of who sends it */

enum connection_state {
	CONNECTION_GREETING,  /* a host's program has not told yet which port it wants */
	CONNECTION_REQUESTED, /* the guest was asked, or is to be */
	CONNECTION_OPEN,
};

/* Bits of what is to be told to the guest, in the order in which it is. */
enum { TELL_REQUEST = 1, TELL_RESPONSE = 2, TELL_CREDIT = 4, TELL_SHUTDOWN = 8, TELL_RESET = 16 };

struct virtio_vsock;

struct connection {
	struct virtio_vsock *vsock;
	struct connection *next, *previous;             /* among all */
	struct connection *next_waiting;                /* among those with something for the guest */
	bool waiting;
	enum connection_state state;
	uint32_t guest_port, host_port;
	int fd;
	struct loop_watch *watch;
	char greeting[32]; /* what came of "CONNECT N\n" so far */
	unsigned greeting_length;

	unsigned tell;            /* TELL_* */
	bool readable;            /* the host's side may have data; its descriptor is not watched for more meanwhile */
	bool host_ended;          /* it will send no more */
	bool hung_up;             /* nor take any */
	unsigned guest_ended;     /* VSOCK_NO_*, as the guest told */
	uint32_t guest_room, guest_forwarded, sent; /* credit of the guest's: bytes, modulo 2^32 */
	uint32_t forwarded, forwarded_told;         /* ours */
	uint8_t *buffer; /* VSOCK_BUFFER bytes, a ring of what the host's side has not taken; NULL: never needed so far */
	uint32_t buffer_start, buffer_length;
};

/* A connection that does not exist was addressed: the guest is told. */
struct reset {
	uint32_t guest_port, host_port;
};
#define RESETS_MAX 128

struct virtio_vsock {
	struct virtio virtio;
	uint32_t cid;
	char *folder;
	struct wall_process host; /* connects for the guest */
	struct loop_watch *host_watch; /* of its end; NULL: it is gone */
	uint32_t host_requests;
	int listener;
	struct acceptor acceptor;
	struct connection *connections;
	unsigned connection_count;
	struct connection *first_waiting, **last_waiting;
	struct reset resets[RESETS_MAX];
	unsigned reset_start, reset_count;
	uint32_t next_port;
	atomic_bool tell_lost; /* connections are gone, the guest does not know yet */
	struct virtqueue_chain chain;
};

/* vsock_connection.c; all on the worker. */
/* A guest's program asks for `host_port`: a connection, or NULL when nobody listens there. */
struct connection *connection_to_host(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port);
/* A host's program came. */
void connection_accept(void *vsock, int fd);
struct connection *connection_find(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port);
void connection_free(struct connection *connection);
/* The guest accepted: the host's program is told. */
void connection_accepted(struct connection *connection);
/* The data of a packet, `length` bytes from `offset` of the chain's readable part. -ENOBUFS when the guest had no
 * credit for it, others when the host's side is gone. */
MUST_USE int connection_take(struct connection *connection, const struct virtqueue_chain *chain, uint64_t offset,
			     uint32_t length);
/* The guest ended one or both directions. */
void connection_guest_ended(struct connection *connection, unsigned how);
/* Reads from the host's side into the writable part of the chain from `offset` on: bytes, 0 when there are none now. */
uint32_t connection_read(struct connection *connection, const struct virtqueue_chain *chain, uint64_t offset);
/* Bytes that the guest has room for. */
uint32_t connection_credit(const struct connection *connection);

/* vsock.c: something is there for the guest. */
void vsock_wait(struct connection *connection);
void vsock_serve_guest(struct virtio_vsock *vsock);

#endif
