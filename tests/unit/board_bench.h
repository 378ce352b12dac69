/*
 * A board with files of its own, for tests of the whole machine without an engine.
 */
#ifndef DOPPEL_TESTS_BOARD_BENCH_H
#define DOPPEL_TESTS_BOARD_BENCH_H

#include "boot_files.h"

#include "board/virt.h"
#include "board/payload.h"

struct board_bench {
	struct boot_directory directory;
	struct board_config config;
	char output[64]; /* what the guest sent to its console */
	size_t output_length;
};

static inline void bench_write(void *console, const uint8_t *bytes, size_t length)
{
	struct board_bench *bench = console;

	assert_true(bench->output_length + length < sizeof bench->output);
	memcpy(bench->output + bench->output_length, bytes, length);
	bench->output_length += length;
}

static inline void board_bench_init(struct board_bench *bench, bool firmware)
{
	struct blob image = make_image(100000, 0x200000, 200000), initrd = make_noise(7777), raw = make_noise(3000);

	*bench = (struct board_bench){0};
	directory_init(&bench->directory);
	bench->config = (struct board_config){
		.memory_bytes = 32 * MIB,
		.cpus = 3,
		.kernel = directory_add(&bench->directory, "Image", &image),
		.initrd = directory_add(&bench->directory, "initrd", &initrd),
		.append = "console=ttyS0 quiet",
		.firmware = directory_add(&bench->directory, "firmware", &raw),
		.serial = {bench_write, bench},
	};
	if (!firmware)
		bench->config.firmware = NULL;
}

static inline void board_bench_finish(struct board_bench *bench)
{
	directory_finish(&bench->directory);
}

static inline struct board *make_board(const struct board_config *config)
{
	struct board *board;
	struct error e;

	if (board_new(&board, config, &e) < 0)
		fail_msg("board: %s", e.message);
	return board;
}

static inline struct board *make_reset_board(const struct board_config *config)
{
	struct board *board = make_board(config);
	struct error e;

	if (board_reset(board, &e) < 0)
		fail_msg("reset: %s", e.message);
	return board;
}

#endif
