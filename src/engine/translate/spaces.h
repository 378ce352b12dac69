/*
 * The address spaces behind generated code: what the TLBs and the jump table hold, and for whom.
 *
 * A page that is global is the same in every address space (Privileged 4.3.1), so what is known of it stays when satp
 * changes. What is a space's own is put aside for it and put back when it returns, less what was fenced meanwhile.
 *
 * Entries of the jump table carry the salt of a space and mode: a number in the bits of a pc that only repeat its sign
 * keeps spaces apart, and the bits below are random, so that a guest cannot make up a pc that matches an entry
 * which is not its own. Taking a new salt forgets all entries of the old one. Where pages of code are is kept by space
 * and mode too, with a key that a fence.i leaves as it is.
 *
 * Thread: the hart's.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_SPACES_H
#define DOPPEL_ENGINE_TRANSLATE_SPACES_H

#include "engine/superpages.h"
#include "engine/translate/frame.h"

#define SPACES          16
#define SPACE_ENTRIES   256 /* kept of a space that does not run */
#define SALTS           128 /* they fit the bits of a pc that repeat its sign */
#define FENCES_KNOWN    32
#define CODE_SEEN       65536
#define SPACE_CODE_SEEN 8192
#define FETCH_PAGES     1024

struct space_entry {
	uint64_t load, store, addend;
	uint16_t slot;
};

/* What jump entries of one owner, a space or all of them together, go by. */
struct code_owner {
	uint64_t salts[FRAME_MODES], keys[FRAME_MODES]; /* 0: none */
	uint8_t *seen;       /* pages, by hash, that entries may be for; a bit each */
	uint32_t seen_bits;  /* a power of two */
	bool halves[2];      /* of the address space that such pages lie in */
};

/* The second level, of user pages of all spaces: what the first has no room for. */
struct second_entry {
	uint64_t tag;    /* virtual page | number of the space << 2 | may be stored to << 1 | 1; or 0 */
	uint64_t addend;
};
#define SECOND         65536
#define SECOND_NUMBERS 1024 /* they fit below the page */

struct space {
	uint64_t satp;
	unsigned number;             /* in the second level; 0: nothing of it is there */
	struct code_owner code;
	uint8_t seen[SPACE_CODE_SEEN / 8];
	bool local_code;             /* its supervisor runs from pages that are not global */
	uint64_t fences;             /* when it was put aside */
	unsigned count;
	struct space_entry entries[SPACE_ENTRIES];
};

/* Where a page of code is. */
struct fetched {
	uint64_t page, key; /* virtual */
	const uint8_t *host;
	uint64_t physical;
};

struct spaces {
	struct space all[SPACES], *now;
	unsigned next; /* to be given to another satp */
	struct code_owner global;
	uint8_t seen[CODE_SEEN / 8];
	unsigned next_salt;
	uint64_t last_key;
	uint64_t secret;
	struct superpages superpages;
	/* TLB slots that hold what is the present space's own: a list and, to have each once, a bit each. */
	uint16_t local[FRAME_TLB];
	unsigned local_count;
	uint64_t is_local[FRAME_TLB / 64];
	bool filled[FRAME_MODES]; /* something lies in the mode's TLB, perhaps */
	/* Fences of single pages, counted, and the last of them. */
	uint64_t fences, fenced[FENCES_KNOWN];
	struct fetched fetched[FETCH_PAGES];
	unsigned last_number;
	struct second_entry second[SECOND]; /* last: memory is used where it is touched */
};

#endif
