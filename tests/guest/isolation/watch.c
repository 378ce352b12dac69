/*
 * Listens to witnesses (beats.c): every line must be what the one before it and the clocks say, to the byte.
 *
 * usage: watch DOPPEL MACHINE...   looks at their consoles; a word on standard input begins a phase: `quiet` and
 *                                  `disturbed` are counted, `rest` is not, `end` is the end
 *        watch --log FILE          a log, from its beginning
 *
 * Prints, of each kind of phase, the beats and how late they were: by the guest's own clock when it wrote the line, and
 * by the host's when it was read here; and of the p99 of the single phases the least and the median, since a host that others
 * use has bad moments. Exit status 1 when a line was missing or not as it had to be, or when a guest's clock
 * went another way than the host's; each is told on standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/types.h"

#define WITNESSES_MAX 16
#define BEATS_MAX     1000000
#define LINE_LENGTH   64 /* with its newline */
#define PERIOD        100000
#define TOLD_MAX      5 /* of what is wrong */
#define ROUNDS_MAX    1000
/* How far a guest's clock may be from where the host's says: what the shortest of many ways to this program varies by, and
 * what the host corrects its own clock by in a minute. */
#define CLOCK_TOLERANCE_NS INT64_C(30000000)

enum phase { REST, QUIET, DISTURBED, PHASES };

static const char *const phase_words[PHASES] = {"rest", "quiet", "disturbed"};

/* What one kind of phase has seen: nanoseconds. */
struct tally {
	size_t count;
	size_t before; /* of these, before the present phase */
	uint64_t *late; /* the guest's clock, when it wrote a beat, after that was due */
	uint64_t *seen; /* the host's, when it was read here, after the guest's clock said that it was due */
};

struct witness {
	const char *name;
	pid_t viewer;
	int pipe;
	char text[4096];
	size_t length;
	bool begun;      /* `number` and the others are known */
	uint64_t number; /* of the last beat */
	uint64_t first_due, at;
	/* The least difference of host and guest clock, in this phase and the first. */
	int64_t offset_ns, first_offset_ns;
	bool offset_is_known, first_is_known;
	struct tally tallies[PHASES];
};

/* The 99th percentile of how late beats were by the guest's clock, phase by phase. */
static struct {
	unsigned count;
	uint64_t late[ROUNDS_MAX];
} rounds[PHASES];

static unsigned wrong;

static void complain(const char *name, const char *what, const char *line)
{
	if (wrong++ < TOLD_MAX)
		fprintf(stderr, "%s: %s: %.*s\n", name, what, LINE_LENGTH, line);
}

static void fill(char *line, uint64_t number, uint64_t due, uint64_t at)
{
	int n = snprintf(line, LINE_LENGTH + 1, "beat %08" PRIu64 " due %012" PRIu64 " at %012" PRIu64 " ", number, due, at);

	for (unsigned i = 0; i < 16 && n < LINE_LENGTH; i++)
		line[n++] = (char)('a' + (number + i) % 26);
	snprintf(line + n, (size_t)(LINE_LENGTH + 1 - n), "\n");
}

/* Whether the line is the beat that comes next. */
static bool follows(struct witness *witness, const char *line, size_t length)
{
	uint64_t number, due, at;
	char wanted[LINE_LENGTH + 1];

	if (sscanf(line, "beat %8" SCNu64 " due %12" SCNu64 " at %12" SCNu64, &number, &due, &at) != 3) {
		complain(witness->name, "no beat", line);
		return false;
	}
	fill(wanted, number, due, at);
	if (length != strlen(wanted) || memcmp(line, wanted, length) != 0)
		complain(witness->name, "other bytes than were written", line);
	else if (witness->begun && number != witness->number + 1)
		complain(witness->name, "not the next one", line);
	else if (witness->begun && due != witness->first_due + number * PERIOD)
		complain(witness->name, "not due then", line);
	else if (at < due || at < witness->at)
		complain(witness->name, "a clock that goes back", line);
	witness->begun = true;
	witness->number = number;
	witness->first_due = due - number * PERIOD;
	witness->at = at;
	return true;
}

/* ---- Consoles ---- */

static void count(struct witness *witness, enum phase phase, uint64_t host)
{
	struct tally *tally = &witness->tallies[phase];
	uint64_t due = witness->first_due + witness->number * PERIOD;
	int64_t offset = (int64_t)(host - witness->at * CLOCK_NS_PER_TICK);

	if (phase == REST || tally->count == BEATS_MAX)
		return;
	if (!witness->offset_is_known || offset < witness->offset_ns)
		witness->offset_ns = offset;
	witness->offset_is_known = true;
	tally->late[tally->count] = (witness->at - due) * CLOCK_NS_PER_TICK;
	tally->seen[tally->count++] = host - due * CLOCK_NS_PER_TICK;
}

/* Takes the lines that are there. A viewer may begin amid one. */
static void take_lines(struct witness *witness, enum phase phase, uint64_t host)
{
	char *from = witness->text, *end;

	while ((end = memchr(from, '\n', witness->length - (size_t)(from - witness->text)))) {
		bool whole = witness->begun || (end + 1 - from == LINE_LENGTH && memcmp(from, "beat ", 5) == 0);

		if (whole && follows(witness, from, (size_t)(end + 1 - from)))
			count(witness, phase, host);
		from = end + 1;
	}
	witness->length -= (size_t)(from - witness->text);
	memmove(witness->text, from, witness->length);
	witness->text[witness->length] = '\0';
	if (witness->length == sizeof witness->text - 1) {
		complain(witness->name, "a line without an end", witness->text);
		witness->length = 0;
	}
}

static void hear(struct witness *witness, enum phase phase)
{
	ssize_t n = read(witness->pipe, witness->text + witness->length, sizeof witness->text - 1 - witness->length);
	uint64_t host = clock_host_ns();

	if (n > 0) {
		witness->length += (size_t)n;
		witness->text[witness->length] = '\0';
		take_lines(witness, phase, host);
	} else if (n == 0 || errno != EINTR) {
		complain(witness->name, "its console ended", "");
		close(witness->pipe);
		witness->pipe = -1;
	}
}

/* Between two phases. */
static void compare_clocks(struct witness *witness)
{
	int64_t difference = witness->offset_ns - witness->first_offset_ns;
	char text[96];

	if (!witness->offset_is_known)
		return;
	if (!witness->first_is_known) {
		witness->first_offset_ns = witness->offset_ns;
		witness->first_is_known = true;
	} else if (difference > CLOCK_TOLERANCE_NS || difference < -CLOCK_TOLERANCE_NS) {
		snprintf(text, sizeof text, "%" PRId64 " us since the first phase", difference / 1000);
		complain(witness->name, "its clock went another way than the host's", text);
	}
	witness->offset_is_known = false;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *one = a, *other = b;

	return *one < *other ? -1 : *one > *other;
}

static void sum_up_round(struct witness *witnesses, unsigned count, enum phase phase)
{
	uint64_t *late = malloc(count * BEATS_MAX * sizeof *late);
	size_t sum = 0;

	for (unsigned i = 0; i < count && late; i++) {
		struct tally *tally = &witnesses[i].tallies[phase];

		memcpy(late + sum, tally->late + tally->before, (tally->count - tally->before) * sizeof *late);
		sum += tally->count - tally->before;
		tally->before = tally->count;
	}
	if (sum && rounds[phase].count < ROUNDS_MAX) {
		qsort(late, sum, sizeof *late, by_size);
		rounds[phase].late[rounds[phase].count++] = late[sum * 99 / 100];
	}
	free(late);
}

static bool look_at(const char *doppel, struct witness *witness)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	witness->viewer = fork();
	if (witness->viewer == 0) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		dup2(null, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		execl(doppel, doppel, "console", "--read-only", witness->name, NULL);
		_exit(127);
	}
	close(ends[1]);
	witness->pipe = ends[0];
	for (unsigned phase = QUIET; phase < PHASES; phase++) {
		witness->tallies[phase].late = malloc(BEATS_MAX * sizeof(uint64_t));
		witness->tallies[phase].seen = malloc(BEATS_MAX * sizeof(uint64_t));
		if (!witness->tallies[phase].late || !witness->tallies[phase].seen)
			return false;
	}
	return witness->viewer > 0;
}

/* Whether it goes on. */
static bool next_phase(enum phase *phase)
{
	char word[64];

	if (!fgets(word, sizeof word, stdin))
		return false;
	word[strcspn(word, "\n")] = '\0';
	for (unsigned i = 0; i < PHASES; i++) {
		if (strcmp(word, phase_words[i]) == 0) {
			*phase = (enum phase)i;
			return true;
		}
	}
	return false;
}

static void listen_to(struct witness *witnesses, unsigned count)
{
	struct pollfd polled[WITNESSES_MAX + 1];
	enum phase phase = REST;

	for (;;) {
		for (unsigned i = 0; i < count; i++)
			polled[i] = (struct pollfd){.fd = witnesses[i].pipe, .events = POLLIN};
		polled[count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
		if (poll(polled, count + 1, -1) < 0 && errno != EINTR)
			return;
		for (unsigned i = 0; i < count; i++)
			if (polled[i].revents)
				hear(&witnesses[i], phase);
		if (!polled[count].revents)
			continue;
		for (unsigned i = 0; i < count; i++)
			compare_clocks(&witnesses[i]);
		if (phase != REST)
			sum_up_round(witnesses, count, phase);
		if (!next_phase(&phase))
			return;
	}
}

/* ---- What came of it ---- */

static void tell_times(const char *what, uint64_t *times, size_t count)
{
	qsort(times, count, sizeof *times, by_size);
	printf(" %s p50 %.3f p99 %.3f p99.9 %.3f max %.3f", what, (double)times[count / 2] / 1e6,
	       (double)times[count * 99 / 100] / 1e6, (double)times[count * 999 / 1000] / 1e6,
	       (double)times[count - 1] / 1e6);
}

/* All witnesses as one. The least way that a beat of a witness ever took counts as none. */
static void tell_phase(const struct witness *witnesses, unsigned count, enum phase phase)
{
	struct tally all = {.late = malloc(count * BEATS_MAX * sizeof(uint64_t)),
			    .seen = malloc(count * BEATS_MAX * sizeof(uint64_t))};

	for (unsigned i = 0; i < count && all.late && all.seen; i++) {
		const struct tally *tally = &witnesses[i].tallies[phase];

		memcpy(all.late + all.count, tally->late, tally->count * sizeof(uint64_t));
		for (size_t at = 0; at < tally->count; at++) {
			int64_t seen = (int64_t)(tally->seen[at] - (uint64_t)witnesses[i].first_offset_ns);

			all.seen[all.count + at] = seen > 0 ? (uint64_t)seen : 0;
		}
		all.count += tally->count;
	}
	printf("%s %zu beats, ms:", phase_words[phase], all.count);
	if (all.count) {
		tell_times("late", all.late, all.count);
		tell_times("seen", all.seen, all.count);
	}
	qsort(rounds[phase].late, rounds[phase].count, sizeof(uint64_t), by_size);
	if (rounds[phase].count)
		printf(" late, p99 of %u rounds: least %.3f median %.3f", rounds[phase].count,
		       (double)rounds[phase].late[0] / 1e6,
		       (double)rounds[phase].late[rounds[phase].count / 2] / 1e6);
	putchar('\n');
	free(all.late);
	free(all.seen);
}

static int watch_consoles(const char *doppel, char **names, unsigned count)
{
	static struct witness witnesses[WITNESSES_MAX];

	for (unsigned i = 0; i < count; i++) {
		witnesses[i].name = names[i];
		if (!look_at(doppel, &witnesses[i])) {
			perror(names[i]);
			return 2;
		}
	}
	listen_to(witnesses, count);
	for (unsigned i = 0; i < count; i++) {
		kill(witnesses[i].viewer, SIGTERM);
		while (waitpid(witnesses[i].viewer, NULL, 0) < 0 && errno == EINTR)
			;
	}
	for (unsigned phase = QUIET; phase < PHASES; phase++)
		tell_phase(witnesses, count, (enum phase)phase);
	return wrong != 0;
}

/* The last line may have been cut off with the machine. */
static int check_log(const char *path)
{
	struct witness witness = {.name = path};
	FILE *log = fopen(path, "re");
	char line[256];
	uint64_t beats = 0;

	if (!log) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof line, log)) {
		size_t length = strlen(line);

		if (line[length - 1] != '\n')
			break;
		if (follows(&witness, line, length) && witness.number != beats++)
			complain(path, "not the next one since the first", line);
	}
	fclose(log);
	printf("%" PRIu64 " beats\n", beats);
	return wrong != 0 || !beats;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--log") == 0)
		return check_log(argv[2]);
	if (argc < 3 || argc - 2 > WITNESSES_MAX) {
		fputs("usage: watch DOPPEL MACHINE... | watch --log FILE\n", stderr);
		return 2;
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	return watch_consoles(argv[1], argv + 2, (unsigned)argc - 2);
}
