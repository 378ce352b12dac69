/*
 * Page tables that one hart changes while others use them. Each hart has a window of pages of its own that all harts
 * read, write and execute; it moves, protects, unmaps, splits and joins them, fences all harts through the SBI, and
 * from then on nobody may see what was there before. Two address spaces with ASIDs, between which harts change
 * without a fence, share the global pages only.
 */
#ifndef DOPPEL_TESTS_SHOOT_H
#define DOPPEL_TESTS_SHOOT_H

/* By harts 0 to `harts` - 1, all of them both changing and using; called by main. */
void shoot_run(unsigned harts);

#endif
