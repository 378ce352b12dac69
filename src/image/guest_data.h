/*
 * The files of guest/ and the program of src/guest/ as bytes; meson makes the definitions with embed.sh.
 */
#ifndef DOPPEL_IMAGE_GUEST_DATA_H
#define DOPPEL_IMAGE_GUEST_DATA_H

#include <stddef.h>

#define GUEST_DATA(name)                                                                                          \
	extern const unsigned char guest_##name[];                                                                \
	extern const size_t guest_##name##_size

GUEST_DATA(init);
GUEST_DATA(tour);
GUEST_DATA(setup);
GUEST_DATA(unit);
GUEST_DATA(program); /* built for riscv64; of size 0 where there was no compiler for it */
GUEST_DATA(program_x86_64); /* the same for x86-64 */
GUEST_DATA(seed);
GUEST_DATA(seed_service);
GUEST_DATA(seed_run_service);

#endif
