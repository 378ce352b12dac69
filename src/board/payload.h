/*
 * What a machine boots from, and where it lies in RAM.
 *
 * The files are read, understood and placed once, when the board is built, so that every complaint about them comes
 * before anything runs; payload_write lays them out again at each reset.
 *
 * RAM, from its base (docs/internals/board.md):
 *   firmware at its base, when there is one, and kept clear up to 2 MiB
 *   kernel   Image: 2 MiB up with firmware, else at the text_offset of its header; ELF: where it says
 *   initrd   page aligned, right below the device tree
 *   tree     2 MiB aligned, below the end of RAM and below address 3 GiB, where firmware can reach it
 * A payload too large for the part below 3 GiB moves initrd and tree to the end of RAM.
 *
 * Thread: the owner, while no vCPU runs.
 */
#ifndef DOPPEL_BOARD_PAYLOAD_H
#define DOPPEL_BOARD_PAYLOAD_H

#include "board/boot_files.h"

#define PAYLOAD_FDT_ROOM   (64 * KIB)  /* most bytes of the tree that the board makes */
#define PAYLOAD_FDT_SPACE  (128 * KIB) /* RAM kept for it: firmware lets it grow in place */

struct boot_payload {
	struct program kernel, firmware;
	struct boot_later later; /* payload_open's */
	struct blob initrd;
	uint64_t initrd_bytes; /* its length, known before it is read; 0: none */
	char *append;       /* never NULL */
	uint64_t ram_base, ram_bytes;
	uint64_t initrd_address, fdt_address;
	uint64_t next_address; /* what runs after the firmware: the kernel's entry, or where one would be */
};

/* ERROR_USAGE, ERROR_NOT_FOUND or ERROR_PERMISSION name the option, the file, what is wrong and the remedy. */
MUST_USE int payload_new(struct boot_payload **out, const struct payload_files *files, gpa_t ram_base,
			 uint64_t ram_bytes, struct error *e);
/* The same for a machine whose memory comes from elsewhere and which has a kernel and no firmware: the files are opened,
 * and read when it starts anew. No address is set before payload_settle. */
MUST_USE int payload_open(struct boot_payload **out, const struct payload_files *files, gpa_t ram_base,
			  uint64_t ram_bytes, struct error *e);
/* What payload_open left to be done; without effect otherwise. */
MUST_USE int payload_settle(struct boot_payload *payload, struct error *e);
/* Accepts NULL. */
void payload_free(struct boot_payload *payload);

/* Sets all addresses, from the programs, initrd_bytes, ram_base and ram_bytes; `files` is for messages. -ENOSPC when
 * it does not fit, with the --memory that would do; -EINVAL when a program is linked to where it cannot be. */
MUST_USE int payload_place(struct boot_payload *payload, const struct payload_files *files, struct error *e);

/* Copies firmware, kernel and initrd into RAM, which is zero. In between their files are not held in memory, but open:
 * -ESTALE when one of them has changed. */
MUST_USE int payload_write(struct boot_payload *payload, struct memory *memory, struct error *e);

#endif
