#include "share/share.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "share/server.h"
#include "wall/wall.h"

/* A guest holds a descriptor here for every file that it remembers. */
#define FILES_WANTED  (1u << 20)
#define MEMORY_LIMIT  (1 * GIB)
#define SOCKET_BUFFER (4 * (int)SHARE_MESSAGE_MAX)

struct share {
	struct wall_process process;
};

/* What the child needs to know. */
struct child {
	bool read_only;
	int proc;
};

static const char *const calls[] = {
	"openat", "newfstatat", "fstat", "statx", "fstatfs", "readlinkat", "symlinkat", "mknodat", "mkdirat",
	"unlinkat", "renameat", "renameat2", "linkat", "fchmodat", "fchownat", "utimensat", "ftruncate", "pread64",
	"pwrite64", "fsync", "fdatasync", "syncfs", "lseek", "fallocate", "copy_file_range", "getdents64", "fgetxattr",
	"fsetxattr", "flistxattr", "fremovexattr", "umask", "geteuid", "getegid", NULL,
};
static const struct wall_filter filter = {calls};

static int prepare(void *context, struct error *e)
{
	struct child *child = context;

	child->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return child->proc < 0 ? error_errno(e, -errno, "/proc/self/fd, which shared folders need") : 0;
}

static uint32_t smaller(uint32_t a, uint64_t b)
{
	return a < b ? a : (uint32_t)b;
}

/* Answers requests until the other end is closed. */
static int answer_all(struct server *server, int socket)
{
	static _Alignas(8) uint8_t message[SHARE_MESSAGE_MAX + sizeof(struct share_prefix)];
	static _Alignas(8) uint8_t reply[SHARE_MESSAGE_MAX + sizeof(struct share_prefix)];
	struct share_prefix *prefix = (void *)reply;

	for (;;) {
		ssize_t got = recv(socket, message, sizeof message, 0);
		size_t length;
		uint32_t room;

		if (got < (ssize_t)sizeof *prefix)
			return got == 0 ? 0 : 1;
		memcpy(prefix, message, sizeof *prefix);
		room = smaller(le32_get(prefix->room), SHARE_MESSAGE_MAX);
		length = server_serve(server, message + sizeof *prefix, (size_t)got - sizeof *prefix,
				      reply + sizeof *prefix, room);
		prefix->room = le32_put(0);
		if (send(socket, reply, sizeof *prefix + length, MSG_NOSIGNAL) < 0)
			return 1;
	}
}

static int serve(int socket, void *context)
{
	const struct child *child = context;
	struct server server;
	int root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 || server_init(&server, root, child->proc, child->read_only) < 0)
		return 1;
	return answer_all(&server, socket);
}

static unsigned files_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	return limit.rlim_max < FILES_WANTED ? (unsigned)limit.rlim_max : FILES_WANTED;
}

int share_look(const char *folder, struct error *e)
{
	struct stat stat_of;

	if (stat(folder, &stat_of) < 0)
		return error_errno(e, -errno, "the shared folder %s", folder);
	if (!S_ISDIR(stat_of.st_mode))
		return error_set(e, ERROR_USAGE, -ENOTDIR, "%s is no folder; share the one that it is in", folder);
	return 0;
}

static int start(struct share *share, const struct share_options *options, struct error *e)
{
	static const int size = SOCKET_BUFFER;
	struct child child = {.read_only = options->read_only};
	const struct wall_plan plan = {
		.name = "doppel-share",
		.filter = &filter,
		.folder = options->folder,
		.folder_read_only = options->read_only,
		.memory_limit = MEMORY_LIMIT,
		.files_limit = files_limit(),
		.keep_ids = true,
		.prepare = prepare,
		.main = serve,
		.context = &child,
	};
	int r = wall_spawn(&share->process, &plan, e);

	if (r < 0)
		return r;
	/* More requests under way; the host's limit cuts it, and less does not matter as long as one fits. */
	(void)setsockopt(share->process.socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	return 0;
}

int share_open(struct share **out, const struct share_options *options, struct error *e)
{
	int r = share_look(options->folder, e);
	struct share *share;

	if (r < 0)
		return r;
	share = calloc(1, sizeof *share);
	if (!share)
		return error_errno(e, -ENOMEM, "the shared folder %s", options->folder);
	r = start(share, options, e);
	if (r < 0) {
		free(share);
		return error_prefix(e, r, "the shared folder %s", options->folder);
	}
	*out = share;
	return 0;
}

void share_close(struct share *share)
{
	if (!share)
		return;
	wall_end(&share->process, NULL);
	free(share);
}

void share_end(struct share *share, char *why, size_t room)
{
	int status = 0;

	wall_end(&share->process, &status);
	share->process.socket = -1;
	wall_describe_end(status, why, room);
}

void share_kill(struct share *share)
{
	kill(share->process.pid, SIGKILL);
	close(share->process.socket);
	share->process.socket = -1;
}

int share_descriptor(const struct share *share)
{
	return share->process.socket;
}

pid_t share_process(const struct share *share)
{
	return share->process.pid;
}

unsigned share_walls(const struct share *share)
{
	return share->process.parts;
}
