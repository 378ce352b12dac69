/*
 * What passes between a machine's console and one who looks at it: messages on a SOCK_SEQPACKET socket, each a kind (one
 * byte) and what belongs to it, at most VIEWING_MESSAGE bytes in all.
 *
 * From the machine come the latest output, then all new output; VIEWING_LOST stands where some is missing because the
 * viewer took it too slowly. VIEWING_END is the last message; a connection that closes without it is that of a monitor that
 * was killed. Anything a viewer sends that is not described here gets it cut off.
 */
#ifndef DOPPEL_MACHINE_VIEWING_H
#define DOPPEL_MACHINE_VIEWING_H

#include "base/types.h"

#define VIEWING_OUTPUT  (16 * KIB) /* bytes of output in one message */
#define VIEWING_INPUT   (4 * KIB)  /* bytes of input in one message */
#define VIEWING_MESSAGE (1 + VIEWING_OUTPUT)

enum viewing_kind {
	/* To the viewer. */
	VIEWING_OUT = 'o',    /* the guest's output */
	VIEWING_LOST = 'l',   /* le64_t: so many bytes of output are left out here */
	VIEWING_NOTICE = 'n', /* text: something that a person should know */
	VIEWING_END = 'e',    /* an exit code (one byte), then text: why there is no more */

	/* From the viewer. */
	VIEWING_IN = 'i',   /* the writer's: input for the guest; a watcher's is dropped */
	VIEWING_SIZE = 's', /* two le16_t: columns and rows of its terminal; the writer's is told to the guest */
};

#endif
