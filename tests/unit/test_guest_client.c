/* The way to a guest: what is said to the machine's socket device, and who does not answer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/socket.h"
#include "guest_bench.h"

#define GREETING "CONNECT 7007\n"

struct device {
	char folder[64], path[80];
	int folder_fd, listener;
};

static int make_device(void **state)
{
	struct device *device = calloc(1, sizeof *device);
	struct error e;

	assert_non_null(device);
	*state = device;
	strcpy(device->folder, "/tmp/doppel-guest-XXXXXX");
	if (!mkdtemp(device->folder))
		return -1;
	strcpy(stpcpy(device->path, device->folder), "/guest");
	device->folder_fd = open(device->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return socket_listen(device->path, &device->listener, &e);
}

static int remove_device(void **state)
{
	struct device *device = *state;

	if (device->listener >= 0)
		close(device->listener);
	close(device->folder_fd);
	unlink(device->path);
	rmdir(device->folder);
	free(device);
	return 0;
}

/* The next client, who has said whom it wants. */
static int take_client(const struct device *device)
{
	char text[sizeof GREETING] = "";
	int fd;

	fcntl(device->listener, F_SETFL, 0);
	fd = accept(device->listener, NULL, NULL);
	if (fd < 0 || recv(fd, text, strlen(GREETING), MSG_WAITALL) != (ssize_t)strlen(GREETING) ||
	    strcmp(text, GREETING) != 0)
		_exit(9);
	return fd;
}

/* A device whose guest answers at the third attempt only. */
static pid_t start_device(const struct device *device, unsigned refusals, const char *answer)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	while (refusals-- > 0)
		close(take_client(device));
	if (answer) {
		int fd = take_client(device);
		struct error e;

		if (write(fd, answer, strlen(answer)) != (ssize_t)strlen(answer))
			_exit(9);
		_exit(session_serve(fd, NULL, &e) < 0);
	}
	_exit(0);
}

static void it_tries_until_somebody_answers(void **state)
{
	static const char *const words[] = {"sh", "-c", "exit 4", NULL}, *const none[] = {NULL};
	const struct guest_command command = {.directory = "/", .user = "", .arguments = words, .environment = none};
	const struct guest_run run = {.command = &command, .in = -1, .out = 1, .err = 2, .signals = -1};
	const struct device *device = *state;
	pid_t pid = start_device(device, 2, "OK 1024\n");
	int status = -1, end;
	struct wire wire;
	struct error e;
	bool refused;

	assert_int_equal(guest_open(&wire, device->folder_fd, "web", 20000, &e), 0);
	assert_int_equal(guest_execute(&wire, &run, &status, &refused, &e), 0);
	assert_int_equal(status, 4);
	guest_close(&wire);
	assert_int_equal(waitpid(pid, &end, 0), pid);
	assert_int_equal(end, 0);
}

static void nobody_answers(void **state)
{
	struct device *device = *state;
	struct wire wire;
	struct error e;

	/* Nobody takes the client at all. */
	assert_int_equal(guest_open(&wire, device->folder_fd, "web", 50, &e), -ETIMEDOUT);
	assert_int_equal(e.kind, ERROR_TIMEOUT);
	assert_non_null(strstr(e.message, "web"));
	close(device->listener);
	device->listener = -1;
	assert_int_equal(guest_open(&wire, device->folder_fd, "web", 20000, &e), -ECONNREFUSED);
	assert_int_equal(e.kind, ERROR_STATE);
}

static void another_protocol_is_told_at_once(void **state)
{
	static const char answer[] = "OK 1\n\020\0\0\0\001\0\0\0doppel-g\x09\0\0\0\x0a\0\0";
	const struct device *device = *state;
	struct wire wire;
	struct error e;
	pid_t pid = fork();
	int end;

	if (pid == 0) {
		int fd = take_client(device);
		char byte;

		if (write(fd, answer, sizeof answer) != (ssize_t)sizeof answer)
			_exit(9);
		while (read(fd, &byte, 1) > 0)
			;
		_exit(0);
	}
	assert_int_equal(guest_open(&wire, device->folder_fd, "web", 20000, &e), -EPROTONOSUPPORT);
	assert_non_null(strstr(e.message, "another protocol"));
	assert_int_equal(waitpid(pid, &end, 0), pid);
	assert_int_equal(end, 0);
}

static void power_off_is_said_without_waiting(void **state)
{
	static const uint8_t expected[] = "\020\0\0\0\001\0\0\0doppel-g\001\0\0\0\001\0\0\0" "\0\0\0\0\060\0\0";
	struct device *device = *state;
	uint8_t bytes[sizeof expected];
	struct error e;
	int fd, client;

	assert_int_equal(socket_connect_at(device->folder_fd, "guest", 0, &fd), 0);
	assert_int_equal(guest_ask_power_off(fd, &e), 0);
	client = take_client(device);
	assert_int_equal(recv(client, bytes, sizeof bytes, MSG_WAITALL), sizeof bytes);
	assert_memory_equal(bytes, expected, sizeof bytes);
	close(client);
	assert_int_equal(read(fd, bytes, 1), 0);
	close(fd);
}

#define device_test(test) cmocka_unit_test_setup_teardown(test, make_device, remove_device)

int main(void)
{
	const struct CMUnitTest tests[] = {
		device_test(it_tries_until_somebody_answers),
		device_test(nobody_answers),
		device_test(another_protocol_is_told_at_once),
		device_test(power_off_is_said_without_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
