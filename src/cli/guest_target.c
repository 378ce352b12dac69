#include "cli/guest_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/machine_document.h"
#include "cli/named.h"
#include "cli/run_forms.h"
#include "cli/run_options.h"
#include "monitor/monitor.h"

static int open_folder(const char *path, int *fd, struct error *e)
{
	*fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? error_errno(e, -errno, "--vsock %s", path) : 0;
}

/* The one of `text`, which is FOLDER[:CID]. */
static int open_vsock(const char *text, int *fd, struct error *e)
{
	struct form_values parts;
	int r = form_split(&run_options[RUN_VSOCK], text, &parts, e);

	if (r < 0)
		return r;
	r = open_folder(parts.values[VSOCK_FOLDER].text, fd, e);
	free(parts.text);
	return r;
}

/* The folder of its own that its document names. */
static int open_elsewhere(const struct named *named, int *fd, struct error *e)
{
	struct arguments arguments;
	size_t cursor = 0;
	const char *text;
	int r = machine_document_load(named->registry, named->name, &arguments, e);

	if (r < 0)
		return r;
	text = arguments_next(&arguments, RUN_VSOCK, &cursor);
	r = text ? open_vsock(text, fd, e)
		 : error_set(e, ERROR_STATE, -ENOENT, "%s has no sockets in its folder: it is just starting or ending",
			     named->name);
	arguments_finish(&arguments);
	return r;
}

static int open_sockets(struct named *named, int *fd, struct error *e)
{
	int folder, r;

	if (!named_is_alive(&named->record))
		return error_set(e, ERROR_STATE, -EBUSY, "%s is %s; run doppel start %s first", named->name,
				 machine_state_name(named->record.state), named->name);
	if (named->record.state == MACHINE_PAUSED)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is paused; run doppel resume %s first", named->name, named->name);
	r = registry_folder(named->registry, named->name, &folder, e);
	if (r < 0)
		return r;
	*fd = openat(folder, MONITOR_VSOCK, O_PATH | O_DIRECTORY | O_CLOEXEC);
	close(folder);
	return *fd < 0 ? open_elsewhere(named, fd, e) : 0;
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
