/*
 * Viewers of a console who send anything at any time, come, take over and go, while the guest writes and may take nothing.
 * At most one writes, what the guest gets is what a writer sent, and the places in the output never go back.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "machine/console.h"
#include "machine/tape.h"
#include "machine/viewers.h"
#include "machine/viewing.h"

#define ENDS       6
#define OPERATIONS 512

struct scene {
	const uint8_t *input;
	size_t left;
	struct loop *loop;
	struct console *console;
	int ends[ENDS]; /* -1: nobody */
	size_t room;    /* what the guest takes */
	void (*more)(void *opaque);
	void *opaque;
};

static uint64_t next(struct scene *s, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && s->left; i++, s->left--)
		value |= (uint64_t)*s->input++ << (8 * i);
	return value;
}

/* Only writers send small letters here. */
static size_t receive(void *line, const uint8_t *bytes, size_t length)
{
	struct scene *s = line;
	size_t n = length < s->room ? length : s->room;

	for (size_t i = 0; i < n; i++)
		assert(bytes[i] == 'w');
	s->room -= n;
	return n;
}

static void on_room(void *line, void (*room)(void *opaque), void *opaque)
{
	struct scene *s = line;

	s->more = room;
	s->opaque = opaque;
}

static void leave(void *opaque)
{
	(void)opaque;
	abort();
}

static void begin(struct scene *s, const uint8_t *input, size_t size)
{
	struct console_config config = {.kind = CONSOLE_NONE, .hooks = {.leave = leave}};
	int failed;

	*s = (struct scene){.input = input, .left = size};
	for (unsigned i = 0; i < ENDS; i++)
		s->ends[i] = -1;
	failed = loop_new(&s->loop, NULL);
	config.loop = s->loop;
	failed |= console_new(&s->console, &config, NULL);
	failed |= console_start(s->console, &(struct console_line){receive, on_room, s}, NULL);
	if (failed)
		abort();
	console_hold(s->console, false);
}

static void come(struct scene *s, int *end, uint64_t choice)
{
	const char *before, *writer;
	unsigned count = console_viewers(s->console, &before), how = (unsigned)(choice >> 4) % 3;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	r = console_attach(s->console, pair[0], (enum machine_attach)how, "fuzz\n", NULL);
	if (r == 0) {
		*end = pair[1];
		assert(console_viewers(s->console, &writer) <= count + 1);
		assert(how == MACHINE_WATCH || strcmp(writer, "fuzz?") == 0);
		return;
	}
	/* Who has left counts until the loop has noticed. */
	assert(count == VIEWERS_MAX || (how == MACHINE_WRITE && before));
	close(pair[0]);
	close(pair[1]);
}

/* Messages of any kind and length; input is always of the letter that the guest expects. */
static void say(struct scene *s, int end)
{
	static const char kinds[] = {VIEWING_IN, VIEWING_IN, VIEWING_SIZE, VIEWING_OUT, VIEWING_END, 0};
	char message[2 * VIEWING_INPUT];
	uint64_t choice = next(s, 1);
	size_t length = choice & 0x80 ? next(s, 2) % sizeof message : choice & 7;

	memset(message, 'w', sizeof message);
	message[0] = kinds[(choice >> 3) % ARRAY_SIZE(kinds)];
	(void)!send(end, message, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void look(int end)
{
	uint8_t message[VIEWING_MESSAGE];
	ssize_t n = recv(end, message, sizeof message, MSG_DONTWAIT);

	assert(n <= 0 || memchr("olne", message[0], 4));
}

static void guest_acts(struct scene *s, uint64_t choice)
{
	static uint8_t output[TAPE_SIZE + 1000];

	if (choice & 1) {
		s->room = next(s, 2);
		s->more(s->opaque);
	} else {
		(void)console_write(s->console, output, next(s, 1) << (choice >> 4 & 10));
	}
}

static void operate(struct scene *s)
{
	uint64_t choice = next(s, 1);
	int *end = &s->ends[choice % ENDS];

	switch (choice >> 3 & 7) {
	case 0:
		guest_acts(s, choice);
		break;
	case 1:
		assert(loop_run(s->loop, 0) <= 0);
		break;
	case 2:
	case 3:
		if (*end < 0) {
			come(s, end, next(s, 1));
			break;
		}
		close(*end);
		*end = -1;
		break;
	case 4:
		if (*end >= 0)
			look(*end);
		break;
	default:
		if (*end >= 0)
			say(s, *end);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scene s;
	const char *writer;

	begin(&s, data, size);
	for (unsigned i = 0; i < OPERATIONS && s.left; i++)
		operate(&s);
	assert(loop_run(s.loop, 0) <= 0);
	/* One who takes nothing would be waited for. */
	for (unsigned i = 0; i < ENDS; i++)
		if (s.ends[i] >= 0)
			close(s.ends[i]);
	console_end(s.console, 0, "over");
	assert(console_viewers(s.console, &writer) == 0 && !writer);
	console_free(s.console);
	loop_free(s.loop);
	return 0;
}
