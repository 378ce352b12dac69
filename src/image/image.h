/*
 * Guest images: a kernel, an initial file system and perhaps a root disk that `doppel run NAME` boots.
 *
 * Doppel ships no image. A recipe tells how to make one out of packages that apt obtains from the mirror this
 * host already uses; the result lives in $XDG_CACHE_HOME/doppel/images/NAME ($HOME/.cache when not set; NAME@x86_64 for
 * guests of that architecture) and is checked against its manifest (size and hash of every file) before each use. Once an image is there no network
 * is touched. An interrupted pull goes on where it was; two pulls at once wait for each other, in one process or
 * in several.
 *
 * Functions here start apt-get, apt-cache and dpkg-deb, and never print. Thread: any; pull blocks for as long as
 * the download takes. Messages tell the remedy.
 */
#ifndef DOPPEL_IMAGE_IMAGE_H
#define DOPPEL_IMAGE_IMAGE_H

#include "base/error.h"
#include "base/types.h"
#include "engine/engine.h"

/* A constant; lives as long as the program. */
struct image_recipe {
	const char *name;           /* "debian-tiny" */
	const char *help;           /* one line for `doppel image ls` */
	enum engine_arch arch;      /* of the guest */
	const char *folder;         /* in the cache; NULL: the name */
	const char *append;         /* default kernel command line */
	uint64_t download_bytes;    /* about what a pull transfers */
	const char *suite;          /* Debian release that the packages come from */
	const char *kernel;         /* meta-package that depends on the real kernel package */
	const char *const *extra;   /* further packages, NULL after the last */
	const char *const *modules; /* of the kernel, without their dependencies; NULL after the last */
	/* Of an image with a root disk; NULL without: the packages to install besides the essential ones, without
	 * those they depend on; NULL after the last. */
	const char *const *system;
	uint64_t disk_bytes; /* size of the disk, mostly holes */
	uint64_t used_bytes; /* about what it takes on the host while it is made */
	bool local;          /* imported: whatever files there are; a pull can not make it */
};

/* The architecture of its guests as Debian calls it: "riscv64", "amd64". */
const char *image_debian_arch(const struct image_recipe *recipe);

/* Every known image, NULL after the last. */
extern const struct image_recipe *const image_recipes[];

/* The recipe of that name, or of the imported image of that name, for guests of the architecture ("x86_64"; NULL: whatever
 * an imported one is for, riscv64 of the others); NULL, with ERROR_NOT_FOUND and the known names in `e`, when there is
 * none. */
const struct image_recipe *image_recipe_find(const char *name, const char *arch, struct error *e);

enum image_state {
	IMAGE_ABSENT,  /* never pulled, or not to its end */
	IMAGE_READY,   /* every file is as the manifest says */
	IMAGE_STALE,   /* made by another version of doppel; a pull makes it anew, mostly without the network */
	IMAGE_DAMAGED, /* a file is missing or differs; a pull repairs it */
	IMAGE_STATES,
};
/* "absent", "ready", "stale", "damaged" */
extern const char *const image_state_words[IMAGE_STATES];

struct image_status {
	enum image_state state;
	uint64_t bytes;    /* what it takes on disk, downloads included */
	char version[128]; /* of the kernel package: "6.12.107-1"; empty when not known */
	int64_t made;      /* seconds since 1970; 0 when not known */
};
/* Reads and hashes the files (tens of milliseconds). Fails when there is no cache directory to look in. */
MUST_USE int image_status(const struct image_recipe *recipe, struct image_status *out, struct error *e);

/* How far a pull is. Steps follow each other; within one, `done` only grows. */
struct image_progress {
	const char *step; /* what is being done: "reading the package index", "downloading"; a constant */
	uint64_t done;    /* of `total`, in bytes when `bytes`, otherwise in thousandths */
	uint64_t total;   /* 0 while not known: show no bar */
	bool bytes;
};
/* Called in the thread that called image_pull, at each step's start and then whenever there is news. */
typedef void image_progress_fn(void *context, const struct image_progress *progress);

/*
 * Makes the image ready. Does nothing, without network, when it is; *fresh (may be NULL) tells whether anything
 * was made. `progress` may be NULL. ERROR_NOT_FOUND: apt-get, dpkg-deb, Debian's archive keyring or a Debian
 * source is lacking, or an engine for the machine that configures a disk; ERROR_FAILED: network, signature, disk, or a package that is not as expected;
 * ERROR_PERMISSION: the cache directory. On failure the image is as it was before, or absent; downloads so far
 * are kept for the next try.
 */
MUST_USE int image_pull(const struct image_recipe *recipe, image_progress_fn *progress, void *context, bool *fresh,
			struct error *e);

/* Deletes what pulls of this image made, and nothing else; *bytes (may be NULL) is what that gave back.
 * -ENOENT with ERROR_NOT_FOUND when there is nothing of it. */
MUST_USE int image_remove(const struct image_recipe *recipe, uint64_t *bytes, struct error *e);

/* A ready image. The strings belong to it, until image_finish; all zero is an empty one. */
struct image {
	char *kernel;
	char *initrd;
	char *append;
	char *disk;        /* never to be written to; NULL: none */
	bool disk_qcow2;   /* it is qcow2, else raw */
};
/* Of an imported image any of the strings but `append` may be NULL. */
/* Finds the files, after a check against the manifest. -ENOENT with ERROR_NOT_FOUND, and "doppel image pull" as
 * remedy, unless it is IMAGE_READY. */
MUST_USE int image_find(const struct image_recipe *recipe, struct image *out, struct error *e);
void image_finish(struct image *image);

/* A file of an image, or a package that is in it. */
struct image_part {
	const char *kind; /* "file", "package" or "append" */
	const char *name; /* "append": the text */
	const char *version; /* of a package; otherwise "" */
	uint64_t bytes;
};
/* Tells what a ready or stale image is made of, one part a call, in order. -ENOENT as image_find. */
MUST_USE int image_inspect(const struct image_recipe *recipe, void (*tell)(void *context, const struct image_part *part),
			   void *context, struct error *e);

/* What an image is imported from; NULL for what it has not. */
struct image_import {
	const char *kernel, *initrd, *disk, *append;
	enum engine_arch arch; /* that it is for */
};
/* Fills *out from a folder as image_export makes it: kernel, initramfs (or initrd), disk.raw (or disk.qcow2),
 * append. The strings are the caller's to free, by image_import_finish. */
MUST_USE int image_import_folder(const char *folder, struct image_import *out, struct error *e);
void image_import_finish(struct image_import *import);
/* Makes an image of copies of these files. -EEXIST, ERROR_STATE: there is an image of that name; ERROR_USAGE:
 * the name is none, nothing to import, or a disk that is no whole one (qcow2 with a backing file). */
MUST_USE int image_import(const char *name, const struct image_import *import, image_progress_fn *progress,
			  void *context, struct error *e);
/* Copies a ready image's files into the folder `path`, which is made and must not be there. */
MUST_USE int image_export(const struct image_recipe *recipe, const char *path, image_progress_fn *progress,
			  void *context, struct error *e);
/* The next imported image after `previous` ("" for the first), by name; NULL after the last. The string is
 * static. */
const char *image_local_next(const char *previous);

/* Makes the file `path`, which must not be there (-EEXIST), a copy of the image's disk that does not need the
 * image. */
MUST_USE int image_copy_disk(const struct image *image, const char *path, image_progress_fn *progress, void *context,
			     struct error *e);

#endif
