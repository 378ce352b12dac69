/*
 * Code that one hart rewrites while others run it. Each hart has functions of its own that return the number of
 * their last change; it changes them, makes the change good on all harts, by the SBI's remote fence or by an
 * interrupt whose handler fences, and says so; whoever then calls the function must not see anything older.
 */
#ifndef DOPPEL_TESTS_PATCH_H
#define DOPPEL_TESTS_PATCH_H

/* By harts 0 to `harts` - 1, all of them both changing and calling; called by main. */
void patch_run(unsigned harts);

#endif
