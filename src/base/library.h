/*
 * Libraries that few commands need, loaded when one needs them: a program that is linked with a library loads it, and all
 * that it wants in turn, at each of its starts.
 *
 * A user lists the functions once, in a struct of pointers whose members are called as the functions without their prefix:
 *
 *   #define CALLS(X) X(init) X(deinit)
 *   #define FIELD(name) typeof(gnutls_##name) *name;
 *   static struct { CALLS(FIELD) } gnutls;
 *   #define CALL(name) {"gnutls_" #name, offsetof(typeof(gnutls), name)},
 *   static const struct library_call calls[] = {CALLS(CALL)};
 *
 * Thread: one at a time for each library.
 */
#ifndef DOPPEL_BASE_LIBRARY_H
#define DOPPEL_BASE_LIBRARY_H

#include "base/error.h"
#include "base/types.h"

struct library_call {
	const char *name;
	size_t offset; /* of its pointer, in `pointers` */
};

struct library {
	const char *file;    /* "libgnutls.so.30" */
	const char *package; /* that has it, for messages */
	const struct library_call *calls;
	size_t count;
	void *pointers;
	bool loaded;
};

/* Fills the pointers; afterwards without effect. It is never unloaded. -ENOSYS (ERROR_FAILED): it is not installed, or lacks
 * something; then nothing is filled that may be used. Opens files, so before walls. */
MUST_USE int library_load(struct library *library, struct error *e);

#endif
