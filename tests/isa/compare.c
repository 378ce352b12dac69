/*
 * One fragment on both sides, and what to say when they differ.
 */
#include "compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "riscv/decode.h"

bool isa_session_same(const struct isa_session *s)
{
	return memcmp(&s->ours, &s->theirs, sizeof s->ours) == 0;
}

void isa_session_run(struct isa_session *s)
{
	struct isa_fragment *f = &s->fragment;
	struct error e;

	memcpy(s->ours.data, f->data, sizeof f->data);
	memcpy(s->theirs.data, f->data, sizeof f->data);
	isa_fragment_run(&s->machine, s->mode, &f->start, f->code, s->ours.data, &s->ours.end);
	/* The oracle has no limit of its own. */
	if (s->ours.end.ending == ISA_RAN_ON) {
		memset(&s->theirs, 0, sizeof s->theirs);
		return;
	}
	if (isa_peer_run(&s->peer, &f->start, f->code, s->theirs.data, &s->theirs.end, &e) < 0) {
		isa_peer_stop(&s->peer);
		printf("Bail out! %s\n", e.message);
		exit(EXIT_FAILURE);
	}
}

static void print_difference(const char *name, unsigned index, uint64_t ours, uint64_t theirs)
{
	if (ours != theirs)
		printf("#   %s%u: ours %016" PRIx64 ", oracle %016" PRIx64 "\n", name, index, ours, theirs);
}

static void print_differences(const struct isa_outcome *ours, const struct isa_outcome *theirs)
{
	print_difference("ending ", 0, ours->end.ending, theirs->end.ending);
	print_difference("address ", 0, ours->end.address, theirs->end.address);
	print_difference("pc ", 0, ours->end.state.pc, theirs->end.state.pc);
	print_difference("fcsr ", 0, ours->end.state.fcsr, theirs->end.state.fcsr);
	for (unsigned i = 0; i < 32; i++)
		print_difference("x", i, ours->end.state.x[i], theirs->end.state.x[i]);
	for (unsigned i = 0; i < 32; i++)
		print_difference("f", i, ours->end.state.f[i], theirs->end.state.f[i]);
	for (unsigned i = 0; i < ISA_DATA_SIZE; i++)
		if (ours->data[i] != theirs->data[i])
			printf("#   data[%#x]: ours %02x, oracle %02x\n", i, ours->data[i], theirs->data[i]);
}

static void print_operands(const struct isa_item *item, const struct isa_state *before)
{
	struct insn insn = insn_decode(item->word);
	const uint8_t fields[] = {insn.rs1, insn.rs2, insn.rs3};

	printf("# %s %08" PRIx32 ": rd %u, rs1 %u, rs2 %u, rs3 %u, rm %u, imm %d, fcsr %03" PRIx64 "\n",
	       insn_table[insn.id].mnemonic, item->word, insn.rd, insn.rs1, insn.rs2, insn.rs3, insn.rm, insn.imm,
	       before->fcsr);
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		printf("#   rs%u: x%u %016" PRIx64 ", f%u %016" PRIx64 "\n", i + 1, fields[i], before->x[fields[i]],
		       fields[i], before->f[fields[i]]);
}

/* The least number of items with which the two sides differ; they do with all of them. */
static unsigned shortest(struct isa_session *s)
{
	unsigned good = 0, bad = s->fragment.count;

	while (bad - good > 1) {
		unsigned middle = (good + bad) / 2;

		isa_truncate(&s->fragment, middle);
		isa_session_run(s);
		if (isa_session_same(s))
			good = middle;
		else
			bad = middle;
	}
	return bad;
}

void isa_session_explain(struct isa_session *s)
{
	unsigned count = shortest(s);
	struct isa_state before;

	isa_truncate(&s->fragment, count - 1);
	isa_session_run(s);
	before = s->theirs.end.state;
	isa_truncate(&s->fragment, count);
	isa_session_run(s);
	printf("# mode %s: differs first with instruction %u at %#" PRIx64 "\n", isa_mode_names[s->mode], count - 1,
	       ISA_CODE + s->fragment.offset[count - 1]);
	print_operands(&s->fragment.items[count - 1], &before);
	print_differences(&s->ours, &s->theirs);
}

