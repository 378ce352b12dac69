/*
 * Physical memory protection: NA4, NAPOT and TOR, the order of entries, each permission, partial matches, walks
 * of page tables, and last of all the lock, which no payload can undo.
 */
#include "paging.h"

static uint32_t area[2048] __attribute__((aligned(8192)));
#define BASE ((uint64_t)area)

enum { R = 1, W = 2, X = 4, TOR = 8, NA4 = 16, NAPOT = 24, LOCK = 128 };

static void set(unsigned entry, uint64_t address, uint64_t config)
{
	uint64_t shift = 8 * (entry & 7), config_word;

	switch (entry) {
	case 0:
		csr_write(pmpaddr0, address);
		break;
	case 1:
		csr_write(pmpaddr1, address);
		break;
	case 2:
		csr_write(pmpaddr2, address);
		break;
	default:
		csr_write(pmpaddr15, address);
	}
	config_word = entry < 8 ? csr_read(pmpcfg0) : csr_read(pmpcfg2);
	config_word = (config_word & ~(UINT64_C(255) << shift)) | config << shift;
	if (entry < 8)
		csr_write(pmpcfg0, config_word);
	else
		csr_write(pmpcfg2, config_word);
	fence_vma();
}

static uint64_t napot(uint64_t address, uint64_t size)
{
	return address >> 2 | (size / 8 - 1);
}

/* All of memory in the last entry, or in none. */
static void background(unsigned permissions)
{
	csr_write(pmpcfg0, 0);
	csr_write(pmpcfg2, 0);
	set(15, UINT64_MAX, permissions ? NAPOT | permissions : 0);
}

static void nothing_open(void)
{
	/* An entry that matches elsewhere: without any, QEMU 7.2 refuses the mret itself. */
	background(0);
	set(2, HOLE >> 2, NA4 | R);
	context("no entry", 0, 0, 0);
	check(try_load(S, BASE, 8), LOAD_ACCESS);
	check(last.tval, BASE);
	check(try_store(U, BASE, 8), STORE_ACCESS);
	check(try_fetch(S, BASE), FETCH_ACCESS);
	check(last.tval, BASE);
	check(try_load(M, BASE, 8), 0);
	check(try_fetch(M, BASE), 0);
}

/* R without W, W without R (reserved: not tried), and so on, for S and U; M is not bound by unlocked entries. */
static void permissions(void)
{
	for (unsigned bits = 0; bits < 8; bits++) {
		if ((bits & 3) == W)
			continue;
		background(R | W | X);
		set(0, napot(BASE, 4096), NAPOT | bits);
		for (unsigned mode = U; mode <= S; mode++) {
			context("permissions, mode", bits, mode, 0);
			check(try_load(mode, BASE + 64, 8), bits & R ? 0 : LOAD_ACCESS);
			check(try_store(mode, BASE + 64, 8), bits & W ? 0 : STORE_ACCESS);
			check(try_fetch(mode, BASE), bits & X ? 0 : FETCH_ACCESS);
			check(try_load(mode, BASE + 4096, 8), 0);
		}
		check(try_load(M, BASE, 8), 0);
		check(try_store(M, BASE + 64, 8), 0);
		check(try_fetch(M, BASE), 0);
	}
}

/* Whether each word of the first page can be loaded: just those in [from, to). */
static void expect_window(uint64_t from, uint64_t to)
{
	uint64_t begin = from >= 32 ? from - 32 : 0;

	for (uint64_t at = begin; at < to + 32; at += 4) {
		context("window: from, to, at", from, to, at);
		check(try_load(S, BASE + at, 4), at >= from && at < to ? 0 : LOAD_ACCESS);
	}
}

static void ranges(void)
{
	background(0);
	set(0, (BASE + 256) >> 2, NA4 | R);
	expect_window(256, 260);
	for (uint64_t size = 8; size <= 2048; size *= 2) {
		background(0);
		set(0, napot(BASE + 2048, size), NAPOT | R);
		expect_window(2048, 2048 + size);
	}
	background(0);
	set(0, (BASE + 100) >> 2, 0);
	set(1, (BASE + 148) >> 2, TOR | R);
	expect_window(100, 148);
	/* From 0 when it is the first entry; nothing when the range is empty. */
	background(0);
	set(0, (BASE + 64) >> 2, TOR | R);
	context("TOR from 0", 0, 0, 0);
	check(try_load(S, BASE + 60, 4), 0);
	check(try_load(S, BASE + 64, 4), LOAD_ACCESS);
	background(0);
	set(0, (BASE + 64) >> 2, 0);
	set(1, (BASE + 64) >> 2, TOR | R);
	check(try_load(S, BASE + 60, 4), LOAD_ACCESS);
	check(try_load(S, BASE + 64, 4), LOAD_ACCESS);
}

/* The entry of lowest number decides, if only for a part of the access, which then fails. */
static void order(void)
{
	background(R | W | X);
	set(0, (BASE + 128) >> 2, NA4 | R);
	set(1, napot(BASE + 128, 64), NAPOT);
	context("order", 0, 0, 0);
	check(try_load(S, BASE + 128, 4), 0);
	check(try_store(S, BASE + 128, 4), STORE_ACCESS);
	check(try_load(S, BASE + 132, 4), LOAD_ACCESS);
	check(try_load(S, BASE + 192, 4), 0);
	/* Both words may be read, but one entry does not match all of the access (Privileged 3.7.1.3). */
	set(1, 0, 0);
	check(try_load(S, BASE + 132, 4), 0);
	check(try_load(S, BASE + 128, 8), LOAD_ACCESS);
	check(try_load(S, BASE + 136, 8), 0);
	check(try_load(S, BASE + 120, 8), 0);
}

/* Entries change what was allowed a moment ago. */
static void changes(void)
{
	for (unsigned i = 0; i < 4; i++) {
		context("changes", i, 0, 0);
		background(R | W | X);
		check(try_load(S, BASE, 8), 0);
		check(try_fetch(S, BASE), 0);
		set(0, napot(BASE, 4096), NAPOT);
		check(try_load(S, BASE, 8), LOAD_ACCESS);
		check(try_fetch(S, BASE), FETCH_ACCESS);
		set(0, napot(BASE, 4096), 0);
		check(try_load(S, BASE, 8), 0);
	}
}

/* A page table that S may not read: an access fault of the kind of the access. */
static void walks(void)
{
	uint64_t at = UINT64_C(0x123400000), *entry;

	background(R | W | X);
	paging_reset(3);
	entry = paging_map(at, BASE, 0, PTE_ALL);
	set(0, napot((uint64_t)entry & ~(PAGE - 1), 4096), NAPOT);
	paging_on(0);
	context("walk", 0, 0, 0);
	check(try_load(S, at, 8), LOAD_ACCESS);
	check(last.tval, at);
	check(try_store(S, at, 8), STORE_ACCESS);
	check(try_fetch(S, at), FETCH_ACCESS);
	check(last.tval, at);
	set(0, napot((uint64_t)entry & ~(PAGE - 1), 4096), NAPOT | R);
	check(try_load(S, at, 8), 0);
	/* And the page behind it. */
	set(1, napot(BASE, 4096), NAPOT | R);
	check(try_load(S, at + 64, 8), 0);
	check(try_store(S, at + 64, 8), STORE_ACCESS);
	check(last.tval, at + 64);
	check(try_fetch(S, at), FETCH_ACCESS);
	csr_write(satp, 0);
	fence_vma();
}

/* Locked entries bind M-mode, and stay: the configuration, the address, and the address below a TOR. */
static void locks(void)
{
	uint64_t config, address;

	background(R | W | X);
	set(0, (BASE + 4096) >> 2, 0);
	set(1, (BASE + 4096 + 64) >> 2, TOR | R | LOCK);
	context("lock", 0, 0, 0);
	check(try_load(M, BASE + 4096, 8), 0);
	check(try_store(M, BASE + 4096, 8), STORE_ACCESS);
	check(try_fetch(M, BASE + 4096), FETCH_ACCESS);
	check(try_store(M, BASE + 4096 + 64, 8), 0);
	check(try_store(M, BASE + 4096 - 8, 8), 0);
	config = csr_read(pmpcfg0);
	csr_write(pmpcfg0, 0);
	check(csr_read(pmpcfg0) & 0xff00, config & 0xff00);
	address = csr_read(pmpaddr1);
	csr_write(pmpaddr1, 0);
	check(csr_read(pmpaddr1), address);
	address = csr_read(pmpaddr0);
	csr_write(pmpaddr0, 0);
	check(csr_read(pmpaddr0), address);
	check(try_store(M, BASE + 4096, 8), STORE_ACCESS);
}

/* The odd configuration registers do not exist in RV64; addresses have 54 bits. */
static naked void odd_config(void)
{
	asm("csrr a0, 0x3a1; ret");
}

static void registers(void)
{
	context(NULL, 0, 0, 0);
	check(run(M, odd_config, 0, 0).cause, ILLEGAL);
	background(R | W | X);
	csr_write(pmpaddr2, -1);
	/* QEMU 7.2 keeps all bits of both. */
	check_strictly(csr_read(pmpaddr2), (UINT64_C(1) << 54) - 1);
	csr_write(pmpaddr2, 0);
	/* Bits 5 and 6 of a configuration are always 0. */
	csr_write(pmpcfg0, 0x60);
	check_strictly(csr_read(pmpcfg0), 0);
}

int main(void)
{
	area[0] = area[1024] = 0x00000073;
	nothing_open();
	permissions();
	ranges();
	order();
	changes();
	walks();
	registers();
	locks();
	return 0;
}
