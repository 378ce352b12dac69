/*
 * Names that people give to machines and images: 1 to 63 letters, digits, dots, dashes and underscores, the first a
 * letter or digit. Such a name is safe as a file's and as a host's.
 *
 * Thread: any.
 */
#ifndef DOPPEL_BASE_NAME_H
#define DOPPEL_BASE_NAME_H

#include <stdbool.h>

bool name_is_valid(const char *name);

#endif
