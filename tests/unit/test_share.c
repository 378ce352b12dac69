/*
 * The shared folder's server: FUSE requests as a guest would send them, honest ones and others. A folder "out" beside
 * the shared one holds a secret that no request may reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "share/server.h"
#include "wall/wall.h"

#define SECRET "not for the guest"

static char base[] = "/tmp/doppel-test-share-XXXXXX";
static struct server server;

/* The last request's reply. */
static _Alignas(8) uint8_t message[SHARE_MESSAGE_MAX], reply[SHARE_MESSAGE_MAX];
static size_t message_length, reply_length;

static const char *in_base(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", base, name);
	return path;
}

static void put_file(const char *name, const char *text)
{
	FILE *file = fopen(in_base(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void begin(uint32_t opcode, uint64_t node)
{
	struct fuse_in_header in = {.opcode = opcode, .unique = 7, .nodeid = node, .uid = 0, .gid = 0};

	memcpy(message, &in, sizeof in);
	message_length = sizeof in;
}

static void add(const void *bytes, size_t length)
{
	memcpy(message + message_length, bytes, length);
	message_length += length;
}

static void add_name(const char *name)
{
	add(name, strlen(name) + 1);
}

/* Sends what was put together, with `room` bytes for the reply's body; the error that came back. */
static int ask_room(size_t room)
{
	struct fuse_in_header *in = (void *)message;
	struct fuse_out_header *out = (void *)reply;

	in->len = (uint32_t)message_length;
	reply_length = server_serve(&server, message, message_length, reply, sizeof *out + room);
	assert_in_range(reply_length, sizeof *out, sizeof *out + room);
	assert_int_equal(out->len, reply_length);
	assert_int_equal(out->unique, 7);
	if (out->error)
		assert_int_equal(reply_length, sizeof *out);
	return out->error;
}

static int ask(void)
{
	return ask_room(sizeof reply - sizeof(struct fuse_out_header));
}

static const void *body(void)
{
	return reply + sizeof(struct fuse_out_header);
}

static int try_lookup(uint64_t directory, const char *name, uint64_t *node)
{
	int r;

	*node = 0;
	begin(FUSE_LOOKUP, directory);
	add_name(name);
	r = ask();
	if (r == 0)
		*node = ((const struct fuse_entry_out *)body())->nodeid;
	return r;
}

static uint64_t lookup(uint64_t directory, const char *name)
{
	uint64_t node = 0;

	assert_int_equal(try_lookup(directory, name, &node), 0);
	return node;
}

static int try_open(uint64_t node, uint32_t flags, uint64_t *handle)
{
	struct fuse_open_in in = {.flags = flags};
	int r;

	*handle = 0;
	begin(FUSE_OPEN, node);
	add(&in, sizeof in);
	r = ask();
	if (r == 0)
		*handle = ((const struct fuse_open_out *)body())->fh;
	return r;
}

static int read_at(uint64_t handle, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = {.fh = handle, .offset = offset, .size = size};

	begin(FUSE_READ, NODE_ROOT);
	add(&in, sizeof in);
	return ask();
}

static int write_at(uint64_t handle, uint64_t offset, const char *text)
{
	struct fuse_write_in in = {.fh = handle, .offset = offset, .size = (uint32_t)strlen(text)};

	begin(FUSE_WRITE, NODE_ROOT);
	add(&in, sizeof in);
	add(text, strlen(text));
	return ask();
}

static int create(uint64_t directory, const char *name, uint32_t mode, uint64_t *node, uint64_t *handle)
{
	struct fuse_create_in in = {.flags = O_RDWR, .mode = mode};
	int r;

	*node = *handle = 0;
	begin(FUSE_CREATE, directory);
	add(&in, sizeof in);
	add_name(name);
	r = ask();
	if (r == 0) {
		*node = ((const struct fuse_entry_out *)body())->nodeid;
		*handle = ((const struct fuse_open_out *)((const struct fuse_entry_out *)body() + 1))->fh;
	}
	return r;
}

static void start_server(bool read_only)
{
	int root = open(in_base("in"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(root >= 0 && proc >= 0);
	assert_int_equal(server_init(&server, root, proc, read_only), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(base + sizeof base - 7, "XXXXXX");
	assert_non_null(mkdtemp(base));
	assert_int_equal(mkdir(in_base("in"), 0755), 0);
	assert_int_equal(mkdir(in_base("in/folder"), 0755), 0);
	assert_int_equal(mkdir(in_base("out"), 0755), 0);
	put_file("in/hello", "hello, guest");
	put_file("in/folder/deep", "deep");
	put_file("out/secret", SECRET);
	assert_int_equal(symlink("../out/secret", in_base("in/link")), 0);
	assert_int_equal(symlink("/etc", in_base("in/folder-link")), 0);
	assert_int_equal(mkfifo(in_base("in/fifo"), 0666), 0);
	start_server(false);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	server_finish(&server);
	snprintf(command, sizeof command, "rm -rf %s", base);
	return system(command);
}

static void files_are_read(void **state)
{
	uint64_t handle, deep = lookup(lookup(NODE_ROOT, "folder"), "deep");

	(void)state;
	assert_int_equal(try_open(lookup(NODE_ROOT, "hello"), O_RDONLY, &handle), 0);
	assert_int_equal(read_at(handle, 7, 100), 0);
	assert_int_equal(reply_length - sizeof(struct fuse_out_header), 5);
	assert_memory_equal(body(), "guest", 5);
	assert_int_equal(try_open(deep, O_RDONLY, &handle), 0);
	assert_int_equal(read_at(handle, 0, 2), 0);
	assert_memory_equal(body(), "de", 2);
}

static void files_are_written(void **state)
{
	uint64_t node, handle;
	char text[16] = "";
	int fd;

	(void)state;
	assert_int_equal(create(NODE_ROOT, "new", S_IFREG | 04755, &node, &handle), 0);
	assert_int_equal(write_at(handle, 2, "abc"), 0);
	assert_int_equal(((const struct fuse_write_out *)body())->size, 3);
	fd = open(in_base("in/new"), O_RDONLY);
	assert_int_equal(read(fd, text, sizeof text), 5);
	close(fd);
	assert_memory_equal(text, "\0\0abc", 5);
}

static void set_user_id_is_never_set(void **state)
{
	struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = S_IFREG | 06755};
	uint64_t node, handle;
	struct stat stat_of;

	(void)state;
	assert_int_equal(create(NODE_ROOT, "new", S_IFREG | 06755, &node, &handle), 0);
	assert_int_equal(stat(in_base("in/new"), &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 07777, 0755);
	begin(FUSE_SETATTR, node);
	add(&in, sizeof in);
	assert_int_equal(ask(), 0);
	assert_int_equal(stat(in_base("in/new"), &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 07777, 0755);
}

static void no_name_leads_out(void **state)
{
	static const char *const names[] = {"..", ".", "../out", "../out/secret", "/etc/passwd", "folder/deep", "", "a/b"};
	uint64_t node, handle;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_not_equal(try_lookup(NODE_ROOT, names[i], &node), 0);
		assert_int_not_equal(create(NODE_ROOT, names[i], 0644, &node, &handle), 0);
	}
	begin(FUSE_LOOKUP, NODE_ROOT);
	add("hello", 5); /* not terminated */
	assert_int_equal(ask(), -EINVAL);
}

static void links_are_not_followed(void **state)
{
	uint64_t node = lookup(NODE_ROOT, "link"), folder = lookup(NODE_ROOT, "folder-link"), other, handle;

	(void)state;
	assert_int_equal(try_open(node, O_RDONLY, &handle), -ENXIO);
	assert_int_equal(try_lookup(folder, "passwd", &other), -ENOTDIR);
	begin(FUSE_OPENDIR, folder);
	add(&(struct fuse_open_in){.flags = O_RDONLY}, sizeof(struct fuse_open_in));
	assert_int_equal(ask(), -ENOTDIR);
	assert_int_not_equal(create(NODE_ROOT, "link", 0644, &other, &handle), 0);
	begin(FUSE_READLINK, node);
	assert_int_equal(ask(), 0);
	assert_memory_equal(body(), "../out/secret", 13);
}

/* The host swaps a folder that the guest knows for a link, and moves it out: names still do not lead anywhere else. */
static void a_moved_folder_stays_itself(void **state)
{
	uint64_t folder = lookup(NODE_ROOT, "folder"), node;
	char from[256], to[256];

	(void)state;
	snprintf(from, sizeof from, "%s/in/folder", base);
	snprintf(to, sizeof to, "%s/out/folder", base);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(symlink("../out", from), 0);
	assert_int_equal(try_lookup(folder, "secret", &node), -ENOENT);
	assert_int_equal(try_lookup(folder, "..", &node), -EPERM);
	assert_int_equal(try_lookup(lookup(NODE_ROOT, "folder"), "secret", &node), -ENOTDIR);
}

static void special_files_are_not_opened_nor_made(void **state)
{
	struct fuse_mknod_in in = {.mode = S_IFCHR | 0666, .rdev = 0x103};
	uint64_t handle;

	(void)state;
	assert_int_equal(try_open(lookup(NODE_ROOT, "fifo"), O_RDONLY, &handle), -ENXIO);
	begin(FUSE_MKNOD, NODE_ROOT);
	add(&in, sizeof in);
	add_name("null");
	assert_int_equal(ask(), -EPERM);
}

static void wrong_numbers_are_refused(void **state)
{
	static const uint64_t numbers[] = {0, 2, 63, 64, 1u << 20, UINT32_MAX, UINT64_MAX};
	uint64_t node;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		assert_int_equal(try_lookup(numbers[i], "hello", &node), -ESTALE);
		assert_int_equal(read_at(numbers[i], 0, 10), -EBADF);
	}
}

static void forgotten_nodes_are_gone(void **state)
{
	struct fuse_forget_in in = {.nlookup = 1};
	uint64_t node = lookup(NODE_ROOT, "hello"), handle;

	(void)state;
	assert_int_equal(lookup(NODE_ROOT, "hello"), node);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(try_open(node, O_RDONLY, &handle), 0);
		begin(FUSE_FORGET, node);
		add(&in, sizeof in);
		((struct fuse_in_header *)message)->len = (uint32_t)message_length;
		assert_int_equal(server_serve(&server, message, message_length, reply, sizeof reply), 0);
	}
	assert_int_equal(try_open(node, O_RDONLY, &handle), -ESTALE);
	/* The number may come again, the pair with its generation does not. */
	begin(FUSE_LOOKUP, NODE_ROOT);
	add_name("hello");
	assert_int_equal(ask(), 0);
	assert_int_equal(((const struct fuse_entry_out *)body())->nodeid, node);
	assert_int_equal(((const struct fuse_entry_out *)body())->generation, 2);
}

static void a_read_only_share_changes_nothing(void **state)
{
	uint64_t node, handle, hello;

	(void)state;
	server_finish(&server);
	start_server(true);
	hello = lookup(NODE_ROOT, "hello");
	assert_int_equal(try_open(hello, O_RDWR, &handle), -EROFS);
	assert_int_equal(try_open(hello, O_RDONLY | O_TRUNC, &handle), -EROFS);
	assert_int_equal(create(NODE_ROOT, "new", 0644, &node, &handle), -EROFS);
	begin(FUSE_UNLINK, NODE_ROOT);
	add_name("hello");
	assert_int_equal(ask(), -EROFS);
	assert_int_equal(access(in_base("in/hello"), F_OK), 0);
}

static unsigned count_entries(size_t room)
{
	uint64_t handle, offset = 0;
	unsigned count = 0;

	begin(FUSE_OPENDIR, NODE_ROOT);
	add(&(struct fuse_open_in){.flags = O_RDONLY}, sizeof(struct fuse_open_in));
	assert_int_equal(ask(), 0);
	handle = ((const struct fuse_open_out *)body())->fh;
	for (;;) {
		struct fuse_read_in in = {.fh = handle, .offset = offset, .size = (uint32_t)room};
		const uint8_t *at, *end;

		begin(FUSE_READDIR, NODE_ROOT);
		add(&in, sizeof in);
		assert_int_equal(ask(), 0);
		at = body();
		end = reply + reply_length;
		if (at == end)
			return count;
		for (; at < end; count++) {
			const struct fuse_dirent *entry = (const void *)at;

			offset = entry->off;
			at += FUSE_DIRENT_SIZE(entry);
		}
		assert_ptr_equal(at, end);
	}
}

static void folders_are_listed(void **state)
{
	(void)state;
	/* ".", "..", hello, folder, link, folder-link, fifo; in one go and piece by piece. */
	assert_int_equal(count_entries(4096), 7);
	assert_int_equal(count_entries(64), 7);
}

static void listing_with_attributes_counts_lookups(void **state)
{
	struct fuse_read_in in = {.size = 4096};
	uint64_t handle;

	(void)state;
	begin(FUSE_OPENDIR, NODE_ROOT);
	add(&(struct fuse_open_in){.flags = O_RDONLY}, sizeof(struct fuse_open_in));
	assert_int_equal(ask(), 0);
	handle = ((const struct fuse_open_out *)body())->fh;
	in.fh = handle;
	begin(FUSE_READDIRPLUS, NODE_ROOT);
	add(&in, sizeof in);
	assert_int_equal(ask(), 0);
	/* Five files became nodes, beside the root. */
	assert_int_equal(server.nodes.count, 6);
}

static void little_room_for_a_reply(void **state)
{
	(void)state;
	begin(FUSE_LOOKUP, NODE_ROOT);
	add_name("hello");
	assert_int_equal(ask_room(sizeof(struct fuse_entry_out) - 1), -EINVAL);
	begin(FUSE_GETATTR, NODE_ROOT);
	add(&(struct fuse_getattr_in){0}, sizeof(struct fuse_getattr_in));
	assert_int_equal(ask_room(0), -EINVAL);
}

static void lengths_must_agree(void **state)
{
	struct fuse_write_in in = {.size = 100};
	uint64_t node, handle;

	(void)state;
	assert_int_equal(create(NODE_ROOT, "new", 0644, &node, &handle), 0);
	in.fh = handle;
	begin(FUSE_WRITE, node);
	add(&in, sizeof in);
	add("abc", 3);
	assert_int_equal(ask(), -EINVAL);
	begin(FUSE_RENAME, NODE_ROOT);
	add(&(struct fuse_rename_in){.newdir = NODE_ROOT}, sizeof(struct fuse_rename_in));
	add_name("hello");
	assert_int_equal(ask(), -EINVAL);
}

static void attributes_of_others_stay_theirs(void **state)
{
	uint64_t node = lookup(NODE_ROOT, "hello");
	struct fuse_setxattr_in in = {.size = 1};

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin(FUSE_SETXATTR, node);
		add(&in, FUSE_COMPAT_SETXATTR_IN_SIZE);
		add_name(i ? "security.capability" : "trusted.x");
		add("v", 1);
		assert_int_equal(ask(), -EOPNOTSUPP);
	}
}

static void an_attribute_needs_room(void **state)
{
	uint64_t node = lookup(NODE_ROOT, "hello");
	struct fuse_setxattr_in set = {.size = 3};
	struct fuse_getxattr_in get = {.size = 100};
	int r;

	(void)state;
	begin(FUSE_SETXATTR, node);
	add(&set, FUSE_COMPAT_SETXATTR_IN_SIZE);
	add_name("user.x");
	add("abc", 3);
	r = ask();
	if (r == -EOPNOTSUPP)
		skip();
	assert_int_equal(r, 0);
	begin(FUSE_GETXATTR, node);
	add(&get, sizeof get);
	add_name("user.x");
	assert_int_equal(ask(), 0);
	assert_memory_equal(body(), "abc", 3);
	/* Less room than was asked for, down to none. */
	assert_int_equal(ask_room(2), -ERANGE);
	assert_int_equal(ask_room(0), -ERANGE);
}

/* Guests before Linux 5.17 say less. */
static void older_guests_begin_too(void **state)
{
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 4096};
	const struct fuse_init_out *out = body();

	(void)state;
	begin(FUSE_INIT, 0);
	add(&in, offsetof(struct fuse_init_in, flags2));
	assert_int_equal(ask(), 0);
	assert_int_equal(out->major, FUSE_KERNEL_VERSION);
	assert_int_equal(out->max_readahead, 4096);
}

/* The whole way, through the walls. */
static void a_walled_server_answers(void **state)
{
	const struct share_options options = {.folder = in_base("in")};
	struct fuse_in_header in = {.len = sizeof in + 6, .opcode = FUSE_LOOKUP, .unique = 9, .nodeid = NODE_ROOT};
	struct {
		struct share_prefix prefix;
		struct fuse_out_header out;
		struct fuse_entry_out entry;
	} answer;
	uint8_t request[sizeof(struct share_prefix) + sizeof in + 6];
	struct share_prefix prefix = {le32_put(5), le32_put(sizeof answer - sizeof answer.prefix)};
	struct pollfd ready;
	struct share *share;
	struct error e;

	(void)state;
	assert_int_equal(share_open(&share, &options, &e), 0);
	memcpy(request, &prefix, sizeof prefix);
	memcpy(request + sizeof prefix, &in, sizeof in);
	memcpy(request + sizeof prefix + sizeof in, "hello", 6);
	assert_int_equal(send(share_descriptor(share), request, sizeof request, 0), sizeof request);
	ready = (struct pollfd){.fd = share_descriptor(share), .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	assert_int_equal(recv(share_descriptor(share), &answer, sizeof answer, 0), sizeof answer);
	assert_int_equal(le32_get(answer.prefix.slot), 5);
	assert_int_equal(answer.out.error, 0);
	assert_int_equal(answer.entry.attr.size, 12);
	assert_true(share_walls(share) & WALL_SECCOMP);
	share_close(share);
}

static void no_folder_no_share(void **state)
{
	struct share_options options = {.folder = in_base("absent")};
	struct share *share = NULL;
	struct error e;

	(void)state;
	assert_int_equal(share_open(&share, &options, &e), -ENOENT);
	options.folder = in_base("in/hello");
	assert_int_equal(share_open(&share, &options, &e), -ENOTDIR);
	assert_null(share);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(files_are_read),
		CASE(files_are_written),
		CASE(set_user_id_is_never_set),
		CASE(no_name_leads_out),
		CASE(links_are_not_followed),
		CASE(a_moved_folder_stays_itself),
		CASE(special_files_are_not_opened_nor_made),
		CASE(wrong_numbers_are_refused),
		CASE(forgotten_nodes_are_gone),
		CASE(a_read_only_share_changes_nothing),
		CASE(folders_are_listed),
		CASE(listing_with_attributes_counts_lookups),
		CASE(little_room_for_a_reply),
		CASE(lengths_must_agree),
		CASE(attributes_of_others_stay_theirs),
		CASE(an_attribute_needs_room),
		CASE(older_guests_begin_too),
		CASE(a_walled_server_answers),
		CASE(no_folder_no_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
