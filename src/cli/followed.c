#include "cli/followed.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/client.h"
#include "monitor/monitor.h"
#include "registry/registry.h"

#define PATIENCE_MS 10000
/* A socket is seen in its folder a moment before somebody listens at it. */
#define RETRY_MS    20
#define RETRIES     50

struct one {
	char name[REGISTRY_NAME_SIZE];
	int watch;                     /* of its folder */
	struct control_client *client; /* NULL: it has no monitor */
	pid_t monitor;                 /* of the client */
	unsigned retries;              /* left; 0: it is not tried again before its folder changes */
	bool removed;                  /* it is forgotten when its monitor has said all */
};

struct followed {
	struct registry *registry;
	bool all;
	int inotify;
	int machines; /* the watch of the folder of all machines; -1 when they are not all followed */
	struct one *ones;
	struct pollfd *polled; /* [0] is inotify, [1 + i] belongs to ones[i] */
	size_t count, next;    /* `next`: where to look first, so that none waits for ever */
};

static int subscribe(struct followed *followed, struct one *one, struct error *e)
{
	int folder, r = registry_folder(followed->registry, one->name, &folder, e);
	struct record record;

	if (r < 0)
		return r;
	r = control_connect(&one->client, folder, MONITOR_CONTROL, e);
	close(folder);
	if (r == 0)
		r = control_request(one->client, "events", NULL, PATIENCE_MS, NULL, NULL, e);
	if (r < 0) {
		control_close(one->client);
		one->client = NULL;
		return r;
	}
	one->monitor = registry_record(followed->registry, one->name, &record, NULL) == 0 ? record.monitor : 0;
	one->retries = 0;
	return 0;
}

static bool is_known(const struct followed *followed, const char *name)
{
	for (size_t i = 0; i < followed->count; i++)
		if (strcmp(followed->ones[i].name, name) == 0)
			return true;
	return false;
}

/* Whether it has a monitor is seen later. */
static int add(struct followed *followed, const char *name, struct error *e)
{
	struct one *ones = realloc(followed->ones, (followed->count + 1) * sizeof *ones);
	struct pollfd *polled;
	char path[PATH_MAX];

	if (!ones)
		return error_errno(e, -ENOMEM, "events");
	followed->ones = ones;
	polled = realloc(followed->polled, (followed->count + 2) * sizeof *polled);
	if (!polled)
		return error_errno(e, -ENOMEM, "events");
	followed->polled = polled;
	ones[followed->count] = (struct one){.retries = 1};
	snprintf(ones[followed->count].name, sizeof ones->name, "%s", name);
	registry_folder_path(followed->registry, name, path);
	ones[followed->count].watch = inotify_add_watch(followed->inotify, path, IN_CREATE);
	if (ones[followed->count].watch < 0 && errno == ENOENT) /* gone again */
		return 0;
	if (ones[followed->count].watch < 0)
		return error_errno(e, -errno, "following %s", name);
	followed->count++;
	return 0;
}

static int add_all(struct followed *followed, struct error *e)
{
	struct record *records;
	size_t count;
	int r = registry_list(followed->registry, &records, &count, e);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++)
		if (!is_known(followed, records[i].name))
			r = add(followed, records[i].name, e);
	free(records);
	return r;
}

static int watch_all(struct followed *followed, struct error *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/machines", registry_root(followed->registry));
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_errno(e, -errno, "following %s", path);
	followed->machines = inotify_add_watch(followed->inotify, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
	if (followed->machines < 0)
		return error_errno(e, -errno, "following %s", path);
	return add_all(followed, e);
}

static int begin(struct followed *followed, const char *const *names, size_t count, struct error *e)
{
	char name[REGISTRY_NAME_SIZE];
	int r = registry_open(&followed->registry, e);

	if (r < 0)
		return r;
	followed->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (followed->inotify < 0)
		return error_errno(e, -errno, "events");
	if (count == 0)
		return watch_all(followed, e);
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = registry_find(followed->registry, names[i], name, e);
		if (r == 0 && !is_known(followed, name))
			r = add(followed, name, e);
	}
	return r;
}

int followed_new(struct followed **out, const char *const *names, size_t count, struct error *e)
{
	struct followed *followed = calloc(1, sizeof *followed);
	int r;

	if (!followed)
		return error_errno(e, -ENOMEM, "events");
	followed->inotify = followed->machines = -1;
	followed->all = count == 0;
	followed->polled = calloc(1, sizeof *followed->polled);
	r = followed->polled ? begin(followed, names, count, e) : error_errno(e, -ENOMEM, "events");
	if (r < 0)
		followed_free(followed);
	else
		*out = followed;
	return r;
}

void followed_free(struct followed *followed)
{
	if (!followed)
		return;
	for (size_t i = 0; i < followed->count; i++)
		control_close(followed->ones[i].client);
	if (followed->inotify >= 0)
		close(followed->inotify);
	free(followed->ones);
	free(followed->polled);
	registry_close(followed->registry);
	free(followed);
}

static void socket_appeared(struct followed *followed, int watch)
{
	for (size_t i = 0; i < followed->count; i++)
		if (followed->ones[i].watch == watch && !followed->ones[i].client)
			followed->ones[i].retries = RETRIES;
}

static void folder_vanished(struct followed *followed, int watch)
{
	for (size_t i = 0; i < followed->count; i++)
		if (followed->ones[i].watch == watch)
			followed->ones[i].removed = true;
}

/* Another machine of that name is a new one. */
static bool forget_removed(struct followed *followed)
{
	size_t kept = 0, before = followed->count;

	for (size_t i = 0; i < before; i++)
		if (!followed->ones[i].removed || followed->ones[i].client)
			followed->ones[kept++] = followed->ones[i];
	followed->count = kept;
	return kept < before;
}

/* What changed in folders: new machines, new sockets. */
static int look_around(struct followed *followed, struct error *e)
{
	char bytes[16 * KIB] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t length;
	bool more = false;

	while ((length = read(followed->inotify, bytes, sizeof bytes)) > 0) {
		const struct inotify_event *event;

		for (char *at = bytes; at < bytes + length; at += sizeof *event + event->len) {
			event = (const struct inotify_event *)at;
			if (event->wd == followed->machines || event->mask & IN_Q_OVERFLOW)
				more = true;
			else if (event->mask & IN_IGNORED)
				folder_vanished(followed, event->wd);
			else if (event->len && strcmp(event->name, MONITOR_CONTROL) == 0)
				socket_appeared(followed, event->wd);
		}
	}
	return more && followed->all ? add_all(followed, e) : 0;
}

/* Of a process that is just ending the connection may end a moment before its lock is free. */
static bool lives(const struct followed *followed, const struct one *one)
{
	struct record record;

	for (unsigned i = 0; one->monitor && i < RETRIES; i++) {
		if (registry_record(followed->registry, one->name, &record, NULL) < 0 || record.monitor != one->monitor)
			return false;
		usleep(RETRY_MS * 1000);
	}
	return one->monitor != 0;
}

/* A machine that ended closes its events, too. */
static int closed(struct followed *followed, struct one *one, struct error *e)
{
	control_close(one->client);
	one->client = NULL;
	if (lives(followed, one))
		return error_set(e, ERROR_FAILED, -EPIPE,
				 "the events of %s came faster than they were taken; doppel history %s has them all", one->name,
				 one->name);
	one->retries = RETRIES; /* it may have been started again already */
	return 0;
}

/* 0: an event; -EAGAIN: none now. */
static int take(struct followed *followed, json_t **event, struct error *e)
{
	for (size_t i = 0; i < followed->count; i++) {
		size_t index = (followed->next + i) % followed->count;
		struct one *one = &followed->ones[index];
		int r = one->client ? control_next(one->client, 0, event, e) : -ETIMEDOUT;

		if (r == 0) {
			followed->next = index + 1;
			return 0;
		}
		if (r != -ETIMEDOUT)
			r = closed(followed, one, e);
		else
			r = 0;
		if (r < 0)
			return r;
	}
	return -EAGAIN;
}

/* Whether some are to be tried again soon. */
static bool connect_new(struct followed *followed)
{
	bool some = false;

	for (size_t i = 0; i < followed->count; i++) {
		struct one *one = &followed->ones[i];

		if (one->client || !one->retries)
			continue;
		one->retries--;
		if (subscribe(followed, one, NULL) < 0)
			some = some || one->retries;
	}
	return some;
}

static int wait_for_more(struct followed *followed, int timeout_ms, struct error *e)
{
	followed->polled[0] = (struct pollfd){.fd = followed->inotify, .events = POLLIN};
	for (size_t i = 0; i < followed->count; i++) {
		const struct control_client *client = followed->ones[i].client;

		followed->polled[1 + i] = (struct pollfd){
			.fd = client ? control_descriptor(client) : -1,
			.events = POLLIN,
		};
	}
	if (poll(followed->polled, followed->count + 1, timeout_ms) < 0 && errno != EINTR)
		return error_errno(e, -errno, "waiting for events");
	return 0;
}

int followed_next(struct followed *followed, json_t **event, struct error *e)
{
	for (;;) {
		bool soon;
		int r = 0;

		/* One that was made meanwhile with the name of a removed one was known until now. */
		if (forget_removed(followed) && followed->all)
			r = add_all(followed, e);
		if (r == 0 && followed->count == 0 && !followed->all)
			return error_set(e, ERROR_NOT_FOUND, -ENODATA, "all machines that were followed are removed");
		soon = connect_new(followed);
		if (r == 0)
			r = take(followed, event, e);
		if (r != -EAGAIN)
			return r;
		r = wait_for_more(followed, soon ? RETRY_MS : -1, e);
		if (r == 0)
			r = look_around(followed, e);
		if (r < 0)
			return r;
	}
}
