/*
 * The files of guest/ as bytes; meson makes the definitions with embed.sh.
 */
#ifndef DOPPEL_IMAGE_GUEST_DATA_H
#define DOPPEL_IMAGE_GUEST_DATA_H

#include <stddef.h>

extern const unsigned char guest_init[], guest_tour[];
extern const size_t guest_init_size, guest_tour_size;

#endif
