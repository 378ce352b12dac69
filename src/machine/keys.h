/*
 * The keys that a terminal's user gives to the monitor instead of the guest: those after Ctrl-A.
 * Thread: whoever reads the terminal.
 */
#ifndef DOPPEL_MACHINE_KEYS_H
#define DOPPEL_MACHINE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

struct keys {
	bool prefixed; /* Ctrl-A came, what follows is ours; zero at first */
	bool attached; /* the terminal looks at a machine that runs elsewhere: it can leave, and nothing else */
};

enum keys_meaning {
	KEYS_GUEST,  /* *byte is for the guest */
	KEYS_EATEN,  /* nothing to do */
	KEYS_LEAVE,  /* Ctrl-A x; not when attached */
	KEYS_DETACH, /* Ctrl-A d; only when attached */
	KEYS_HELP,   /* Ctrl-A h */
};

/* What a typed byte means; *byte may be changed. An unknown key after Ctrl-A is eaten with it. */
enum keys_meaning keys_next(struct keys *keys, uint8_t *byte);
/* What Ctrl-A h prints on the machine's own terminal, and on one that is attached: lines for a raw terminal. */
extern const char keys_help_here[], keys_help_attached[];

#endif
