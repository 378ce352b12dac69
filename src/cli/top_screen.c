/* `doppel top` on a terminal. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/text.h"
#include "cli/top.h"
#include "machine/terminal.h"

#define CONTROL_C      3
#define ANSWERS_WITHIN 200 /* milliseconds that a list, and keys, wait for slow monitors */
/* Alternate screen, cursor hidden; and back. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

struct screen {
	struct watch *watch;
	bool one;
	enum top_order order;
	unsigned interval_ms;
	bool left;
};

/* What the terminal holds; 24 lines of 80 when it does not say. */
static struct winsize size_of_terminal(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	return size;
}

/* One line of text without control characters, cut to the width. The cut falls between characters. */
static void put_line(FILE *out, const char *line, size_t length, unsigned width)
{
	unsigned column = 0;

	for (size_t i = 0; i < length; i++) {
		bool begins = ((unsigned char)line[i] & 0xc0) != 0x80;

		if (begins && column++ == width)
			break;
		fputc(line[i], out);
	}
	fputs("\033[K", out);
}

static void put_text(const char *text, FILE *out)
{
	struct winsize size = size_of_terminal();
	unsigned row = 0;

	fputs("\033[H", out);
	for (; *text && row < size.ws_row; row++) {
		size_t length = strcspn(text, "\n");

		fputs(row ? "\r\n" : "", out);
		put_line(out, text, length, size.ws_col);
		text += length + (text[length] == '\n');
	}
	fputs("\033[J", out);
}

static int print_list(const struct screen *screen, const json_t *list, FILE *out, struct error *e)
{
	struct table *table = top_table(list);
	int r = table ? 0 : error_errno(e, -ENOMEM, "the list");

	fprintf(out, "%zu machines by %s; c m d n e a: sort, q: leave\n\n", json_array_size(list),
		top_orders[screen->order]);
	if (r == 0)
		r = table_print(table, FORMAT_TABLE, false, out, e);
	table_free(table);
	return r;
}

static int draw(const struct screen *screen, struct error *e)
{
	json_t *list = top_list(screen->watch, screen->order);
	char *text = NULL, *whole = NULL;
	size_t size = 0, whole_size = 0;
	FILE *out = open_memstream(&text, &size), *sequences = open_memstream(&whole, &whole_size);
	int r = list && out && sequences ? 0 : error_errno(e, -ENOMEM, "the screen");

	if (r == 0 && screen->one && json_array_size(list) == 1)
		r = top_page(json_array_get(list, 0), out, e);
	else if (r == 0)
		r = print_list(screen, list, out, e);
	if (out)
		fclose(out);
	if (r == 0)
		put_text(text, sequences);
	if (sequences)
		fclose(sequences);
	if (r == 0) {
		fwrite(whole, 1, whole_size, stdout);
		if (fflush(stdout) != 0)
			r = error_errno(e, -errno, "writing to the terminal");
	}
	free(text);
	free(whole);
	json_decref(list);
	return r;
}

/* False: the list is to be asked for anew at once. */
static bool take_key(struct screen *screen, char key)
{
	static const char keys[TOP_ORDERS] = {[TOP_CPU] = 'c',     [TOP_MEMORY] = 'm', [TOP_DISK] = 'd',
					      [TOP_NETWORK] = 'n', [TOP_EXITS] = 'e',  [TOP_NAME] = 'a'};

	for (unsigned i = 0; i < TOP_ORDERS; i++)
		if (keys[i] == key)
			screen->order = (enum top_order)i;
	screen->left = screen->left || key == 'q' || key == 'Q' || key == CONTROL_C;
	return key != ' ';
}

/* Takes the keys that are there; -EAGAIN: the user wants a new list now. */
static int take_keys(struct screen *screen, struct error *e)
{
	char keys[32];
	ssize_t count = read(STDIN_FILENO, keys, sizeof keys);
	bool wait = true;

	if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN))
		screen->left = true;
	for (ssize_t i = 0; i < count; i++)
		wait = take_key(screen, keys[i]) && wait;
	if (!wait)
		return -EAGAIN;
	return screen->left ? 0 : draw(screen, e);
}

/* Minds keys until the next round is due, and at least once. */
static int mind_keys(struct screen *screen, uint64_t due_ns, struct error *e)
{
	bool late;
	int r = 0;

	do {
		struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
		uint64_t now = clock_host_ns();
		int left = now < due_ns ? (int)((due_ns - now) / NS_PER_MS) + 1 : 0;

		if (poll(&input, 1, left) > 0)
			r = take_keys(screen, e);
		late = clock_host_ns() >= due_ns;
	} while (r == 0 && !late && !screen->left);
	return r == -EAGAIN ? 0 : r;
}

int top_screen(struct watch *watch, bool one, enum top_order order, unsigned interval_ms, struct error *e)
{
	struct screen screen = {.watch = watch, .one = one, .order = order, .interval_ms = interval_ms};
	unsigned patience = interval_ms / 2 < ANSWERS_WITHIN ? interval_ms / 2 : ANSWERS_WITHIN;
	int r = terminal_raw(STDIN_FILENO, e);

	if (r < 0)
		return r;
	fputs(ENTER, stdout);
	while (r == 0 && !screen.left) {
		uint64_t due = clock_host_ns() + interval_ms * NS_PER_MS;

		r = watch_round(watch, patience, e);
		if (r == 0)
			r = draw(&screen, e);
		if (r == 0)
			r = mind_keys(&screen, due, e);
	}
	fputs(LEAVE, stdout);
	fflush(stdout);
	terminal_restore();
	return r;
}
