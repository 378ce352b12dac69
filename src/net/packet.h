/*
 * Packets between a machine and its network: an Ethernet frame after struct packet_header (Virtio 1.2, 5.1.6),
 * which says what of a checksum or of cutting into segments is left to do.
 *
 * Both are hostile: packet_check stands before whatever follows the header's offsets. Frames are changed in place.
 * Thread: any; nothing is kept.
 */
#ifndef DOPPEL_NET_PACKET_H
#define DOPPEL_NET_PACKET_H

#include "base/error.h"
#include "base/types.h"

#define PACKET_FRAME_MIN 14    /* an Ethernet header */
#define PACKET_FRAME_MAX 65550 /* 64 KiB segment with Ethernet and VLAN headers */
#define PACKET_PEEK      192   /* bytes of a frame that packet_check wants at most */

enum { PACKET_NEEDS_CHECKSUM = 1, PACKET_CHECKSUM_VALID = 2 };                             /* flags */
enum { PACKET_PLAIN = 0, PACKET_TCP4 = 1, PACKET_UDP = 3, PACKET_TCP6 = 4, PACKET_ECN = 0x80 }; /* segment_kind */

struct packet_header {
	uint8_t flags;
	uint8_t segment_kind;
	le16_t header_length;
	le16_t segment_size;
	le16_t checksum_start;
	le16_t checksum_offset; /* from checksum_start */
	le16_t buffers;
};

/* Whether the header's demands fit the frame and are among `offloads` (NET_OFFLOAD_*): 0, or -EBADMSG with a
 * reason (static text) in *why. `frame` holds the first min(length, PACKET_PEEK) bytes of `length`. */
MUST_USE int packet_check(const struct packet_header *header, const uint8_t *frame, size_t length, unsigned offloads,
			  const char **why);
/* Does what a checked header asks of the checksum; a frame of many segments is then one large correct packet.
 * Clears the header. `frame` holds all of it. */
void packet_complete_checksum(struct packet_header *header, uint8_t *frame, size_t length);
/* The ones' complement sum of RFC 1071, not folded: add more parts (each of an even length but the last), then
 * packet_fold. */
uint64_t packet_sum(const uint8_t *bytes, size_t length, uint64_t sum);
uint16_t packet_fold(uint64_t sum);

typedef void packet_emit_fn(void *context, const uint8_t *frame, size_t length);
/* Cuts a checked frame of TCP segments (segment_kind is not PACKET_PLAIN) into frames with correct headers and
 * checksums; calls `emit` with each. */
void packet_segment(const struct packet_header *header, const uint8_t *frame, size_t length, packet_emit_fn *emit,
		    void *context);
/* A group address: the frame is for many. */
static inline bool packet_is_group(const uint8_t *frame)
{
	return (frame[0] & 1) != 0;
}

#endif
