/* Trees through both sides, and receivers against senders that want more than their due. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest_bench.h"

/* A folder of the test's own, in which it stands. */
static char scratch[64];

struct told {
	unsigned problems;
	int code;
	char path[512];
	uint64_t done;
};

static void on_problem(void *context, int code, const char *path)
{
	struct told *told = context;

	told->problems++;
	told->code = code;
	snprintf(told->path, sizeof told->path, "%s", path);
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
	struct told *told = context;

	(void)total;
	told->done = done;
}

static int enter_scratch(void **state)
{
	(void)state;
	strcpy(scratch, "/tmp/doppel-tree-XXXXXX");
	return mkdtemp(scratch) && chdir(scratch) == 0 ? 0 : -1;
}

static int leave_scratch(void **state)
{
	char command[200];

	(void)state;
	snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", scratch, scratch);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

/* Copies by a session on this host, so both paths are of this host. */
static int put(const char *from, int stream, const char *to, struct told *told, struct error *e)
{
	const struct tree_hooks hooks = {.problem = on_problem, .progress = on_progress, .context = told};
	struct guest_bench bench;
	int r;

	*told = (struct told){.problems = 0};
	guest_bench_open(&bench);
	r = guest_put(&bench.wire, from, stream, to, &hooks, e);
	(void)guest_bench_close(&bench);
	return r;
}

static int get(const char *from, const char *to, int stream, struct told *told, struct error *e)
{
	const struct tree_hooks hooks = {.problem = on_problem, .progress = on_progress, .context = told};
	struct guest_bench bench;
	int r;

	*told = (struct told){.problems = 0};
	guest_bench_open(&bench);
	r = guest_get(&bench.wire, from, to, stream, &hooks, e);
	(void)guest_bench_close(&bench);
	return r;
}

static const char make_tree[] =
	"mkdir -p 'from/a b/-x' from/deep/1/2/3/4 from/closed && cd from && printf '\\001\\000\\377' >'a b/-x/*' &&"
	"echo nl >\"$(printf 'new\\nline')\" && echo l >\"$(printf '\\303\\274\\377')\" && : >empty &&"
	"head -c 3000000 /dev/urandom >large && ln -s ../../etc/passwd link && ln -s nowhere deep/1/broken &&"
	"truncate -s 50M holes && echo end >>holes && printf x | dd of=holes bs=1 seek=7000000 conv=notrunc 2>/dev/null &&"
	"echo q >closed/f && chmod 640 large && chmod 4755 empty && chmod 555 closed && touch -d '2001-02-03 04:05:06.789' "
	"large deep && touch -h -d '2002-02-03' link";

/* Names, kinds, modes, times of all but folders' contents, and the contents. */
static const char same_trees[] =
	"(cd from && find . -type l -printf '%p %l %T@\\n' -o -printf '%p %y %T@ %m\\n' | sort) >1;"
	"(cd $0 && find . -type l -printf '%p %l %T@\\n' -o -printf '%p %y %T@ %m\\n' | sort) >2;"
	"test -z \"$1\" || sed -i 's/ f \\(.*\\) 4755$/ f \\1 755/' 1; diff 1 2 && diff -r --no-dereference from $0";

static void compare(const char *other, const char *without_bits)
{
	char command[100];

	setenv("SAME", same_trees, 1);
	snprintf(command, sizeof command, "bash -c \"$SAME\" %s %s", other, without_bits);
	shell(command);
}

static void a_tree_goes_in_and_comes_back(void **state)
{
	struct told told;
	struct stat status;
	struct error e;

	(void)state;
	shell(make_tree);
	assert_int_equal(put("from", -1, "in", &told, &e), 0);
	assert_int_equal(told.problems, 0);
	compare("in", "");
	assert_int_equal(stat("in/holes", &status), 0);
	assert_true(status.st_blocks < 1000);
	/* What comes from a guest has no set-user-ID bit. */
	assert_int_equal(get("in", "back", -1, &told, &e), 0);
	assert_int_equal(told.problems, 0);
	assert_true(told.done > 53000000);
	compare("back", "without");
	assert_int_equal(stat("back/holes", &status), 0);
	assert_true(status.st_blocks < 1000);
	/* Again, over what is there; the times of folders are then those of the changes in them. */
	shell("chmod u+w back/closed");
	assert_int_equal(get("in/.", "back", -1, &told, &e), 0);
	assert_int_equal(told.problems, 0);
	shell("diff -r --no-dereference from back");
}

static void destinations(void **state)
{
	struct told told;
	struct error e;

	(void)state;
	shell("echo 1 >file; mkdir -p folder there; echo 2 >folder/x; ln -s folder link");
	assert_int_equal(put("file", -1, "there", &told, &e), 0);
	assert_int_equal(put("file", -1, "there/name", &told, &e), 0);
	assert_int_equal(put("folder/", -1, "there", &told, &e), 0);
	assert_int_equal(put("folder/.", -1, "there/", &told, &e), 0);
	assert_int_equal(put("link", -1, "there/linked", &told, &e), 0);
	assert_int_equal(put("link", -1, "there/new/", &told, &e), 0);
	shell("cmp file there/file && cmp file there/name && cmp there/folder/x folder/x && cmp there/x folder/x &&"
	      "cmp there/linked/x folder/x && cmp there/new/x folder/x && test ! -L there/linked");
	/* A file where a link is replaces the link, a folder does not follow one. */
	shell("echo mine >target; ln -sf ../target there/file; mkdir elsewhere; rm -r there/folder; ln -s ../elsewhere there/folder");
	assert_int_equal(put("file", -1, "there", &told, &e), 0);
	shell("grep -q mine target && cmp file there/file && test ! -L there/file");
	assert_int_equal(put("folder", -1, "there", &told, &e), 0);
	assert_int_equal(told.problems, 1);
	assert_string_equal(told.path, "there/folder");
	shell("test -z \"$(ls elsewhere)\"");
}

static void mistakes_are_told(void **state)
{
	struct told told;
	struct error e;

	(void)state;
	shell("echo 1 >file; mkdir -p folder some/sub; mkfifo some/pipe; echo 2 >some/sub/x; mkdir -p into/some/sub/x");
	assert_int_equal(put("absent", -1, "x", &told, &e), -ENOENT);
	assert_int_equal(get("absent", "x", -1, &told, &e), -ENOENT);
	assert_string_equal(e.message, "absent: No such file or directory");
	assert_int_equal(put("file", -1, "no/such/folder", &told, &e), -ENOENT);
	assert_int_equal(put("file", -1, "absent/", &told, &e), -ENOTDIR);
	assert_int_equal(put("file", -1, "file/x", &told, &e), -ENOTDIR);
	assert_int_equal(put("", -1, "x", &told, &e), -ENOENT);
	assert_int_equal(put("file", -1, "", &told, &e), -EINVAL);
	assert_int_equal(get("folder", NULL, 1, &told, &e), 0);
	assert_int_equal(told.code, -ENOTDIR);
	/* A pipe is left out, and what is in the way; the rest arrives. */
	assert_int_equal(put("some", -1, "into", &told, &e), 0);
	assert_int_equal(told.problems, 2);
	shell("test ! -e into/some/pipe && test -d into/some/sub/x && ! ls -a into/some into/some/sub | grep -q doppel");
}

static void streams(void **state)
{
	struct told told;
	struct error e;
	int in, out;

	(void)state;
	shell("head -c 1000000 /dev/urandom >data; truncate -s 300000 hole; cat data >>hole");
	in = open("data", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(in, 1000, SEEK_SET), 1000);
	assert_int_equal(put(NULL, in, "copy", &told, &e), 0);
	close(in);
	shell("tail -c +1001 data | cmp - copy");
	out = open("out", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(get("hole", NULL, out, &told, &e), 0);
	close(out);
	shell("cmp hole out");
	assert_int_equal(get("/proc/self/status", "status", -1, &told, &e), 0);
	shell("grep -q ^Pid: status");
	assert_int_equal(put("data", -1, "/dev/null", &told, &e), 0);
	shell("test -c /dev/null");
}

/* A sender as it likes, against tree_receiver. */
struct attack {
	enum guest_type type;
	struct guest_entry entry;
	const char *bytes;
};

static int attack(const struct attack *steps, struct told *told)
{
	const struct tree_hooks hooks = {.problem = on_problem, .context = told};
	struct tree_receiver *receiver;
	uint8_t bytes[GUEST_ENTRY_MAX];
	struct error e;
	int r = 0;

	*told = (struct told){.problems = 0};
	assert_int_equal(tree_receiver_new(&receiver, "inside", TREE_SUSPICIOUS, &hooks, &e), 0);
	for (; r == 0 && steps->type; steps++) {
		struct wire_frame frame = {.type = (uint8_t)steps->type, .bytes = bytes};
		size_t length = 0;

		if (steps->type == GUEST_ENTRY)
			assert_int_equal(guest_entry_encode(&steps->entry, bytes, &length), 0);
		else if (steps->bytes)
			length = (size_t)snprintf((char *)bytes, sizeof bytes, "%s", steps->bytes);
		frame.length = (uint32_t)length;
		r = tree_receiver_take(receiver, &frame, &e);
	}
	tree_receiver_free(receiver);
	return r;
}

#define FILE_ENTRY(file)       {GUEST_ENTRY, {GUEST_FILE, 0644, 0, 0, 0, file, ""}, NULL}
#define FOLDER_ENTRY(folder)   {GUEST_ENTRY, {GUEST_FOLDER, 0755, 0, 0, 0, folder, ""}, NULL}
#define LINK_ENTRY(link, text) {GUEST_ENTRY, {GUEST_LINK, 0777, 0, 0, 0, link, text}, NULL}
#define FRAME(type)            {type, {GUEST_FILE, 0, 0, 0, 0, "", ""}, NULL}
#define CONTENT(text)          {GUEST_CONTENT, {GUEST_FILE, 0, 0, 0, 0, "", ""}, text}
#define EVIL_FILE(file)        FILE_ENTRY(file), CONTENT("evil"), FRAME(GUEST_FINISH)

static const struct attack through_a_link[] = {
	FOLDER_ENTRY("t"), LINK_ENTRY("l", "../../outside"), FOLDER_ENTRY("l"), EVIL_FILE("x"), FRAME(GUEST_LEAVE),
	LINK_ENTRY("f", "../../outside/secret"), EVIL_FILE("f"), FRAME(GUEST_LEAVE), FRAME(GUEST_DONE), {0}};
static const struct attack over_a_link[] = {LINK_ENTRY("t", "../outside/secret"), FRAME(GUEST_DONE), {0}};
static const struct attack by_dots[] = {FOLDER_ENTRY("t"), EVIL_FILE(".."), FRAME(GUEST_LEAVE), {0}};
static const struct attack by_slash[] = {EVIL_FILE("../outside/secret"), {0}};
static const struct attack two_roots[] = {EVIL_FILE("a"), FILE_ENTRY("b"), {0}};
static const struct attack left_too_often[] = {FOLDER_ENTRY("t"), FRAME(GUEST_LEAVE), FRAME(GUEST_LEAVE), {0}};
static const struct attack leave_in_file[] = {FOLDER_ENTRY("t"), FILE_ENTRY("x"), FRAME(GUEST_LEAVE), {0}};
static const struct attack done_in_file[] = {FILE_ENTRY("x"), CONTENT("half"), FRAME(GUEST_DONE), {0}};
static const struct attack nameless[] = {FOLDER_ENTRY("t"), FOLDER_ENTRY(""), {0}};
static const struct attack content_of_nothing[] = {CONTENT("x"), {0}};
static const struct attack requests[] = {FRAME(GUEST_EXEC), {0}};

static void nothing_outside_is_touched(void **state)
{
	struct told told;

	(void)state;
	shell("mkdir inside outside; echo mine >outside/secret");
	assert_int_equal(attack(through_a_link, &told), 1);
	assert_int_equal(told.problems, 1);
	assert_int_equal(told.code, -ENOTDIR);
	assert_string_equal(told.path, "inside/t/l");
	shell("test \"$(ls inside/t)\" = \"$(printf 'f\\nl')\" && grep -q evil inside/t/f && test ! -L inside/t/f");
	assert_int_equal(attack(over_a_link, &told), 1);
	assert_int_equal(told.code, -EISDIR);
	assert_int_equal(attack(by_dots, &told), -EPROTO);
	assert_int_equal(attack(by_slash, &told), -EPROTO);
	shell("test \"$(ls -A outside)\" = secret && grep -qx mine outside/secret && test \"$(ls -A)\" = \"$(printf "
	      "'inside\\noutside')\"");
}

static void nonsense_is_refused_and_leaves_nothing(void **state)
{
	static const struct attack *const attacks[] = {two_roots, left_too_often, leave_in_file, done_in_file,
						       nameless,  content_of_nothing, requests};
	struct told told;

	(void)state;
	shell("mkdir inside");
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
		assert_int_equal(attack(attacks[i], &told), -EPROTO);
	shell("test -z \"$(find inside -name '.doppel*')\"");
}

static void depth_is_bounded(void **state)
{
	struct attack *steps = calloc(2 * 400 + 2, sizeof *steps);
	struct told told;

	(void)state;
	shell("mkdir inside");
	for (size_t i = 0; i < 400; i++) {
		steps[i] = (struct attack)FOLDER_ENTRY("d");
		steps[400 + i] = (struct attack)FRAME(GUEST_LEAVE);
	}
	steps[800] = (struct attack)FRAME(GUEST_DONE);
	assert_int_equal(attack(steps, &told), 1);
	assert_int_equal(told.problems, 1);
	assert_int_equal(told.code, -ENAMETOOLONG);
	free(steps);
}

/* The hole is as large as no file can be. */
static void a_hole_too_large_drops_the_file(void **state)
{
	static const uint8_t size[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct told told = {.problems = 0};
	const struct tree_hooks hooks = {.problem = on_problem, .context = &told};
	const struct guest_entry entry = {.kind = GUEST_FILE, .mode = 0600, .name = "x", .target = ""};
	struct wire_frame hole = {.type = GUEST_HOLE, .length = 8, .bytes = size};
	struct tree_receiver *receiver;
	struct wire_frame frame = {.type = GUEST_ENTRY};
	uint8_t bytes[GUEST_ENTRY_MAX];
	struct error e;
	size_t length;

	(void)state;
	assert_int_equal(tree_receiver_new(&receiver, "x", TREE_SUSPICIOUS, &hooks, &e), 0);
	assert_int_equal(guest_entry_encode(&entry, bytes, &length), 0);
	frame.bytes = bytes;
	frame.length = (uint32_t)length;
	assert_int_equal(tree_receiver_take(receiver, &frame, &e), 0);
	assert_int_equal(tree_receiver_take(receiver, &hole, &e), 0);
	assert_int_equal(told.code, -EFBIG);
	frame = (struct wire_frame){.type = GUEST_FINISH};
	assert_int_equal(tree_receiver_take(receiver, &frame, &e), 0);
	tree_receiver_free(receiver);
	shell("test -z \"$(ls -A)\"");
}

#define tree_test(test) cmocka_unit_test_setup_teardown(test, enter_scratch, leave_scratch)

int main(void)
{
	const struct CMUnitTest tests[] = {
		tree_test(a_tree_goes_in_and_comes_back),
		tree_test(destinations),
		tree_test(mistakes_are_told),
		tree_test(streams),
		tree_test(nothing_outside_is_touched),
		tree_test(nonsense_is_refused_and_leaves_nothing),
		tree_test(depth_is_bounded),
		tree_test(a_hole_too_large_drops_the_file),
	};

	(void)umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
