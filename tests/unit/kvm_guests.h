/* Guests of a few instructions: GUEST(name, "assembly") becomes guest_name to guest_name_end. */
#ifndef KVM_GUESTS_H
#define KVM_GUESTS_H

#define GUEST(name, code)                                                                                          \
	extern const char guest_##name[], guest_##name##_end[];                                                    \
	__asm__(".pushsection .rodata\nguest_" #name ":\n" code "\nguest_" #name "_end:\n.code64\n.popsection")

#endif
