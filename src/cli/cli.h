/*
 * The command line: finds the verb, reads its arguments, runs it, reports what went wrong.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_CLI_H
#define DOPPEL_CLI_CLI_H

/* Everything between main's arguments and the exit status. Errors go to standard error, one line each:
 * "doppel: <what>: <why>; <remedy>". */
int cli_main(int argc, char **argv);

struct error;
/* The line for one error, for verbs that go on after some. */
void cli_report(const struct error *e);

#endif
