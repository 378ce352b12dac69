#include "cli/guest_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/named.h"
#include "monitor/monitor.h"

static int open_sockets(struct named *named, int *fd, struct error *e)
{
	int folder, r;

	if (!named_is_alive(&named->record))
		return error_set(e, ERROR_STATE, -EBUSY, "%s is %s; run doppel start %s first", named->name,
				 machine_state_name(named->record.state), named->name);
	r = registry_folder(named->registry, named->name, &folder, e);
	if (r < 0)
		return r;
	*fd = openat(folder, MONITOR_VSOCK, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = *fd < 0 ? error_set(e, ERROR_STATE, -errno,
				"the sockets of %s are not in its folder; if it was made with --vsock, give that here too",
				named->name)
		    : 0;
	close(folder);
	return r;
}

static int open_named(const char *text, char name[REGISTRY_NAME_SIZE], int *fd, struct error *e)
{
	struct registry *registry;
	struct named named;
	int r = registry_open(&registry, e);

	if (r < 0)
		return r;
	r = named_open(&named, registry, text, e);
	if (r == 0) {
		snprintf(name, REGISTRY_NAME_SIZE, "%s", named.name);
		r = open_sockets(&named, fd, e);
		named_close(&named);
	}
	registry_close(registry);
	return r;
}

static int open_folder(const char *path, int *fd, struct error *e)
{
	*fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? error_errno(e, -errno, "--vsock %s", path) : 0;
}

int guest_target_open(struct wire *wire, const char *name, const struct option_value *vsock,
		      const struct option_value *timeout, struct error *e)
{
	char whole[REGISTRY_NAME_SIZE];
	int folder = -1;
	int r = vsock->given ? open_folder(vsock->text, &folder, e) : open_named(name, whole, &folder, e);

	if (r < 0)
		return r;
	r = guest_open(wire, folder, vsock->given ? vsock->text : whole, (unsigned)timeout->number, e);
	close(folder);
	return r;
}
