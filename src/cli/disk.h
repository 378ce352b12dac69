/*
 * What the verbs of `doppel disk` share.
 */
#ifndef DOPPEL_CLI_DISK_H
#define DOPPEL_CLI_DISK_H

#include "block/block.h"
#include "cli/verb.h"

extern const struct verb verb_disk_create, verb_disk_info, verb_disk_check, verb_disk_resize, verb_disk_convert;

/* The option --image-format: index of the word to a format. */
extern const char *const disk_format_words[];
enum block_format disk_format(const struct option_value *value);
#define DISK_FORMAT_ROW(what)                                                                                     \
	{                                                                                                         \
		.name = "image-format", .letter = 'i', .type = OPTION_ENUM, .placeholder = "FORMAT",              \
		.words = disk_format_words, .help = what                                                          \
	}

/* Options of a new image, in this order in a verb's table from `first` on. */
enum { DISK_NEW_FORMAT, DISK_NEW_CLUSTER, DISK_NEW_COMPRESSION, DISK_NEW_OPTIONS };
#define DISK_NEW_ROWS                                                                                             \
	DISK_FORMAT_ROW("format of the new image; without it, by the end of its name"),                           \
		{.name = "cluster-size",                                                                          \
		 .letter = 'c',                                                                                   \
		 .type = OPTION_SIZE,                                                                             \
		 .placeholder = "SIZE",                                                                           \
		 .minimum = 512,                                                                                  \
		 .maximum = 2 * MIB,                                                                              \
		 .fallback = "64K",                                                                               \
		 .help = "of a qcow2 image, a power of two"},                                                     \
	{                                                                                                         \
		.name = "compression", .letter = 'z', .type = OPTION_ENUM, .placeholder = "NAME",                 \
		.words = disk_compression_words, .fallback = "zlib",                                              \
		.help = "of clusters of a qcow2 image that are compressed"                                        \
	}
extern const char *const disk_compression_words[];
struct block_create_options disk_new_options(const struct option_value *first);

/* A size that is an operand: "20G". ERROR_USAGE. */
MUST_USE int disk_size(const char *text, uint64_t *out, struct error *e);

#endif
