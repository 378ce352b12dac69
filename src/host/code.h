/*
 * The program's own pages: code and constants of it and of its libraries, which the host can read again from their files.
 *
 * Most of what a process touches of them it touches once, while it starts. Thread: any.
 */
#ifndef DOPPEL_HOST_CODE_H
#define DOPPEL_HOST_CODE_H

/* They no longer count as this process's memory, until each is used again. */
void host_code_rest(void);

#endif
