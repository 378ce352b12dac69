#ifndef DOPPEL_BENCH_LOAD_H
#define DOPPEL_BENCH_LOAD_H

/* What a guest does to its devices so that they can be measured. Each result is a line
 *
 *     load NAME VALUE
 *
 * All that is read is compared with what was written; a difference ends the program with status 1. */

#include <stdint.h>

/* A disk without anything on it, which is written all over: a name is "read-1", VALUE requests or MB a second. At last
 * "load sum N": what the generations of all blocks add up to, which the host finds in the stamps again. */
int load_disk(const char *device, double seconds);
/* A folder of a file system: MB and operations a second. Leaves a file "data" of so many bytes there. */
int load_files(const char *folder, uint64_t bytes, unsigned files);
/* So many bytes to standard output, in lines of LOAD_LINE bytes. */
int load_console(uint64_t bytes);

#define LOAD_LINE 64

/* Of each sector of a disk and each LOAD_SECTOR bytes of a file, the first 16 bytes. */
#define LOAD_SECTOR 512
struct load_stamp {
	uint64_t sector, generation;
};

double load_now(void);
void load_say(const char *name, double value);
/* Says what failed, with errno's text, and ends the program with status 1. */
void load_die(const char *what) __attribute__((noreturn));
/* Stamps `size` bytes that begin at sector `sector`. */
void load_stamp(uint8_t *bytes, uint64_t size, uint64_t sector, uint64_t generation);
/* Ends the program when a stamp is another. */
void load_check(const uint8_t *bytes, uint64_t size, uint64_t sector, uint64_t generation);

#endif
