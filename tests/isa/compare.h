/*
 * One fragment under an engine and under the oracle, compared register by register and byte by byte.
 */
#ifndef ISA_COMPARE_H
#define ISA_COMPARE_H

#include "generate.h"
#include "machine.h"
#include "peer.h"

/* What one side made of a fragment. */
struct isa_outcome {
	struct isa_end end;
	uint8_t data[ISA_DATA_SIZE];
};

struct isa_session {
	struct isa_machine machine;
	struct isa_peer peer;
	enum isa_mode mode;
	struct isa_fragment fragment;
	struct isa_outcome ours, theirs;
};

/* Runs the fragment on both sides. Ends the program when the oracle died. */
void isa_session_run(struct isa_session *s);
bool isa_session_same(const struct isa_session *s);
/* After a run that differed: finds the shortest beginning of the fragment that differs too, and prints its last
 * instruction with its operands and all that differs. */
void isa_session_explain(struct isa_session *s);

#endif
