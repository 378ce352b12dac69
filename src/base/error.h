/*
 * Errors as values.
 *
 * A function that can fail returns 0 or a negative errno and, when the caller passes a
 * `struct error`, fills in a kind and one message for a person: what, why, and the remedy.
 * The kind alone decides the exit code of a command and the status of an HTTP answer.
 * Libraries never print and never exit; outputs are untouched on failure.
 *
 * Thread: any. Ownership: the struct is a value of the caller; it holds no memory.
 */
#ifndef DOPPEL_BASE_ERROR_H
#define DOPPEL_BASE_ERROR_H

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

enum error_kind {
	ERROR_NONE,
	ERROR_FAILED,     /* it was tried and did not work: exit 1, HTTP 500 */
	ERROR_USAGE,      /* the request itself is wrong: exit 2, HTTP 400 */
	ERROR_NOT_FOUND,  /* a named thing is not there: exit 3, HTTP 404 */
	ERROR_STATE,      /* not now, in this state: exit 4, HTTP 409 */
	ERROR_PERMISSION, /* not allowed: exit 5, HTTP 403 */
	ERROR_TIMEOUT,    /* did not happen in time: exit 6, HTTP 504 */
	ERROR_KINDS,
};

struct error {
	enum error_kind kind;
	char message[512]; /* one line, no trailing newline, never empty after a failure */
};

/* Fills `e` (may be NULL) and returns `code`, a negative errno, so that `return error_set(...)` reads
 * well. A message already in `e` may be among the arguments. */
int error_set(struct error *e, enum error_kind kind, int code, const char *format, ...)
	PRINTF_LIKE(4, 5);

/* As error_set with the kind that fits the errno and ": <strerror>" appended; returns `code`. */
int error_errno(struct error *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "<prefix>: " before the message that is in `e`; returns `code` unchanged. */
int error_prefix(struct error *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The exit code of a command that ended with this kind: 0 to 6. */
int error_exit_code(enum error_kind kind);

/* The HTTP status of an answer that carries this kind. */
int error_http_status(enum error_kind kind);

/* The kind that fits a negative errno. */
enum error_kind error_kind_of(int code);
/* And back: a negative errno whose kind this is; 0 for ERROR_NONE. */
int error_code_of(enum error_kind kind);

/* "failed", "usage", "not-found", "state", "permission", "timeout": as errors are told to programs. */
const char *error_kind_name(enum error_kind kind);
/* The failure of that name; any other name is ERROR_FAILED. */
enum error_kind error_kind_named(const char *name);

#endif
