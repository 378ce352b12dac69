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

#include "registry/registry.h"
#include "registry_bench.h"

static const char document[] = "image: debian-tiny\n";

static int create(const char *name)
{
	struct record record = {.image = "debian-tiny", .memory_bytes = 256 * MIB, .cpus = 2};

	return registry_create(registry, name, document, strlen(document), &record, &failure);
}

static void root_follows_the_environment(void **state)
{
	(void)state;
	assert_string_equal(registry_root(registry), root);
}

static void a_machine_is_made_read_and_removed(void **state)
{
	char path[PATH_MAX], folder[PATH_MAX];
	struct record record;

	(void)state;
	assert_ok(create("web"));
	registry_path(registry, "web", "machine.yaml", path);
	assert_file(path, document);
	*strrchr(path, '/') = '\0';
	registry_folder_path(registry, "web", folder);
	assert_string_equal(folder, path);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_string_equal(record.name, "web");
	assert_int_equal(record.state, MACHINE_CREATED);
	assert_string_equal(record.image, "debian-tiny");
	assert_int_equal(record.memory_bytes, 256 * MIB);
	assert_int_equal(record.cpus, 2);
	assert_int_equal(record.monitor, 0);
	assert_in_range(time(NULL) - record.created_s, 0, 3600);
	assert_int_equal(create("web"), -EEXIST);
	assert_int_equal(failure.kind, ERROR_STATE);
	assert_ok(registry_remove(registry, "web", &failure));
	assert_int_equal(registry_record(registry, "web", &record, &failure), -ENOENT);
	assert_int_equal(entries_in("machines"), 0);
}

static void only_the_folder_that_is_meant_is_removed(void **state)
{
	struct record record;
	int old, now;

	(void)state;
	assert_ok(create("web"));
	assert_ok(registry_folder(registry, "web", &old, &failure));
	assert_ok(registry_remove_folder(registry, "web", old, &failure));
	assert_int_equal(registry_remove_folder(registry, "web", old, &failure), -ENOENT);
	assert_ok(create("web"));
	assert_int_equal(registry_remove_folder(registry, "web", old, &failure), -ENOENT);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_ok(registry_folder(registry, "web", &now, &failure));
	assert_ok(registry_remove_folder(registry, "web", now, &failure));
	assert_int_equal(entries_in("machines"), 0);
	close(old);
	close(now);
}

static void names_are_found_by_their_beginning(void **state)
{
	char name[REGISTRY_NAME_SIZE] = "untouched";

	(void)state;
	assert_ok(create("web"));
	assert_ok(create("web-two"));
	assert_ok(create("data"));
	assert_ok(registry_find(registry, "d", name, &failure));
	assert_string_equal(name, "data");
	assert_ok(registry_find(registry, "web", name, &failure));
	assert_string_equal(name, "web");
	assert_ok(registry_find(registry, "web-", name, &failure));
	assert_string_equal(name, "web-two");
	assert_int_equal(registry_find(registry, "we", name, &failure), -ENOTUNIQ);
	assert_int_equal(failure.kind, ERROR_USAGE);
	assert_non_null(strstr(failure.message, "web, web-two"));
	assert_int_equal(registry_find(registry, "dtaa", name, &failure), -ENOENT);
	assert_int_equal(failure.kind, ERROR_NOT_FOUND);
	assert_non_null(strstr(failure.message, "data"));
	assert_int_equal(registry_find(registry, "../machines/web", name, &failure), -ENOENT);
	assert_int_equal(registry_find(registry, "", name, &failure), -ENOENT);
	assert_string_equal(name, "web-two");
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void a_move_is_noted_with_all_that_is_known(void **state)
{
	static const struct registry_move moves[] = {
		{.gone = false, .late = false, .token = "0123456789abcdef0123456789abcdef", .to = "there"},
		{.gone = false, .late = true, .token = "0", .to = "unix:/run/there"},
		{.gone = true, .late = true, .token = "1", .to = "there:1"},
		{.gone = true, .late = false, .token = "2", .to = "there:2"},
	};
	struct registry_move found;
	char path[PATH_MAX];
	int folder;

	(void)state;
	assert_ok(create("web"));
	assert_ok(registry_folder(registry, "web", &folder, &failure));
	assert_int_equal(registry_read_move(folder, &found, &failure), 0);
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		assert_ok(registry_write_move(folder, &moves[i], &failure));
		assert_int_equal(registry_read_move(folder, &found, &failure), 1);
		assert_int_equal(found.gone, moves[i].gone);
		assert_int_equal(found.late, moves[i].late);
		assert_string_equal(found.token, moves[i].token);
		assert_string_equal(found.to, moves[i].to);
		assert_int_equal(registry_refuse_moved("web", folder, &failure), -EBUSY);
	}
	registry_path(registry, "web", "move.json", path);
	write_file(path, "{\"version\": 1, \"state\": \"later\", \"token\": \"0\", \"to\": \"there\"}");
	assert_int_equal(registry_read_move(folder, &found, &failure), -EBADMSG);
	assert_ok(registry_clear_move(folder, &failure));
	assert_int_equal(registry_read_move(folder, &found, &failure), 0);
	close(folder);
	assert_ok(registry_remove(registry, "web", &failure));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_registry(root_follows_the_environment),
		with_registry(a_machine_is_made_read_and_removed),
		with_registry(only_the_folder_that_is_meant_is_removed),
		with_registry(names_are_found_by_their_beginning),
		with_registry(a_move_is_noted_with_all_that_is_known),
	};

	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
