/*
 * Random fragments under an engine and under qemu-riscv64, compared register by register.
 *
 *   isa-random [--oracle PROGRAM] [--engine NAME] [--seed N] [--count N] [--length N]
 *
 * First every computing instruction with every pair of corner operands, then random fragments from fixed seeds and
 * from one that is new each time (or DOPPEL_SEED, or --seed), in each mode. DOPPEL_LONG asks for many more. Where the
 * two differ, the shortest beginning of the fragment that shows it is found, and its last instruction printed with its
 * operands.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compare.h"
#include "corners.h"
#include "riscv/decode.h"

#define FAILURES_SHOWN 5

struct options {
	const char *oracle, *engine;
	uint64_t seed;
	unsigned count, length;
	bool absent; /* there is no oracle */
};

static unsigned number; /* of the last TAP line */

static bool verdict(const struct options *o, unsigned failures, bool needs_oracle, const char *name)
{
	if (needs_oracle && o->absent)
		printf("ok %u - %s # SKIP qemu-riscv64 or riscv64-linux-gnu-gcc is not installed\n", ++number, name);
	else
		printf("%s %u - %s\n", failures ? "not ok" : "ok", ++number, name);
	return failures == 0;
}

static bool random_fragments(struct isa_session *s, const struct options *o, uint64_t seed, const char *what)
{
	unsigned failures = 0;
	char name[160];

	s->machine.instructions = 0;
	for (unsigned i = 0; i < o->count && failures < FAILURES_SHOWN && !o->absent; i++) {
		isa_generate(&s->fragment, seed + i, o->length);
		isa_session_run(s);
		if (isa_session_same(s))
			continue;
		failures++;
		printf("# seed %#" PRIx64 ", length %u\n", seed + i, o->length);
		isa_session_explain(s);
	}
	snprintf(name, sizeof name, "%u fragments, %s mode, %s seed %#" PRIx64 ": %" PRIu64 " instructions", o->count,
		 isa_mode_names[s->mode], what, seed, s->machine.instructions);
	return verdict(o, failures, true, name);
}

static void explain_corner(struct isa_session *s, unsigned id)
{
	struct isa_corner wrong;

	if (isa_corners_first(s->ours.data, s->theirs.data, &wrong))
		printf("# %s of %#" PRIx64 ", %#" PRIx64 ": %#" PRIx64 ", oracle %#" PRIx64 "\n",
		       insn_table[id].mnemonic, wrong.a, wrong.b, wrong.result, wrong.expected);
	isa_session_explain(s);
}

static bool corner_operands(struct isa_session *s, const struct options *o)
{
	unsigned failures = 0, fragments = 0;
	char name[80];

	s->mode = ISA_USER;
	for (unsigned id = 1; id < INSN_IDS && !o->absent; id++)
		for (unsigned part = 0; !isa_corners_modelled(id) && isa_corners(&s->fragment, id, part); part++) {
			isa_session_run(s);
			fragments++;
			if (isa_session_same(s) || failures++ >= FAILURES_SHOWN)
				continue;
			explain_corner(s, id);
		}
	snprintf(name, sizeof name, "corner operands, %u fragments", fragments);
	return verdict(o, failures, true, name);
}

static bool modelled_corners(struct isa_session *s, const struct options *o)
{
	unsigned failures = 0;
	struct isa_corner wrong;

	for (unsigned id = 1; id < INSN_IDS; id++) {
		if (!isa_corners_modelled(id))
			continue;
		for (unsigned part = 0; isa_corners(&s->fragment, id, part); part++) {
			struct isa_fragment *f = &s->fragment;
			unsigned count;

			isa_fragment_run(&s->machine, ISA_USER, &f->start, f->code, f->data, &s->ours.end);
			count = isa_corners_check(id, f->data, &wrong);
			failures += count || s->ours.end.ending != ISA_BREAKPOINT;
			if (count)
				printf("# %s of %#" PRIx64 ", %#" PRIx64 ": %#" PRIx64 ", must be %#" PRIx64 "\n",
				       insn_table[id].mnemonic, wrong.a, wrong.b, wrong.result, wrong.expected);
		}
	}
	return verdict(o, failures, false, "corner operands of what the oracle lacks, against a model");
}

static bool all(struct isa_session *s, const struct options *o)
{
	bool passed = modelled_corners(s, o);

	passed &= corner_operands(s, o);

	for (unsigned mode = 0; mode < ISA_MODES; mode++) {
		s->mode = (enum isa_mode)mode;
		passed &= random_fragments(s, o, 1, "fixed");
		passed &= random_fragments(s, o, o->seed, "new");
	}
	return passed;
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"oracle", 1, NULL, 'o'}, {"engine", 1, NULL, 'e'},
					      {"seed", 1, NULL, 's'},   {"count", 1, NULL, 'c'},
					      {"length", 1, NULL, 'l'}, {NULL, 0, NULL, 0}};
	int name;

	while ((name = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (name) {
		case 'o':
			o->oracle = optarg;
			break;
		case 'e':
			o->engine = optarg;
			break;
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			o->count = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'l':
			o->length = (unsigned)strtoul(optarg, NULL, 0);
			break;
		default:
			exit(2);
		}
}

static void defaults(struct options *o)
{
	const char *seed = getenv("DOPPEL_SEED");

	o->engine = "interpret";
	o->count = getenv("DOPPEL_LONG") ? 2000 : 40;
	o->length = 3000;
	o->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) << 20;
}

int main(int argc, char **argv)
{
	static struct isa_session s;
	const struct engine *engine;
	struct options o = {0};
	struct error e = {0};
	bool passed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	defaults(&o);
	parse(argc, argv, &o);
	engine = engine_find(o.engine);
	if (!engine || isa_fragment_init(&s.machine, engine, &e) < 0) {
		printf("Bail out! engine %s: %s\n", o.engine, e.message);
		return EXIT_FAILURE;
	}
	o.absent = !o.oracle || isa_peer_start(&s.peer, o.oracle, &e) < 0;
	printf("1..%u\n", 2 + 2 * ISA_MODES);
	passed = all(&s, &o);
	if (!o.absent)
		isa_peer_stop(&s.peer);
	isa_machine_finish(&s.machine);
	return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
