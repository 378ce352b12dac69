/*
 * What the host's /dev/kvm is worth, measured.
 *
 * Some hosts offer a /dev/kvm that runs guest code in ring 0 by emulating it, an instruction at a time: hundreds of
 * times too slow to be of use, and nothing in the interface tells. So a loop of two instructions is run in ring 0, in
 * each mode that a guest boots through, and timed.
 *
 * The measurement runs in a child process that is killed when it takes too long, so a kernel that never returns
 * from KVM_RUN harms nothing. It takes 10 to 60 ms, 100 to 200 ms where code is emulated, and at most
 * KVM_PROBE_LIMIT_MS.
 *
 * Thread: any; it forks and waits for its own child only.
 */
#ifndef DOPPEL_ENGINE_KVM_PROBE_H
#define DOPPEL_ENGINE_KVM_PROBE_H

#include <stdint.h>

/* A busy host that is itself emulated has been seen to need more than five seconds. */
#define KVM_PROBE_LIMIT_MS 15000

/* Below this rate supervisor code is emulated, which reaches a few millions; hardware runs the loop at billions, and a busy host
 * that is itself emulated at a hundred millions. */
#define KVM_PROBE_REAL_RATE UINT64_C(20000000)

enum kvm_probe_mode { KVM_PROBE_REAL, KVM_PROBE_PROTECTED, KVM_PROBE_LONG, KVM_PROBE_MODES };

enum kvm_verdict {
	KVM_WORKS,    /* every mode runs at the speed of hardware */
	KVM_EMULATES, /* it works, but at least one mode is emulated */
	KVM_BROKEN,   /* it opens, but a guest can not be made, fails or hangs; `error` may tell why */
	KVM_DENIED,   /* it is there, and this user may not open it */
	KVM_ABSENT,   /* there is no /dev/kvm, or nothing behind it */
};

struct kvm_probe {
	enum kvm_verdict verdict;
	int error;                      /* negative errno of the step that failed, or 0 */
	const char *step;               /* what failed, static text: "KVM_CREATE_VM"; NULL when nothing did */
	uint64_t rate[KVM_PROBE_MODES]; /* instructions a second in ring 0; 0 when not measured */
};

extern const char *const kvm_probe_mode_names[KVM_PROBE_MODES];

/* Never fails; the outcome is the verdict. */
void kvm_probe(struct kvm_probe *probe);
/* The same without the measurement: KVM_WORKS says that it may be used. */
void kvm_look(struct kvm_probe *probe);

#define KVM_RATE_SIZE 96
/* The slowest mode and its rate, such as "212 thousand instructions/s in long mode". */
void kvm_probe_rate_text(const struct kvm_probe *probe, char text[KVM_RATE_SIZE]);

#endif
