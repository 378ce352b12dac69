/* Those who come to look at the machine's console: each gets one end of a socket, the machine the other. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/types.h"
#include "monitor/private.h"

/* An enum machine_attach, or a negative errno. */
static int read_access(const json_t *with, struct error *e)
{
	static const char *const words[] = {
		[MACHINE_WATCH] = "watch", [MACHINE_WRITE] = "write", [MACHINE_TAKE] = "take"};
	const char *given = json_string_value(json_object_get(with, "access"));

	for (int i = 0; given && i < (int)ARRAY_SIZE(words); i++)
		if (strcmp(words[i], given) == 0)
			return i;
	return error_set(e, ERROR_USAGE, -EINVAL, "console: access is watch, write or take");
}

/* {"access": "watch", "write" or "take", "who": shown to others}; its answer passes the socket (machine/viewing.h). */
int monitor_console(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	const char *who = json_string_value(json_object_get(with, "who"));
	int ends[2], access = read_access(with, e), r;

	if (access < 0)
		return access;
	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started and has no console yet; wait a moment",
				 monitor->options->name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return error_errno(e, -errno, "a connection to the console");
	r = machine_console_attach(monitor->machine, ends[0], (enum machine_attach)access, who ? who : "somebody", e);
	if (r < 0) {
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	monitor_note(monitor, "console attached", json_copy((json_t *)with));
	control_answer(call, NULL, ends[1]);
	return 0;
}
