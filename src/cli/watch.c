#include "cli/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/socket.h"
#include "control/frame.h"
#include "monitor/monitor.h"

#define CONNECT_MS 1 /* all that a monitor whose queue is full costs the others */
#define ANSWER_NS  UINT64_C(3000000000)
#define REST_NS    UINT64_C(1000000000) /* after a failure; twice as long after each further one */
#define REST_SHIFT 5

struct entry {
	struct watched seen;
	bool listed; /* in this round */

	int fd; /* connected; -1: not */
	struct frame_reader reader;
	uint8_t *request; /* what of it is not sent yet; NULL: nothing */
	size_t length, sent;
	bool asked; /* an answer is due */
	uint64_t asked_ns;
	unsigned failures;
	uint64_t rest_until_ns;
};

struct watch {
	struct registry *registry;
	char (*names)[REGISTRY_NAME_SIZE];
	size_t name_count;
	struct entry **entries; /* by name */
	size_t count;
};

static void disconnect(struct entry *entry)
{
	if (entry->fd >= 0)
		close(entry->fd);
	entry->fd = -1;
	frame_reader_finish(&entry->reader);
	free(entry->request);
	entry->request = NULL;
	entry->asked = false;
}

static void entry_free(struct entry *entry)
{
	disconnect(entry);
	json_decref(entry->seen.before);
	json_decref(entry->seen.now);
	free(entry);
}

static void failed(struct entry *entry, const char *why)
{
	disconnect(entry);
	snprintf(entry->seen.trouble, sizeof entry->seen.trouble, "%.159s", why);
	entry->rest_until_ns = clock_host_ns() + (REST_NS << entry->failures);
	entry->failures += entry->failures < REST_SHIFT;
}

static int connect_to(struct watch *watch, struct entry *entry)
{
	int folder, r = registry_folder(watch->registry, entry->seen.record.name, &folder, NULL);

	if (r < 0)
		return r;
	r = socket_connect_at(folder, MONITOR_CONTROL, CONNECT_MS, &entry->fd);
	close(folder);
	if (r == 0 && fcntl(entry->fd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	return r;
}

static void send_more(struct entry *entry)
{
	while (entry->request && entry->sent < entry->length) {
		ssize_t count = frame_send(entry->fd, entry->request + entry->sent, entry->length - entry->sent,
					   -1);

		if (count == -EAGAIN)
			return;
		if (count < 0) {
			failed(entry, "its monitor has ended");
			return;
		}
		entry->sent += (size_t)count;
	}
	free(entry->request);
	entry->request = NULL;
}

static void ask(struct watch *watch, struct entry *entry)
{
	json_t *call;
	int r = 0;

	if (entry->asked || entry->seen.record.monitor == 0 || clock_host_ns() < entry->rest_until_ns)
		return;
	if (entry->fd < 0 && connect_to(watch, entry) < 0) {
		failed(entry, "its monitor can not be reached");
		return;
	}
	call = json_pack("{s:s, s:{}}", "call", "statistics", "with");
	r = call ? frame_make(call, &entry->request, &entry->length) : -ENOMEM;
	json_decref(call);
	if (r < 0) {
		failed(entry, "there is no memory");
		return;
	}
	entry->sent = 0;
	entry->asked = true;
	entry->asked_ns = clock_host_ns();
	send_more(entry);
}

/* `answer` is taken. */
static void take_answer(struct entry *entry, json_t *answer)
{
	json_t *result = json_object_get(answer, "result");
	struct watched *seen = &entry->seen;
	struct error e = {.message = "its monitor answers nonsense"};

	if (json_is_object(result)) {
		json_decref(seen->before);
		seen->before = seen->now;
		seen->now = json_incref(result);
		seen->trouble[0] = '\0';
		entry->asked = false;
		entry->failures = 0;
	} else {
		(void)frame_to_error(answer, &e);
		failed(entry, e.message);
	}
	json_decref(answer);
}

static void receive(struct entry *entry)
{
	struct error e = {.message = ""};
	json_t *answer;
	int passed, r = frame_read(&entry->reader, entry->fd, &answer, &passed, &e);

	if (r == 0)
		return;
	if (r < 0) {
		failed(entry, r == -EPROTO ? "its monitor answers nonsense" : "its monitor has ended");
		return;
	}
	if (passed >= 0)
		close(passed);
	take_answer(entry, answer);
}

static int find_names(struct watch *watch, const char *const *names, size_t count, struct error *e)
{
	int r = 0;

	watch->names = calloc(count + 1, sizeof *watch->names);
	if (!watch->names)
		return error_errno(e, -ENOMEM, "the names of machines");
	for (size_t i = 0; r == 0 && i < count; i++)
		r = registry_find(watch->registry, names[i], watch->names[i], e);
	watch->name_count = count;
	return r;
}

/* A descriptor a machine: as many as this process may have. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int watch_new(struct watch **out, const char *const *names, size_t count, struct error *e)
{
	struct watch *watch = calloc(1, sizeof *watch);
	int r;

	if (!watch)
		return error_errno(e, -ENOMEM, "a look at machines");
	allow_descriptors();
	r = registry_open(&watch->registry, e);
	if (r == 0)
		r = find_names(watch, names, count, e);
	if (r < 0)
		watch_free(watch);
	else
		*out = watch;
	return r;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	for (size_t i = 0; i < watch->count; i++)
		entry_free(watch->entries[i]);
	free(watch->entries);
	free(watch->names);
	registry_close(watch->registry);
	free(watch);
}

static struct entry *find(const struct watch *watch, const char *name)
{
	for (size_t i = 0; i < watch->count; i++)
		if (strcmp(watch->entries[i]->seen.record.name, name) == 0)
			return watch->entries[i];
	return NULL;
}

static bool is_wanted(const struct watch *watch, const struct record *record)
{
	for (size_t i = 0; i < watch->name_count; i++)
		if (strcmp(watch->names[i], record->name) == 0)
			return true;
	return watch->name_count == 0 && record->monitor != 0;
}

static int add_entry(struct watch *watch, const struct record *record, struct error *e)
{
	struct entry **entries = reallocarray(watch->entries, watch->count + 1, sizeof *entries);
	struct entry *entry = entries ? calloc(1, sizeof *entry) : NULL;

	watch->entries = entries ? entries : watch->entries;
	if (!entry)
		return error_errno(e, -ENOMEM, "a machine");
	entry->seen.record = *record;
	entry->fd = -1;
	entry->listed = true;
	watch->entries[watch->count++] = entry;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct entry *const *x = a, *const *y = b;

	return strcmp((*x)->seen.record.name, (*y)->seen.record.name);
}

/* Machines come and go. */
static int list(struct watch *watch, struct error *e)
{
	struct record *records = NULL;
	size_t count = 0, kept = 0;
	int r = registry_list(watch->registry, &records, &count, e);

	for (size_t i = 0; i < watch->count; i++)
		watch->entries[i]->listed = false;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct entry *entry = is_wanted(watch, &records[i]) ? find(watch, records[i].name) : NULL;

		if (entry) {
			entry->seen.record = records[i];
			entry->listed = true;
		} else if (is_wanted(watch, &records[i])) {
			r = add_entry(watch, &records[i], e);
		}
	}
	free(records);
	for (size_t i = 0; i < watch->count; i++) {
		if (watch->entries[i]->listed)
			watch->entries[kept++] = watch->entries[i];
		else
			entry_free(watch->entries[i]);
	}
	watch->count = kept;
	qsort(watch->entries, kept, sizeof *watch->entries, compare);
	return r;
}

static void give_up_old(struct watch *watch)
{
	for (size_t i = 0; i < watch->count; i++) {
		struct entry *entry = watch->entries[i];

		if (entry->asked && clock_host_ns() - entry->asked_ns > ANSWER_NS)
			failed(entry, "its monitor does not answer");
	}
}

/* Who is to be polled for, into `fds` and `polled`; how many. */
static size_t under_way(const struct watch *watch, struct pollfd *fds, struct entry **polled)
{
	size_t count = 0;

	for (size_t i = 0; i < watch->count; i++) {
		struct entry *entry = watch->entries[i];

		if (!entry->asked)
			continue;
		polled[count] = entry;
		fds[count++] = (struct pollfd){.fd = entry->fd,
					       .events = (short)(POLLIN | (entry->request ? POLLOUT : 0))};
	}
	return count;
}

static void serve(struct pollfd *fds, struct entry **polled, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fds[i].revents & POLLOUT)
			send_more(polled[i]);
		if (polled[i]->asked && fds[i].revents & ~POLLOUT)
			receive(polled[i]);
	}
}

static int collect(struct watch *watch, unsigned patience_ms, struct error *e)
{
	struct pollfd *fds = calloc(watch->count + 1, sizeof *fds);
	struct entry **polled = calloc(watch->count + 1, sizeof *polled);
	uint64_t deadline = clock_host_ns() + patience_ms * NS_PER_MS, now;
	size_t count;
	int r = fds && polled ? 0 : error_errno(e, -ENOMEM, "a look at machines");

	while (r == 0 && (count = under_way(watch, fds, polled)) && (now = clock_host_ns()) < deadline)
		if (poll(fds, count, (int)((deadline - now + NS_PER_MS - 1) / NS_PER_MS)) > 0)
			serve(fds, polled, count);
	free(fds);
	free(polled);
	return r;
}

int watch_round(struct watch *watch, unsigned patience_ms, struct error *e)
{
	int r = list(watch, e);

	if (r < 0)
		return r;
	give_up_old(watch);
	for (size_t i = 0; i < watch->count; i++)
		ask(watch, watch->entries[i]);
	r = collect(watch, patience_ms, e);
	for (size_t i = 0; i < watch->count; i++)
		if (watch->entries[i]->asked && !watch->entries[i]->seen.trouble[0])
			snprintf(watch->entries[i]->seen.trouble, sizeof watch->entries[i]->seen.trouble,
				 "its monitor takes long to answer");
	return r;
}

size_t watch_count(const struct watch *watch)
{
	return watch->count;
}

const struct watched *watch_machine(const struct watch *watch, size_t index)
{
	return &watch->entries[index]->seen;
}
