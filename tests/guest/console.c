/*
 * A guest without a terminal of its own: somebody attaches to its console, types, leaves, and attaches again, while
 * another watches; at last its power button is pressed, and it powers off.
 *
 * usage: console ENGINE (needs the image debian-tiny). Prints TAP.
 */
#include "debian.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "machine/machine.h"
#include "machine/viewing.h"

#define PATIENCE_NS (120 * UINT64_C(1000000000))
#define STEP_MS     50
#define PRESS_STEPS 60 /* a guest may miss a press */

struct viewer {
	int fd;
	size_t length;
	char text[1 * MIB];
	bool over;
};

struct scene {
	struct image image;
	struct machine *machine;
	struct viewer watcher, writer;
	unsigned number;
	bool failed;
};

static void result(struct scene *scene, bool good, const char *name)
{
	printf("%sok %u - %s\n", good ? "" : "not ", ++scene->number, name);
	fflush(stdout);
	scene->failed = scene->failed || !good;
}

static bool fine(int r, const struct error *e)
{
	if (r < 0)
		printf("# %s\n", e->message);
	return r >= 0;
}

static bool attach(struct machine *machine, struct viewer *viewer, enum machine_attach how)
{
	int ends[2];
	struct error e;

	*viewer = (struct viewer){.fd = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return false;
	if (!fine(machine_console_attach(machine, ends[0], how, "test", &e), &e)) {
		close(ends[0]);
		close(ends[1]);
		return false;
	}
	viewer->fd = ends[1];
	return true;
}

static void leave(struct viewer *viewer)
{
	if (viewer->fd >= 0)
		close(viewer->fd);
	viewer->fd = -1;
}

static void look(struct viewer *viewer)
{
	char message[VIEWING_MESSAGE];
	ssize_t n;

	while (viewer->fd >= 0 && (n = recv(viewer->fd, message, sizeof message, 0)) > 0) {
		size_t room = sizeof viewer->text - 1 - viewer->length;
		size_t length = (size_t)n - 1 < room ? (size_t)n - 1 : room;

		viewer->over |= message[0] == VIEWING_END;
		if (message[0] != VIEWING_OUT)
			continue;
		memcpy(viewer->text + viewer->length, message + 1, length);
		viewer->length += length;
		viewer->text[viewer->length] = '\0';
	}
}

/* Lets the machine run a moment; false when it has ended. */
static bool step(struct scene *scene, struct machine_outcome *outcome)
{
	struct error e;
	int r = machine_wait(scene->machine, STEP_MS, outcome, &e);

	look(&scene->watcher);
	look(&scene->writer);
	return r == -ETIMEDOUT;
}

static bool await(struct scene *scene, const struct viewer *viewer, const char *text)
{
	uint64_t end = clock_host_ns() + PATIENCE_NS;
	struct machine_outcome outcome;

	while (!strstr(viewer->text, text)) {
		if (step(scene, &outcome) && clock_host_ns() < end)
			continue;
		printf("# no \"%s\" in: %.2000s\n", text, viewer->text);
		return false;
	}
	return true;
}

static bool type(const struct viewer *viewer, const char *text)
{
	char message[1 + 256];
	int n = snprintf(message, sizeof message, "%c%s", VIEWING_IN, text);

	return send(viewer->fd, message, (size_t)n, 0) == n;
}

/* The guest is asked for a sum, so that the echo of the question is no answer. */
static bool types_and_leaves(struct scene *scene)
{
	bool good = attach(scene->machine, &scene->writer, MACHINE_WRITE) && type(&scene->writer, "echo $((40 + 2))\r") &&
		    await(scene, &scene->writer, "\r\n42\r\n");

	leave(&scene->writer);
	return good && type(&scene->watcher, "echo $((50 + 5))\r");
}

static bool comes_again(struct scene *scene)
{
	bool good = attach(scene->machine, &scene->writer, MACHINE_WRITE) &&
		    await(scene, &scene->writer, "\r\n42\r\n") &&
		    type(&scene->writer, "grep Name /proc/bus/input/devices; echo $((60 + 6))\r") &&
		    await(scene, &scene->writer, "\r\n66\r\n");

	leave(&scene->writer);
	return good && strstr(scene->writer.text, "Power Button") && !strstr(scene->writer.text, "\n55\r");
}

static bool powers_off(struct scene *scene)
{
	uint64_t end = clock_host_ns() + PATIENCE_NS;
	struct machine_outcome outcome = {.state = MACHINE_RUNNING};
	struct error e;

	for (unsigned i = 0; step(scene, &outcome); i++) {
		if (i % PRESS_STEPS == 0 && !fine(machine_press_power(scene->machine, &e), &e))
			return false;
		if (clock_host_ns() > end)
			return false;
	}
	return outcome.state == MACHINE_STOPPED && outcome.exit_code == 0;
}

static void play(struct scene *scene)
{
	struct error e;

	result(scene, attach(scene->machine, &scene->watcher, MACHINE_WATCH), "somebody watches before it starts");
	result(scene, fine(machine_start(scene->machine, &e), &e) && await(scene, &scene->watcher, "exit powers"),
	       "it starts, and he sees that");
	result(scene, types_and_leaves(scene), "another types, gets an answer, and leaves");
	result(scene, comes_again(scene), "he comes again, sees what was, and goes on; who only watches types nothing");
	result(scene, powers_off(scene), "the power button is pressed, and it powers off");
	result(scene, strstr(scene->watcher.text, "the power button was pressed") != NULL, "its init says why");
	machine_free(scene->machine);
	look(&scene->watcher);
	result(scene, scene->watcher.over, "who watches is told the end");
	leave(&scene->watcher);
}

int main(int argc, char **arguments)
{
	static struct scene scene;
	const struct engine *engine = argc == 2 ? debian_engine(arguments[1]) : NULL;
	struct machine_config config = {
		.name = "console",
		.memory_bytes = 192 * MIB,
		.cpus = 1,
		.engine = engine,
		.append = "console=ttyS0 quiet",
		.console = CONSOLE_NONE,
		.power_button = true,
	};
	struct error e;

	if (!engine) {
		printf("1..0 # SKIP this engine does not run here\n");
		return DEBIAN_SKIPPED;
	}
	debian_find(&scene.image);
	config.kernel = scene.image.kernel;
	config.initrd = scene.image.initrd;
	printf("1..7\n");
	if (!fine(machine_new(&scene.machine, &config, &e), &e))
		return 1;
	play(&scene);
	image_finish(&scene.image);
	return scene.failed;
}
