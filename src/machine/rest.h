/*
 * When a machine has had so little to do for so long that it shall rest: give back what its engine can make again.
 *
 * Arithmetic only, for its owner's thread. A machine is idle in a span of time if it used less than a hundredth of a
 * processor. Spans double while it stays idle, as what it needs for its few wake-ups comes back each time.
 */
#ifndef DOPPEL_MACHINE_REST_H
#define DOPPEL_MACHINE_REST_H

#include <stdbool.h>
#include <stdint.h>

#define REST_FIRST_NS  (UINT64_C(30) * 1000000000)
#define REST_RAREST_NS (UINT64_C(64) * REST_FIRST_NS)

struct rest {
	uint64_t since_ns, used_ns, span_ns; /* of the present span: begin, processor time until then, length */
};

/* It goes on at `now_ns`, with so much processor time used in its life. */
void rest_begin(struct rest *rest, uint64_t now_ns, uint64_t used_ns);
/* From time to time; true when an idle span has ended. */
bool rest_is_due(struct rest *rest, uint64_t now_ns, uint64_t used_ns);

#endif
