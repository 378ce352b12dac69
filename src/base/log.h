/*
 * The log: one line an event, to standard error or a file, for the person who looks for a cause.
 *
 * The level is process-wide and set once by the program before threads start; the default is
 * LOG_WARNING. A line is "<level> <module>: <text>"; control characters in the text (it may quote a
 * guest) are written as \xNN. Rate: a guest must not be able to fill a disk, so a place in the code that a
 * guest can reach uses log_guest, which prints at most ten lines a second in all and counts the rest.
 *
 * Thread: any; a line is one write.
 */
#ifndef DOPPEL_BASE_LOG_H
#define DOPPEL_BASE_LOG_H

#include "base/error.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* "error", "warning", "info", "debug" to a level; -EINVAL for anything else. */
MUST_USE int log_level_parse(const char *text, enum log_level *level);
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* Lines go to `fd` from now on; the caller keeps it open. Default: 2. */
void log_set_fd(int fd);

void log_line(enum log_level level, const char *module, const char *format, ...) PRINTF_LIKE(3, 4);
/* As log_line, limited in rate: for events that a guest can cause at will. */
void log_guest(enum log_level level, const char *module, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
