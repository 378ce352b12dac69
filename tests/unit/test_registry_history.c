#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "registry/registry.h"
#include "registry_bench.h"

#define WRITERS 4
#define LINES   250

static struct {
	unsigned count;
	char last[5000];
	int next[WRITERS]; /* of each writer, the number that is due */
} seen;

static void note(void *context, const char *line)
{
	json_t *object = json_loads(line, 0, NULL);
	const json_t *writer = json_object_get(object, "writer"), *number = json_object_get(object, "number");

	assert_ptr_equal(context, &seen);
	assert_true(json_is_object(object));
	seen.count++;
	snprintf(seen.last, sizeof seen.last, "%s", line);
	if (writer) {
		assert_in_range(json_integer_value(writer), 0, WRITERS - 1);
		assert_int_equal(json_integer_value(number), seen.next[json_integer_value(writer)]++);
	}
	json_decref(object);
}

static int read_back(const char *name)
{
	memset(&seen, 0, sizeof seen);
	return registry_history_read(registry, name, note, &seen, &failure);
}

static int open_history(const char *name)
{
	int fd = -1;

	assert_ok(registry_history_open(registry, name, &fd, &failure));
	return fd;
}

static void put(const char *file, const char *bytes, size_t length, bool append)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof path, "%s/history/%s", root, file);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

static void grow(const char *file, off_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/history/%s", root, file);
	assert_int_equal(truncate(path, size), 0);
}

static void what_was_done_is_read_in_order(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(read_back("web"), -ENOENT);
	assert_int_equal(failure.kind, ERROR_NOT_FOUND);
	fd = open_history("web");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_ok(registry_history_add(fd, "created", NULL, &failure));
	assert_ok(registry_history_add(fd, "set", "{\"memory\": \"1G\", \"event\": \"not this\"}", &failure));
	close(fd);
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 2);
	assert_non_null(strstr(seen.last, "\"event\":\"set\",\"memory\":\"1G\"}"));
	assert_memory_equal(seen.last, "{\"time\":\"20", 11);
	assert_int_equal(strcspn(seen.last, "Z"), strlen("{\"time\":\"2026-11-21T15:04:05.123"));
}

static void a_removed_machine_keeps_its_history(void **state)
{
	struct record record = {0};
	int fd;

	(void)state;
	assert_ok(registry_create(registry, "web", "", 0, &record, &failure));
	fd = open_history("web");
	assert_ok(registry_history_add(fd, "removed", NULL, &failure));
	close(fd);
	assert_ok(registry_remove(registry, "web", &failure));
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 1);
}

static void histories_are_found_by_the_beginning_of_a_name(void **state)
{
	static const char *const machines[] = {"web", "web-two", "data", "odd.jsonl"};
	char name[REGISTRY_NAME_SIZE], (*names)[REGISTRY_NAME_SIZE];
	size_t count;

	(void)state;
	assert_int_equal(registry_history_find(registry, "w", name, &failure), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		close(open_history(machines[i]));
	put("data.jsonl.old", "", 0, false);
	assert_ok(registry_history_names(registry, &names, &count, &failure));
	assert_int_equal(count, ARRAY_SIZE(machines));
	free(names);
	assert_ok(registry_history_find(registry, "d", name, &failure));
	assert_string_equal(name, "data");
	assert_ok(registry_history_find(registry, "web", name, &failure));
	assert_string_equal(name, "web");
	assert_ok(registry_history_find(registry, "o", name, &failure));
	assert_string_equal(name, "odd.jsonl");
	assert_int_equal(registry_history_find(registry, "we", name, &failure), -ENOTUNIQ);
	assert_int_equal(registry_history_find(registry, "x", name, &failure), -ENOENT);
	assert_int_equal(registry_history_find(registry, "", name, &failure), -ENOENT);
	assert_int_equal(failure.kind, ERROR_NOT_FOUND);
}

static void details_are_checked(void **state)
{
	char details[6000];
	int fd = open_history("web");

	(void)state;
	assert_int_equal(registry_history_add(fd, "x", "no object", &failure), -EINVAL);
	assert_int_equal(registry_history_add(fd, "x", "[1]", &failure), -EINVAL);
	assert_int_equal(registry_history_add(fd, "\xff", NULL, &failure), -EINVAL);
	memset(details, 'x', sizeof details);
	memcpy(details, "{\"a\":\"", 6);
	memcpy(details + sizeof details - 3, "\"}", 3);
	assert_int_equal(registry_history_add(fd, "x", details, &failure), -EMSGSIZE);
	close(fd);
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 0);
}

static int write_lines(int writer)
{
	char details[200];
	int fd;

	for (int i = 0; i < LINES; i++) {
		snprintf(details, sizeof details, "{\"writer\": %d, \"number\": %d, \"pad\": \"%0*d\"}", writer, i, i % 90 + 1,
			 0);
		/* As verbs do: each opens it anew. */
		if (registry_history_open(registry, "web", &fd, &failure) < 0 ||
		    registry_history_add(fd, "test", details, &failure) < 0)
			return 1;
		close(fd);
	}
	return 0;
}

static void writers_do_not_mix(void **state)
{
	pid_t child[WRITERS];

	(void)state;
	for (int i = 0; i < WRITERS; i++) {
		child[i] = fork();
		assert_true(child[i] >= 0);
		if (child[i] == 0)
			_exit(write_lines(i));
	}
	for (int i = 0; i < WRITERS; i++) {
		int status;

		assert_int_equal(waitpid(child[i], &status, 0), child[i]);
		assert_int_equal(status, 0);
	}
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, WRITERS * LINES);
}

static void damage_costs_only_what_it_hit(void **state)
{
	static char lines[20000];
	int fd = open_history("web");

	(void)state;
	assert_ok(registry_history_add(fd, "first", NULL, &failure));
	put("web.jsonl", "{\"time\":\"2026", 13, true); /* cut short by a full disk */
	assert_ok(registry_history_add(fd, "second", NULL, &failure));
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 2);
	memset(lines, 'x', sizeof lines);
	lines[sizeof lines - 1] = '\n';
	put("web.jsonl", lines, sizeof lines, true); /* too long */
	put("web.jsonl", "\0\xff\n[]\n\n", 8, true);
	assert_ok(registry_history_add(fd, "third", NULL, &failure));
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 3);
	assert_non_null(strstr(seen.last, "third"));
	close(fd);
}

static void a_huge_file_does_not_hang_a_reader(void **state)
{
	int fd = open_history("web");

	(void)state;
	grow("web.jsonl", (off_t)1 << 40);
	assert_int_equal(registry_history_add(fd, "x", NULL, &failure), -EFBIG);
	put("web.jsonl", "\n{\"event\":\"end\"}\n", 17, true);
	close(fd);
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 1);
}

static void a_long_history_is_turned_over_when_no_monitor_lives(void **state)
{
	struct record record = {0};
	int fd, lock, other;

	(void)state;
	assert_ok(registry_create(registry, "web", "", 0, &record, &failure));
	assert_ok(registry_lock(registry, "web", &lock, &failure));
	fd = open_history("web");
	assert_ok(registry_history_add(fd, "old", NULL, &failure));
	grow("web.jsonl", 1 << 20);
	put("web.jsonl", "\n", 1, true);
	other = open_history("web");
	assert_ok(registry_history_add(other, "while it lives", NULL, &failure));
	close(other);
	assert_int_equal(entries_in("history"), 1);
	close(lock);
	close(fd);
	other = open_history("web");
	assert_ok(registry_history_add(other, "new", NULL, &failure));
	close(other);
	assert_int_equal(entries_in("history"), 2);
	assert_ok(read_back("web"));
	assert_int_equal(seen.count, 3);
	assert_non_null(strstr(seen.last, "new"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_registry(what_was_done_is_read_in_order),
		with_registry(a_removed_machine_keeps_its_history),
		with_registry(histories_are_found_by_the_beginning_of_a_name),
		with_registry(details_are_checked),
		with_registry(writers_do_not_mix),
		with_registry(damage_costs_only_what_it_hit),
		with_registry(a_huge_file_does_not_hang_a_reader),
		with_registry(a_long_history_is_turned_over_when_no_monitor_lives),
	};

	return cmocka_run_group_tests_name("registry-history", tests, NULL, NULL);
}
