/*
 * The user's terminal in raw mode, and its way back: at the end, at exit(), when a signal kills the process (a
 * crash too), and while the process is stopped by SIGTSTP. SIGKILL alone can not be helped.
 *
 * Handlers put in front of those that were there for the signals that end a process pass the signal on after the
 * terminal is restored; signals that were ignored stay ignored. The terminal is only touched while the process
 * is in its foreground: in the background it is someone else's.
 *
 * Thread: one owner; one terminal a process.
 */
#ifndef DOPPEL_MACHINE_TERMINAL_H
#define DOPPEL_MACHINE_TERMINAL_H

#include "base/error.h"

/* Makes the terminal `fd` raw, output processing included; the descriptor stays open until terminal_restore.
 * -EBUSY while another is raw, -ENOTTY for what is no terminal. */
MUST_USE int terminal_raw(int fd, struct error *e);
/* Harmless when nothing is raw. Also in handlers of signals, on any thread. */
void terminal_restore(void);

#endif
