/* The shared folder's device with a real server behind its walls, driven by a friendly and by a hostile driver. */
#include "virtio_bench.h"

#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/virtio/fs.h"

#define REQUEST BENCH_DATA
#define REPLY   (BENCH_DATA + 1 * MIB)

static struct virtio_bench bench;
static char folder[] = "/tmp/doppel-test-fs-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[100];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void put_file(const char *name, const char *text)
{
	FILE *file = fopen(in_folder(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* The server: the only child that this process has. */
static pid_t server(void)
{
	char path[64];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "r");
	if (!file || fscanf(file, "%d", &pid) != 1)
		fail_msg("no server in %s", path);
	fclose(file);
	return pid;
}

static int setup(void **state)
{
	struct share_options options = {.folder = folder};
	struct virtio *fs;
	struct share *share;
	struct error e;

	(void)state;
	strcpy(folder + sizeof folder - 7, "XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	put_file("hello", "hello, guest");
	if (share_open(&share, &options, &e) < 0)
		fail_msg("open: %s", e.message);
	virtio_bench_init(&bench);
	if (virtio_fs_new(&fs, "fs0", bench.worker, "share", share, &e) < 0)
		fail_msg("new: %s", e.message);
	virtio_bench_place(&bench, fs);
	bench_start(&bench, 0, 2, 64);
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	virtio_bench_finish(&bench);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* A request in guest memory at REQUEST; its length. */
static uint32_t put_request(uint32_t opcode, uint64_t node, const void *body, size_t length)
{
	const struct fuse_in_header in = {
		.len = (uint32_t)(sizeof in + length), .opcode = opcode, .unique = 77, .nodeid = node};

	memcpy(bench_bytes(&bench, REQUEST), &in, sizeof in);
	if (length)
		memcpy(bench_bytes(&bench, REQUEST + sizeof in), body, length);
	return in.len;
}

static struct fuse_out_header reply(void)
{
	struct fuse_out_header out;

	memcpy(&out, bench_bytes(&bench, REPLY), sizeof out);
	return out;
}

static const void *reply_body(void)
{
	return bench_bytes(&bench, REPLY + sizeof(struct fuse_out_header));
}

/* Asks and waits; the error of the reply, whose body has `room` bytes. */
static int ask(uint32_t opcode, uint64_t node, const void *body, size_t length, uint32_t room)
{
	const struct piece pieces[] = {{REQUEST, put_request(opcode, node, body, length), 0},
				       {REPLY, (uint32_t)sizeof(struct fuse_out_header) + room, RING_WRITE}};
	uint32_t written;

	memset(bench_bytes(&bench, REPLY), 0xee, pieces[1].length);
	written = bench_transfer(&bench, 1, pieces, 2);
	assert_in_range(written, sizeof(struct fuse_out_header), pieces[1].length);
	assert_int_equal(reply().len, written);
	assert_int_equal(reply().unique, 77);
	return reply().error;
}

static uint64_t lookup(const char *name, int expected)
{
	const struct fuse_entry_out *entry = reply_body();

	assert_int_equal(ask(FUSE_LOOKUP, 1, name, strlen(name) + 1, sizeof *entry), expected);
	return expected ? 0 : entry->nodeid;
}

static void file_is_read(const char *name, const char *text)
{
	const struct fuse_open_in open_in = {.flags = 0};
	struct fuse_read_in in = {.size = 4096};
	uint64_t node = lookup(name, 0);

	assert_int_equal(ask(FUSE_OPEN, node, &open_in, sizeof open_in, sizeof(struct fuse_open_out)), 0);
	in.fh = ((const struct fuse_open_out *)reply_body())->fh;
	assert_int_equal(ask(FUSE_READ, node, &in, sizeof in, 4096), 0);
	assert_int_equal(reply().len - sizeof(struct fuse_out_header), strlen(text));
	assert_memory_equal(reply_body(), text, strlen(text));
}

static void a_file_is_read(void **state)
{
	(void)state;
	file_is_read("hello", "hello, guest");
	assert_string_equal((const char *)bench.virtio->config, "share");
}

/* One descriptor a byte, as far as the ring goes, and the reply in two. */
static void any_layout(void **state)
{
	struct piece pieces[RING_CHAIN_MAX];
	uint32_t length;
	unsigned count = 0;

	(void)state;
	length = put_request(FUSE_LOOKUP, 1, "hello", 6);
	assert_in_range(length, 1, 62);
	for (uint32_t i = 0; i < length; i++)
		pieces[count++] = (struct piece){REQUEST + i, 1, 0};
	pieces[count++] = (struct piece){REPLY, 3, RING_WRITE};
	pieces[count++] = (struct piece){REPLY + 3, 500, RING_WRITE};
	assert_int_equal(bench_transfer(&bench, 1, pieces, count),
			 sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out));
	assert_int_equal(reply().error, 0);
}

static void the_folder_changes_behind(void **state)
{
	const struct fuse_open_in open_in = {.flags = 0};
	uint64_t node;

	(void)state;
	node = lookup("hello", 0);
	put_file("new", "new on the host");
	file_is_read("new", "new on the host");
	assert_int_equal(unlink(in_folder("hello")), 0);
	lookup("hello", -ENOENT);
	/* The one that the guest knows is still that file, or none; never another. */
	assert_int_equal(mkdir(in_folder("hello"), 0755), 0);
	assert_int_equal(symlink("/etc/passwd", in_folder("link")), 0);
	assert_int_equal(ask(FUSE_OPEN, node, &open_in, sizeof open_in, sizeof(struct fuse_open_out)), 0);
	node = lookup("link", 0);
	assert_int_not_equal(ask(FUSE_OPEN, node, &open_in, sizeof open_in, sizeof(struct fuse_open_out)), 0);
}

/* Too long for any message, too short for a header, lengths that lie, no place for a reply, an unknown operation: the
 * guest is told or gets its buffer back, and the next request works. */
static void hostile_requests(void **state)
{
	const struct piece room = {REPLY, 4096, RING_WRITE};
	struct piece pieces[2] = {{REQUEST, SHARE_MESSAGE_MAX + 1, 0}, room};
	const uint32_t lie = UINT32_MAX;

	(void)state;
	put_request(FUSE_LOOKUP, 1, "hello", 6);
	assert_int_equal(bench_transfer(&bench, 1, pieces, 2), sizeof(struct fuse_out_header));
	assert_int_equal(reply().error, -EIO);
	assert_int_equal(reply().unique, 77);
	for (uint32_t length = 1; length < sizeof(struct fuse_in_header); length++) {
		pieces[0].length = length;
		assert_int_equal(bench_transfer(&bench, 1, pieces, 2), 0);
	}
	pieces[0].length = put_request(FUSE_LOOKUP, 1, "hello", 6);
	memcpy(bench_bytes(&bench, REQUEST), &lie, sizeof lie);
	assert_int_equal(bench_transfer(&bench, 1, pieces, 2), sizeof(struct fuse_out_header));
	assert_int_equal(reply().error, -EINVAL);
	assert_int_equal(bench_transfer(&bench, 1, pieces, 1), 0);
	assert_int_equal(bench_transfer(&bench, 1, &room, 1), 0);
	assert_int_equal(ask(9999, 1, NULL, 0, 100), -ENOSYS);
	assert_int_equal(ask(FUSE_LOOKUP, UINT64_MAX, "x", 2, 100), -ESTALE);
	file_is_read("hello", "hello, guest");
	assert_int_equal(reg_get(&bench, REG_STATUS), 15);
}

/* Down to not even a header: nothing more than that is written. */
static void little_room_for_a_reply(void **state)
{
	(void)state;
	for (uint32_t room = 1; room < 200; room++) {
		const struct piece pieces[] = {{REQUEST, put_request(FUSE_LOOKUP, 1, "hello", 6), 0},
					       {REPLY, room, RING_WRITE}};

		memset(bench_bytes(&bench, REPLY), 0xee, 300);
		assert_in_range(bench_transfer(&bench, 1, pieces, 2), 0, room);
		for (uint32_t i = room; i < 300; i++)
			assert_int_equal(*bench_bytes(&bench, REPLY + i), 0xee);
	}
	assert_int_equal(reg_get(&bench, REG_STATUS), 15);
}

/* More than there are slots, in both queues. */
static void many_at_once(void **state)
{
	const struct piece pieces[] = {{REQUEST, put_request(FUSE_LOOKUP, 1, "hello", 6), 0}, {REPLY, 300, RING_WRITE}};
	uint32_t length;
	uint16_t id;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		ring_add(&bench.rings[i % 2], pieces, 2);
	bench_kick(&bench, 0);
	bench_kick(&bench, 1);
	for (unsigned i = 0; i < 64; i++)
		bench_wait_used(&bench, i % 2, &id, &length);
}

static void add_many(unsigned count)
{
	const struct piece pieces[] = {{REQUEST, put_request(FUSE_LOOKUP, 1, "hello", 6), 0}, {REPLY, 300, RING_WRITE}};

	for (unsigned i = 0; i < count; i++)
		ring_add(&bench.rings[1], pieces, 2);
	bench_kick(&bench, 1);
}

static void reset_amid_requests(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		add_many(30);
		reg_put(&bench, REG_STATUS, 0);
		memset(bench_bytes(&bench, REPLY), 0xee, 300);
		bench_settle(&bench);
		assert_int_equal(*bench_bytes(&bench, REPLY), 0xee);
		bench_start(&bench, 0, 2, 64);
	}
	file_is_read("hello", "hello, guest");
}

static void broken(void)
{
	for (unsigned i = 0; i < 20000 && !(reg_get(&bench, REG_STATUS) & VIRTIO_NEEDS_RESET); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(reg_get(&bench, REG_STATUS) & VIRTIO_NEEDS_RESET);
}

/* What is in flight fails at once, the device says so, and what is asked after its reset fails, too. */
static void the_server_dies(void **state)
{
	pid_t pid = server();
	uint32_t length;
	uint16_t id;

	(void)state;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	add_many(5);
	bench_settle(&bench);
	assert_int_equal(kill(pid, SIGKILL), 0);
	for (unsigned i = 0; i < 5; i++) {
		bench_wait_used(&bench, 1, &id, &length);
		assert_int_equal(length, sizeof(struct fuse_out_header));
	}
	assert_int_equal(reply().error, -EIO);
	broken();
	reg_put(&bench, REG_STATUS, 0);
	bench_start(&bench, 0, 2, 64);
	lookup("hello", -EIO);
	device_pause(&bench.virtio->device);
	device_resume(&bench.virtio->device);
	lookup("hello", -EIO);
}

static void dies_while_paused(void **state)
{
	(void)state;
	device_pause(&bench.virtio->device);
	assert_int_equal(kill(server(), SIGKILL), 0);
	broken();
	device_resume(&bench.virtio->device);
}

/* A pause waits for a server that hangs, but not for ever; the folder is lost, and all else goes on. */
static void hangs_while_paused(void **state)
{
	uint32_t length;
	uint16_t id;

	(void)state;
	assert_int_equal(kill(server(), SIGSTOP), 0);
	add_many(5);
	bench_settle(&bench);
	device_pause(&bench.virtio->device);
	for (unsigned i = 0; i < 5; i++)
		bench_wait_used(&bench, 1, &id, &length);
	assert_int_equal(reply().error, -EIO);
	device_resume(&bench.virtio->device);
	broken();
	reg_put(&bench, REG_STATUS, 0);
	bench_start(&bench, 0, 2, 64);
	lookup("hello", -EIO);
}

/* Freed with requests on their way that nobody will answer: it does not wait for them. */
static void freed_amid_requests(void **state)
{
	(void)state;
	assert_int_equal(kill(server(), SIGSTOP), 0);
	add_many(5);
	bench_settle(&bench);
}

static void tags(void **state)
{
	static const char *const bad[] = {"", "a tag of more than thirty-six bytes, 37"};
	struct share_options options = {.folder = folder};
	struct virtio *fs = NULL;
	struct share *share;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(share_open(&share, &options, NULL), 0);
		assert_int_equal(virtio_fs_new(&fs, "fs1", bench.worker, bad[i], share, NULL), -EINVAL);
		assert_null(fs);
	}
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_file_is_read),
		CASE(any_layout),
		CASE(the_folder_changes_behind),
		CASE(hostile_requests),
		CASE(little_room_for_a_reply),
		CASE(many_at_once),
		CASE(reset_amid_requests),
		CASE(the_server_dies),
		CASE(dies_while_paused),
		CASE(hangs_while_paused),
		CASE(freed_amid_requests),
		CASE(tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
