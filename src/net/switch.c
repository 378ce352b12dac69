#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/private.h"

#define NAME_MAX_LENGTH 31
#define HELLO_MS        10000

int net_check_segment(const char *name, struct error *e)
{
	size_t length = strlen(name);

	if (length >= 1 && length <= NAME_MAX_LENGTH && isalnum((unsigned char)*name) &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == length)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "\"%.40s\" is no name of a switch; give 1 to %d letters, digits, dashes and underscores, the "
			 "first a letter or digit",
			 name, NAME_MAX_LENGTH);
}

/* Each level is ours alone, or was there before as $XDG_RUNTIME_DIR. */
static int make_directory(const char *path, struct error *e)
{
	struct stat found;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_errno(e, -errno, "cannot make the directory '%s'", path);
	if (lstat(path, &found) < 0 || !S_ISDIR(found.st_mode) || found.st_uid != geteuid() || (found.st_mode & 022))
		return error_set(e, ERROR_PERMISSION, -EPERM,
				 "the directory '%s' is not yours alone; remove it, or set XDG_RUNTIME_DIR", path);
	return 0;
}

static int find_directory(struct switch_plan *plan, struct error *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char base[64], path[sizeof plan->directory];
	int r;

	if (runtime && *runtime == '/' && strlen(runtime) < sizeof base - 8)
		snprintf(base, sizeof base, "%s/doppel", runtime);
	else
		snprintf(base, sizeof base, "/tmp/doppel-%u", geteuid());
	r = make_directory(base, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s/switch", base);
	memcpy(plan->directory, path, sizeof path);
	return make_directory(path, e);
}

static int take_lock(const struct switch_plan *plan, struct error *e)
{
	char path[128];
	int fd;

	switch_path(plan, ".lock", path, sizeof path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_errno(e, -errno, "cannot open '%s'", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			int code = -errno;

			close(fd);
			return error_errno(e, code, "cannot lock '%s'", path);
		}
	return fd;
}

/* The connected socket, or a negative errno: -ENOENT or -ECONNREFUSED when there is no switch. */
static int join(const struct switch_plan *plan)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	switch_path(plan, "", address.sun_path, sizeof address.sun_path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		int code = -errno;

		close(fd);
		return code;
	}
	return fd;
}

static int start(struct switch_plan *plan, struct error *e)
{
	const struct wall_plan wall = {
		.name = "doppel-switch",
		.filter = &switch_filter,
		.memory_limit = 256 * MIB,
		.files_limit = 128,
		.survives = true,
		.prepare = switch_prepare,
		.main = switch_main,
		.context = plan,
	};
	struct wall_process process;
	int r = wall_spawn(&process, &wall, e);

	if (r == 0)
		wall_end(&process, NULL);
	return r;
}

/* Under the lock there is one who starts the switch, and a switch that is about to end lets nobody in. */
static int start_and_join(struct switch_plan *plan, struct error *e)
{
	int lock = take_lock(plan, e), fd;

	if (lock < 0)
		return lock;
	fd = join(plan);
	if (fd == -ENOENT || fd == -ECONNREFUSED) {
		fd = start(plan, e);
		if (fd < 0) {
			close(lock);
			return fd;
		}
		fd = join(plan);
	}
	if (fd < 0)
		(void)error_errno(e, fd, "cannot join the switch %s", plan->name);
	close(lock);
	return fd;
}

static int refused(int code, const struct net *net, const struct net_options *options, struct error *e)
{
	const uint8_t *m = options->mac;

	if (code == -EADDRINUSE)
		return error_set(e, ERROR_STATE, code,
				 "the switch %s has a machine with the MAC address %02x:%02x:%02x:%02x:%02x:%02x "
				 "already; give another with mac=",
				 net->name, m[0], m[1], m[2], m[3], m[4], m[5]);
	if (code == -ENOSPC)
		return error_set(e, ERROR_STATE, code, "the switch %s is full", net->name);
	return error_errno(e, code, "the switch %s refuses this machine", net->name);
}

static int say_hello(struct net *net, const struct net_options *options, struct error *e)
{
	struct switch_message message = {.magic = SWITCH_MAGIC, .code = options->succeeds ? SWITCH_SUCCEEDS : 0};
	struct pollfd waiting = {.fd = net->descriptor, .events = POLLIN};

	memcpy(message.mac, options->mac, NET_MAC_BYTES);
	if (write(net->descriptor, &message, sizeof message) != sizeof message)
		return error_errno(e, -EPIPE, "cannot join the switch %s", net->name);
	if (poll(&waiting, 1, HELLO_MS) != 1 ||
	    read(net->descriptor, &message, sizeof message) != sizeof message || message.magic != SWITCH_MAGIC)
		return error_set(e, ERROR_TIMEOUT, -ETIMEDOUT,
				 "the switch %s does not answer, or is full; try again", net->name);
	return message.code < 0 ? refused(message.code, net, options, e) : 0;
}

static int switch_open(struct net *net, const struct net_options *options, struct error *e)
{
	struct switch_plan plan = {.listener = -1, .lock = -1};
	int r = net_check_segment(options->name ? options->name : "", e);

	if (r == 0)
		r = find_directory(&plan, e);
	if (r < 0)
		return r;
	strcpy(plan.name, options->name);
	strcpy(net->name, options->name);
	r = start_and_join(&plan, e);
	if (r < 0)
		return r;
	net->descriptor = r;
	net->offloads = NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
	net->mac_is_fixed = true;
	net_widen_socket(net->descriptor);
	return say_hello(net, options, e);
}

static int switch_set_port_offloads(struct net *net, unsigned offloads, struct error *e)
{
	const struct switch_message message = {.magic = SWITCH_MAGIC, .offloads = offloads};

	if (write(net->descriptor, &message, sizeof message) != sizeof message)
		return error_errno(e, -EPIPE, "cannot tell the switch %s", net->name);
	return 0;
}

static void switch_ended(struct net *net, struct error *e)
{
	(void)error_set(e, ERROR_FAILED, -EPIPE, "the switch %s ended", net->name);
}

const struct net_backend net_switch_backend = {
	.open = switch_open,
	.set_offloads = switch_set_port_offloads,
	.ended = switch_ended,
};
