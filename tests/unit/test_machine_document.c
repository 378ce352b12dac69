/* A machine's document: what is read, all that is refused and where, and that arguments survive being written. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "cli/machine_document.h"
#include "cli/run_options.h"
#include "cli/verb.h"
#include "config/form.h"

/* Arguments of the verb run. */
static void parse(struct arguments *out, size_t count, const char *const *words)
{
	char *argv[64];
	struct error e = {.message = ""};

	assert_in_range(count, 0, 64);
	for (size_t i = 0; i < count; i++)
		argv[i] = (char *)(uintptr_t)words[i];
	if (arguments_parse(out, &verb_run, count, argv, &e) < 0)
		fail_msg("%s", e.message);
}

/* The document of what is given; the caller frees it. */
static char *document_of(const struct arguments *arguments)
{
	struct complaints complaints = {.source = NULL};
	struct settings settings;
	struct error e = {.message = ""};
	char *text = NULL;

	if (machine_settings(arguments, 0, &settings, &complaints, &e) < 0 ||
	    machine_document(&settings, NULL, &text, &e) < 0)
		fail_msg("%s", e.message);
	settings_finish(&settings);
	return text;
}

static void read_back(const char *text, struct arguments *out)
{
	struct error e = {.message = ""};

	if (machine_document_read(text, strlen(text), "test", out, NULL, &e) < 0)
		fail_msg("%s in:\n%s", e.message, text);
}

/* Each spelling of a document, and the arguments that mean the same. */
static void test_spellings(void **state)
{
	static const struct {
		const char *document;
		const char *words[8];
	} cases[] = {
		{"image: debian", {"debian"}},
		{"{\"image\": \"debian\", \"cpus\": 2}", {"debian", "--cpus", "2"}},
		{"image: x\nmemory: 2G", {"x", "-m", "2G"}},
		{"image: x\nmemory: 536870912", {"x", "-m", "536870912"}},
		{"image: x\ndisks: /a,ro", {"x", "--disk", "/a,ro"}},
		{"image: x\ndisks:\n- /a,ro\n- {file: /b, overlay: true, ro: false}", {"x", "-D/a,ro", "-D", "/b,overlay"}},
		{"image: x\ndisks: [{file: '/a,b', overlay: /c, iops: 5, bps: 1M}]",
		 {"x", "--disk", "/a,,b,overlay=/c,iops=5,bps=1M"}},
		{"kernel: /k\nnets: [user, {kind: switch, name: lan}]", {"-k/k", "--net=user", "--net", "switch=lan"}},
		{"image: x\npublish: [8080:80, {host: 53, guest: 53, protocol: udp, address: '::1'}]",
		 {"x", "-p", "8080:80", "-p", "udp:[::1]:53:53"}},
		{"image: x\nshares: {folder: /a, tag: t, ro: true}", {"x", "-s/a:t:ro"}},
		{"image: x\nchannels: [{name: a, socket: /s}]\nvsock: {folder: /v, cid: 9}", {"x", "-C", "a=/s", "-v/v:9"}},
		{"image: x\nrng: true\nappend: [quiet, '']", {"x", "-a", "quiet", "-a", "", "-ron"}},
		{"image: x\nrng: off\nssh-keys: /k\nappend: []", {"x", "-roff", "-S/k"}},
		{"image: x\nname: web\ncpus: 2", {"-nweb", "x", "-c2"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arguments read, given;
		char *of_read, *of_given;
		size_t count = 0;

		while (count < 8 && cases[i].words[count])
			count++;
		parse(&given, count, cases[i].words);
		read_back(cases[i].document, &read);
		of_read = document_of(&read);
		of_given = document_of(&given);
		assert_string_equal(of_read, of_given);
		free(of_read);
		free(of_given);
		arguments_finish(&read);
		arguments_finish(&given);
	}
}

/* The whole text of what is said about a document. */
static void complaints_of(const char *document, char *out, size_t size)
{
	struct complaints complaints = {.source = NULL};
	struct arguments arguments;
	struct error e = {.message = ""};
	char line[COMPLAINT_LINE_SIZE];
	size_t used = 0;

	*out = '\0';
	if (machine_document_read(document, strlen(document), "d", &arguments, &complaints, &e) == 0) {
		arguments_finish(&arguments);
		return;
	}
	assert_int_equal(e.kind, ERROR_USAGE);
	for (size_t i = 0; i < complaints.count && used < size; i++) {
		complaint_line(&complaints, i, line);
		used += (size_t)snprintf(out + used, size - used, "%s\n", line);
	}
}

static void test_complaints(void **state)
{
	static const struct {
		const char *document, *said;
	} cases[] = {
		{"", "d: image, kernel or firmware is missing\n"},
		{"- a", "d:1: a list where a mapping of properties is wanted, such as memory: 2G\n"},
		{"image: x\nmemroy: 2G\n", "d:2: \"memroy\" is not known; did you mean memory?\n"},
		{"image: x\nxyzzy: 2G\n", "d:2: \"xyzzy\" is not known; doppel schema tells what is\n"},
		{"image: x\ndisk: a\n", "d:2: \"disk\" is not known; did you mean disks?\n"},
		{"image: x\n\ncpus: 1\ncpus: 2\n", "d:4: cpus is given twice; it is on line 3 already\n"},
		{"image: x\nimage: y\n", "d:2: image is given twice; it is on line 1 already\n"},
		{"image: 12", "d:1: image: a number where text is wanted; put it in quotes\n"},
		{"image: ''", "d:1: image: the name is empty; doppel image ls tells what there is\n"},
		{"image: x\nkernel:", "d:2: kernel: the value is missing; give a path, or leave the key out\n"},
		{"image: x\ncpus: '4'", "d:2: cpus: \"4\" is not a whole number; write digits, without quotes\n"},
		{"image: x\ncpus: 4.0",
		 "d:2: cpus: \"4.0\" is not a whole number; write digits, such as 4\n"},
		{"image: x\ncpus: 99", "d:2: cpus: 99 is out of range; give 1 to 64\n"},
		{"image: x\ncpus: [1]", "d:2: cpus: a list where a whole number is wanted\n"},
		{"image: x\nmemory: {}", "d:2: memory: a mapping where a size such as 512M is wanted\n"},
		{"image: x\nmemory: 5K", "d:2: memory: 5K is out of range; give 16M to 16T\n"},
		{"image: x\nmemory: 2000000001", "d:2: memory: 2000000001 is not a multiple of 4K; round it\n"},
		{"image: x\nrng: perhaps", "d:2: rng: unknown rng \"perhaps\"; choose from: off, on, auto\n"},
		{"image: x\nrng: 1", "d:2: rng: a number where one of off, on, auto is wanted\n"},
		{"image: x\nconsole-device: true",
		 "d:2: console-device: true where one of serial, virtio is wanted\n"},
		{"image: x\nname: a/b",
		 "d:2: name: \"a/b\" is no name; give 1 to 63 letters, digits, dots, dashes and underscores, the first a "
		 "letter or digit\n"},
		{"image: x\ntimeout: 5s", "d:2: timeout belongs on the command line; leave it out here\n"},
		{"image: x\nfile: a", "d:2: file belongs on the command line; leave it out here\n"},
		{"image: x\nappend: [a, [b], 5]",
		 "d:2: append: a list where text is wanted\nd:2: append: a number where text is wanted; put it in quotes\n"},
		{"image: x\ndisks:\n- {ro: true}\n- {file: a, fiel: b, ro: 1}",
		 "d:3: disks: file is missing\nd:4: disks: \"fiel\" is not known; did you mean file?\n"
		 "d:4: disks ro: a number where true or false is wanted\n"},
		{"image: x\ndisks:\n- {file: a, file: b}", "d:3: disks: file is given twice; it is on line 3 already\n"},
		{"image: x\ndisks: [{file: a, ro: true, overlay: true}]",
		 "d:2: disks: ro and overlay exclude each other; give one of them\n"},
		{"image: x\ndisks: a,iops=x", "d:2: disks iops: \"x\" is not a whole number; write digits, such as 4\n"},
		{"image: x\nnets: [{kind: tap}, bridge]",
		 "d:2: nets: tap takes a name; give tap=NAME\n"
		 "d:2: nets kind: unknown kind \"bridge\"; choose from: user, tap, switch, none\n"},
		{"image: x\nshares: {folder: /a, tag: ro}",
		 "d:2: shares: \"/a:ro\" would be read as something else; give other names\n"},
		{"image: x\nvsock: [a]", "d:2: vsock: a list where a mapping or text is wanted\n"},
		{"image: x\ncpus: *a", "d:2: aliases are not taken; write the value itself\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char said[2048];

		complaints_of(cases[i].document, said, sizeof said);
		assert_string_equal(said, cases[i].said);
	}
}

/* Twenty are told and the others counted. */
static void test_many_complaints(void **state)
{
	struct complaints complaints = {.source = NULL};
	struct arguments arguments;
	struct error e = {.message = ""};
	char text[4096] = "image: x\n";
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < 50; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "qqq%d: 1\n", i);
	assert_int_equal(machine_document_read(text, used, "d", &arguments, &complaints, &e), -EINVAL);
	assert_int_equal(complaints.count, COMPLAINTS_MAX);
	assert_int_equal(complaints.beyond, 50 - COMPLAINTS_MAX);
	assert_string_equal(e.message,
			    "d:2: \"qqq0\" is not known; doppel schema tells what is (and 49 more mistakes)");
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Texts that YAML, or the syntax of forms, would take for something else if they were written carelessly. */
static const char *const texts[] = {
	"web",	     "null",  "true", "12",	"1e3",	       "on",	 "~",	   "-",	      "- x",   "#c",  "a #b", "a: b",
	"'q'",	     "\"",    "\\n",  "a\nb",	" a ",	       "\xc3\xa4", "8080:80", "[::1]",   "::1",   "a,b", "a,,b", "a=b",
	"127.0.0.1", "ro",    "*x",   "&x",	"!x",	       "{a}",	 "[a]",	   "%a",      "@a",    "`",   "|",    ">",
	"a:",	     ",:=,,", "\t",   "\x7f\x01", "\xe2\x80\xa8", "a\xef\xbb\xbf", "52:54:00:00:00:01",
};

/* A value of one part, into `room`; false when none of these texts is one. */
static bool random_value(const struct option_spec *row, uint64_t *random, char room[64])
{
	const char *text = texts[next_random(random) % (sizeof texts / sizeof texts[0])];
	uint64_t span = row->maximum - row->minimum + 1, number = row->minimum + next_random(random) % (span ? span : 1);
	struct option_value value;
	size_t words = 0;

	switch (row->type) {
	case OPTION_ENUM:
		while (option_word(row, words))
			words++;
		snprintf(room, 64, "%s", option_word(row, next_random(random) % words));
		break;
	case OPTION_INTEGER:
	case OPTION_PERCENT:
		snprintf(room, 64, "%" PRIu64, number);
		break;
	case OPTION_SIZE:
	case OPTION_DURATION:
		number = row->multiple ? number / row->multiple * row->multiple : number;
		option_format_size(number, room);
		break;
	case OPTION_PATH:
		snprintf(room, 64, "/%s", text);
		break;
	default:
		snprintf(room, 64, "%s", text);
	}
	return option_parse(row, room, &value, NULL) == 0;
}

/* The text of an option's value on the heap, or NULL. */
static char *random_text(const struct option_spec *row, uint64_t *random)
{
	struct option_value values[FORM_PARTS_MAX] = {{.given = false}};
	char rooms[FORM_PARTS_MAX][64], *text = NULL;

	if (row->type != OPTION_FORM)
		return random_value(row, random, rooms[0]) ? strdup(rooms[0]) : NULL;
	for (size_t i = 0; i < row->form->count; i++) {
		const struct option_spec *part = &row->form->parts[i];

		values[i].given = part->required || next_random(random) % 3 == 0;
		if (!values[i].given || part->type == OPTION_FLAG || (part->bare && next_random(random) % 2))
			continue;
		if (!random_value(part, random, rooms[i]))
			return NULL;
		values[i].text = rooms[i];
	}
	return form_join(row, values, &text, NULL) == 0 ? text : NULL;
}

/* Arguments of some of the options that documents have, each as it is written canonically, on the heap. */
static size_t random_words(uint64_t *random, char **words, unsigned *uses)
{
	size_t count = 0;

	for (size_t i = 0; i < RUN_OPTIONS; i++) {
		const struct option_spec *row = &run_options[i];
		unsigned times = (unsigned)(next_random(random) % (row->repeatable ? 4 : 2));

		if (!config_is_written(&machine_kind, i))
			continue;
		for (; times > 0; times--) {
			char *text = row->type == OPTION_FLAG ? NULL : random_text(row, random);

			if (!text && row->type != OPTION_FLAG)
				continue;
			if (asprintf(&words[count++], "--%s%s%s", row->name, text ? "=" : "", text ? text : "") < 0)
				abort();
			uses[i]++;
			free(text);
		}
	}
	words[count++] = strdup("--");
	words[count++] = strdup("image");
	return count;
}

static void same_arguments(const struct arguments *a, const struct arguments *b)
{
	assert_int_equal(a->operand_count, b->operand_count);
	assert_string_equal(a->operands[0], b->operands[0]);
	for (size_t i = 0; i < RUN_OPTIONS; i++) {
		size_t at = 0, bt = 0;
		const char *text, *other;

		assert_int_equal(a->values[i].given, b->values[i].given);
		assert_int_equal(a->values[i].number, b->values[i].number);
		do {
			text = arguments_next(a, i, &at);
			other = arguments_next(b, i, &bt);
			if (!text != !other || (text && strcmp(text, other) != 0))
				fail_msg("--%s %s became %s", run_options[i].name, text ? text : "(none)",
					 other ? other : "(none)");
		} while (text);
	}
}

/* Arguments, their document, and its arguments are the same. */
static void test_round_trip(void **state)
{
	unsigned uses[RUN_OPTIONS] = {0};
	uint64_t random = 20261121;

	(void)state;
	for (int round = 0; round < 1000; round++) {
		char *words[4 * RUN_OPTIONS + 2], *text, *again;
		size_t count = random_words(&random, words, uses);
		struct arguments given, back;
		struct error e = {.message = ""};

		if (arguments_parse(&given, &verb_run, count, words, &e) < 0)
			fail_msg("%s", e.message);
		text = document_of(&given);
		read_back(text, &back);
		same_arguments(&given, &back);
		again = document_of(&back);
		assert_string_equal(text, again);
		arguments_finish(&given);
		arguments_finish(&back);
		free(text);
		free(again);
		for (size_t i = 0; i < count; i++)
			free(words[i]);
	}
	for (size_t i = 0; i < RUN_OPTIONS; i++)
		if (config_is_written(&machine_kind, i) && uses[i] < 10)
			fail_msg("--%s was tried %u times only", run_options[i].name, uses[i]);
}

/* A file with this text in a folder of its own, which is made. */
static void make_file(char folder[64], char path[128], const char *text)
{
	struct error e = {.message = ""};

	snprintf(folder, 64, "/tmp/doppel-document.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, 128, "%s/web.yaml", folder);
	if (file_write(path, text, strlen(text), 0600, &e) < 0)
		fail_msg("%s", e.message);
}

/* What is given counts more than the file; paths are as seen from where they are written. */
static void test_file_and_arguments(void **state)
{
	char folder[64], path[128], expected[1024], here[512], *text;
	struct arguments given;

	(void)state;
	assert_non_null(getcwd(here, sizeof here));
	make_file(folder, path, "image: debian\nmemory: 1G\ncpus: 3\npublish: [1:1, 2:2]\ndisks: ./a.raw,overlay=b\n"
				"kernel: k\n");
	parse(&given, 7, (const char *[]){"--file", path, "--cpus=2", "--publish=3:3", "-i", "initrd", "tiny"});
	text = document_of(&given);
	snprintf(expected, sizeof expected,
		 "image: tiny\nkernel: %s/k\ninitrd: %s/initrd\nmemory: \"1G\"\ncpus: 2\npublish:\n  - host: 3\n    guest: 3\n"
		 "disks:\n  - file: %s/a.raw\n    overlay: %s/b\n",
		 folder, here, folder, folder);
	assert_string_equal(text, expected);
	free(text);
	arguments_finish(&given);
	unlink(path);
	rmdir(folder);
}

/* What is a path on the command line, and what only looks like one. */
static void test_what_is_a_path(void **state)
{
	static const char *const words[] = {"--profile=-", "--console=pty", "--symbols=map", "--append=a/b", "--share=.:t", "x"};
	const char *expected[] = {"-", "pty", NULL, "a/b", NULL};
	struct complaints complaints = {.source = NULL};
	char here[512], map[600], folder[600];
	struct settings settings;
	struct arguments given;
	struct error e = {.message = ""};

	(void)state;
	assert_non_null(getcwd(here, sizeof here));
	snprintf(map, sizeof map, "%s/map", here);
	snprintf(folder, sizeof folder, "%s/.:t", here);
	expected[2] = map;
	expected[4] = folder;
	parse(&given, 6, words);
	if (machine_settings(&given, 0, &settings, &complaints, &e) < 0)
		fail_msg("%s", e.message);
	assert_int_equal(settings.count, 6);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(settings.list[i + 1].text, expected[i]);
	settings_finish(&settings);
	arguments_finish(&given);
}

/* Bytes that are no UTF-8 have no place in a document. */
static void test_no_utf8(void **state)
{
	struct complaints complaints = {.source = NULL};
	struct settings settings;
	struct arguments given;
	struct error e = {.message = ""};
	char *text;

	(void)state;
	parse(&given, 2, (const char *[]){"x", "--disk=/\xff"});
	assert_int_equal(machine_settings(&given, 0, &settings, &complaints, &e), 0);
	assert_int_equal(machine_document(&settings, NULL, &text, &e), -EINVAL);
	assert_non_null(strstr(e.message, "no UTF-8"));
	settings_finish(&settings);
	arguments_finish(&given);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spellings),	   cmocka_unit_test(test_complaints),
		cmocka_unit_test(test_many_complaints),	   cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_file_and_arguments), cmocka_unit_test(test_what_is_a_path),
		cmocka_unit_test(test_no_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
