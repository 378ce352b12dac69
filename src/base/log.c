#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/types.h"

#define GUEST_LINES_PER_SECOND 10

static const char *const names[LOG_LEVELS] = {"error", "warning", "info", "debug"};

static _Atomic enum log_level threshold = LOG_WARNING;
static atomic_int descriptor = STDERR_FILENO;

static struct {
	pthread_mutex_t lock;
	uint64_t second; /* host second that `lines` counts in */
	unsigned lines;
	uint64_t dropped;
} guest = {.lock = PTHREAD_MUTEX_INITIALIZER};

int log_level_parse(const char *text, enum log_level *level)
{
	for (unsigned i = 0; i < LOG_LEVELS; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*level = (enum log_level)i;
		return 0;
	}
	return -EINVAL;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

enum log_level log_level(void)
{
	return atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_set_fd(int fd)
{
	atomic_store_explicit(&descriptor, fd, memory_order_relaxed);
}

/* Bytes above 0x7e are escaped too: an 8-bit terminal takes some of them for control sequences. */
static size_t escape(char *out, size_t room, const char *text)
{
	size_t used = 0;

	for (; *text && used + 5 < room; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte >= 0x20 && byte <= 0x7e)
			out[used++] = (char)byte;
		else
			used += (size_t)snprintf(out + used, room - used, "\\x%02x", byte);
	}
	return used;
}

static void emit(enum log_level level, const char *module, const char *text)
{
	char line[1024];
	size_t used = (size_t)snprintf(line, 64, "%s %.40s: ", names[level], module);

	used += escape(line + used, sizeof line - used - 1, text);
	line[used++] = '\n';
	/* A log that cannot be written has nowhere to complain. */
	while (write(atomic_load_explicit(&descriptor, memory_order_relaxed), line, used) < 0 && errno == EINTR)
		;
}

static void emit_formatted(enum log_level level, const char *module, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

static void emit_formatted(enum log_level level, const char *module, const char *format, va_list arguments)
{
	char text[900];

	vsnprintf(text, sizeof text, format, arguments);
	emit(level, module, text);
}

void log_line(enum log_level level, const char *module, const char *format, ...)
{
	va_list arguments;

	if (level > log_level())
		return;
	va_start(arguments, format);
	emit_formatted(level, module, format, arguments);
	va_end(arguments);
}

/* Whether one more guest line may be printed now; *dropped is what was kept back in earlier seconds. */
static bool guest_admit(uint64_t *dropped)
{
	uint64_t second = clock_host_ns() / NS_PER_SECOND;
	bool admitted;

	pthread_mutex_lock(&guest.lock);
	*dropped = 0;
	if (second != guest.second) {
		*dropped = guest.dropped;
		guest.second = second;
		guest.lines = guest.dropped ? 1 : 0;
		guest.dropped = 0;
	}
	admitted = guest.lines < GUEST_LINES_PER_SECOND;
	if (admitted)
		guest.lines++;
	else
		guest.dropped++;
	pthread_mutex_unlock(&guest.lock);
	return admitted;
}

void log_guest(enum log_level level, const char *module, const char *format, ...)
{
	uint64_t dropped;
	va_list arguments;

	if (level > log_level() || !guest_admit(&dropped))
		return;
	if (dropped)
		log_line(level, "log", "%llu lines that the guest caused were left out",
			 (unsigned long long)dropped);
	va_start(arguments, format);
	emit_formatted(level, module, format, arguments);
	va_end(arguments);
}
