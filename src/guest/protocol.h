/*
 * What passes between `doppel exec` or `doppel cp` on the host and doppel-guest, the program in the guest.
 *
 * One connection is one session: both sides send HELLO, the host sends one request, and frames follow until one side
 * closes. docs/internals/guest.md tells the protocol byte by byte. All numbers are little-endian; the numbers of errors
 * and signals are those of Linux that all its newer architectures share.
 *
 * The decoders take what a hostile side may have sent: they look at nothing behind `length`, allocate nothing that the
 * payload does not pay for, and leave their output untouched when they fail (-EPROTO).
 *
 * Thread: any; pure functions.
 */
#ifndef DOPPEL_GUEST_PROTOCOL_H
#define DOPPEL_GUEST_PROTOCOL_H

#include "base/error.h"
#include "base/types.h"

#define GUEST_PORT 7007 /* of vsock, where the program listens */
/* Raised for changes that an older side would not understand; a side speaks all versions between two. */
#define GUEST_VERSION_LOWEST  1
#define GUEST_VERSION_HIGHEST 1

#define GUEST_PAYLOAD_MAX (256 * KIB) /* of any frame */
#define GUEST_CHUNK       (64 * KIB)  /* of data in one frame, as senders send it */
/* What a sender of stdin, stdout or stderr may send before the first CREDIT for that stream. */
#define GUEST_WINDOW      (256 * KIB)
#define GUEST_NAME_MAX    255
#define GUEST_DEPTH_MAX   256 /* folders in folders */

enum guest_type {
	GUEST_HELLO = 1,   /* both: struct guest_hello */
	GUEST_FAILED = 2,  /* both: struct guest_failure; the session ends */
	GUEST_DONE = 3,    /* both: the request is fulfilled; of a tree: all of it has been sent, or stored */
	GUEST_EXEC = 16,   /* request: struct guest_command */
	GUEST_STARTED = 17,
	GUEST_DATA = 18,   /* of a stream */
	GUEST_END = 19,    /* of a stream: nothing follows; from its reader: nothing more is wanted */
	GUEST_CREDIT = 20, /* of a stream: le32 bytes more may be sent */
	GUEST_SIGNAL = 21, /* le32: its number */
	GUEST_RESIZE = 22, /* le16 rows, le16 columns */
	GUEST_EXITED = 23, /* le32 0: ended by itself, 1: by a signal; le32 status or signal */
	GUEST_PUT = 32,    /* request: a path; a tree follows */
	GUEST_GET = 33,    /* request: a path; answered by a tree */
	GUEST_ENTRY = 34,  /* struct guest_entry */
	GUEST_CONTENT = 35,
	GUEST_HOLE = 36,   /* le64: so many zeros */
	GUEST_FINISH = 37, /* of a file */
	GUEST_LEAVE = 38,  /* of a folder */
	GUEST_PROBLEM = 39, /* struct guest_failure; the tree goes on */
	GUEST_POWER_OFF = 48, /* request */
};

enum guest_stream { GUEST_STDIN, GUEST_STDOUT, GUEST_STDERR, GUEST_STREAMS };

/* ---- HELLO ---- */
#define GUEST_HELLO_SIZE 16
void guest_hello_encode(uint8_t out[GUEST_HELLO_SIZE]);
/* The version that both speak. -EPROTO: not this protocol; -EPROTONOSUPPORT: no version in common. */
MUST_USE int guest_hello_decode(const uint8_t *bytes, size_t length, uint32_t *version);

/* ---- EXEC ---- */
struct guest_command {
	bool tty;
	uint16_t rows, columns;
	const char *directory; /* "": the user's home */
	const char *user;      /* a name or number; "": the one the program runs as, root */
	/* Both end with NULL; `environment` is added to what a user has. */
	const char *const *arguments;
	const char *const *environment;
};
/* Fresh memory, free() it. -E2BIG when it does not fit into a frame. */
MUST_USE int guest_command_encode(const struct guest_command *command, uint8_t **bytes, size_t *length);
/* Strings point into `bytes`; the lists are freed by guest_command_finish. -ENOMEM too. */
MUST_USE int guest_command_decode(const uint8_t *bytes, size_t length, struct guest_command *out);
void guest_command_finish(struct guest_command *command);

/* ---- Trees ---- */
enum guest_kind { GUEST_FILE, GUEST_FOLDER, GUEST_LINK, GUEST_KINDS };
#define GUEST_SIZE_UNKNOWN UINT64_MAX

struct guest_entry {
	enum guest_kind kind;
	uint32_t mode; /* permissions, 07777 */
	uint64_t size; /* of a file, for progress only */
	int64_t modified_s;
	uint32_t modified_ns;
	/* One component: never with a slash, "." or ".."; "" for the root of a tree that means the destination itself. */
	const char *name;
	const char *target; /* of a link, else "" */
};
#define GUEST_ENTRY_MAX (28 + GUEST_NAME_MAX + 1 + 4096)
/* -ENAMETOOLONG when name or target are longer than any system has them. */
MUST_USE int guest_entry_encode(const struct guest_entry *entry, uint8_t out[GUEST_ENTRY_MAX], size_t *length);
MUST_USE int guest_entry_decode(const uint8_t *bytes, size_t length, struct guest_entry *out);

/* ---- FAILED, PROBLEM ---- */
#define GUEST_TEXT_MAX 400
struct guest_failure {
	int code; /* a negative errno */
	char text[GUEST_TEXT_MAX + 1]; /* what it is about, for a person; may hold anything but NUL */
};
size_t guest_failure_encode(int code, const char *text, uint8_t out[4 + GUEST_TEXT_MAX]);
MUST_USE int guest_failure_decode(const uint8_t *bytes, size_t length, struct guest_failure *out);

/* ---- Numbers and paths ---- */
MUST_USE int guest_number_decode(const uint8_t *bytes, size_t length, uint32_t *out);
MUST_USE int guest_pair_decode(const uint8_t *bytes, size_t length, uint32_t *first, uint32_t *second);
MUST_USE int guest_size_decode(const uint8_t *bytes, size_t length, uint64_t *out);
MUST_USE int guest_window_decode(const uint8_t *bytes, size_t length, uint16_t *rows, uint16_t *columns);
/* One string with its NUL, nothing behind it. */
MUST_USE int guest_path_decode(const uint8_t *bytes, size_t length, const char **out);

#endif
