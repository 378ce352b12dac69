#include "wall/private.h"

/* What AddressSanitizer and its like need to tell what they found, and nothing in other builds. They map memory
 * that is readable and writable only, look at their own maps and find their own binary. The C library's own heap, which is
 * of no use then, begins when malloc_trim looks at it. */
const char *const wall_sanitizer_calls[] = {
#if WALL_SANITIZED
	"sigaltstack", "getrlimit", "prlimit64", "openat", "readlink", "fstat", "newfstatat", "lseek", "sched_yield",
	"sched_getaffinity", "getppid", "tgkill", "rt_sigaction", "uname", "ioctl", "set_robust_list", "getrandom",
#endif
	NULL,
};

/* At the end a tracer of its own looks for memory that was lost. */
const char *const wall_sanitizer_end_calls[] = {
#if WALL_SANITIZED
	"clone:tracer", "ptrace", "wait4", "prctl:tracer", "open", "getdents", "getdents64",
#endif
	NULL,
};
