/*
 * Characters beyond U+FFFF in JSON texts: JSON escapes them as two halves, which YAML's escapes do not know ("\ud83d\ude00"
 * is "\U0001f600" in YAML).
 *
 * Thread: any.
 */
#ifndef DOPPEL_CONFIG_SURROGATE_H
#define DOPPEL_CONFIG_SURROGATE_H

#include <stddef.h>

/* Writes them as YAML does, in the quoted strings of `text`, in place; returns the length after that, which is not greater.
 * Nothing is done to a text that does not begin as a JSON object or array does, nor to a half alone. */
size_t surrogate_join(char *text, size_t length);

#endif
