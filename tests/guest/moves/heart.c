/*
 * What a Linux guest does while it moves, as its clients want it (tests/guest/hosts.py).
 *
 *   heart MIB WORKERS     answers clients at TCP port 7000; so many processes have written so much memory, write and check it
 *
 * A client begins with a request of 24 bytes. "stream": its blocks are checked and answered, each with a sum and a number; an
 * answer tells how many words of memory were found wrong. "dirty": `a` bytes of memory are written a second from now on, ~0 for as
 * many as can be; with `b` 1 the guest does not sleep between, and so needs no timer. "wrote" asks how many pages were. Integers
 * are little-endian. Datagrams to port 7000 are sent back.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PORT   7000
#define PAGE   4096
#define STRIDE 584 /* words of a page that are written, in different lines of it */
#define SLICE_NS UINT64_C(5000000)

struct request {
	char what[8];
	uint64_t a, b;
};

struct block {
	uint64_t number, wrong;
	uint8_t bytes[1000];
	uint64_t sum; /* CRC-32 of all before it */
};

/* Of all processes. */
static struct shared {
	uint64_t rate; /* bytes a second, of each worker */
	uint64_t wrong, wrote;
	uint64_t ready; /* workers that have written all of theirs once */
	uint32_t on, awake; /* on: memory is to be written; awake: without sleep */
} *shared;
static uint32_t crc_table[256];
static uint64_t workers;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec t = {(time_t)(ns / UINT64_C(1000000000)), (long)(ns % UINT64_C(1000000000))};

	nanosleep(&t, NULL);
}

/* ---- Memory ---- */

static uint64_t word(uint64_t at, uint64_t turn)
{
	return (at * UINT64_C(0x9e3779b97f4a7c15)) ^ turn;
}

static void turn_page(uint8_t *page, uint64_t number, uint64_t turn)
{
	for (uint64_t at = 0; at + 8 <= PAGE; at += STRIDE) {
		volatile uint64_t *value = (volatile uint64_t *)(page + at);

		if (*value != (turn ? word(number * PAGE + at, turn) : 0))
			__atomic_add_fetch(&shared->wrong, 1, __ATOMIC_SEQ_CST);
		*value = word(number * PAGE + at, turn + 1);
	}
}

/* How many pages are due after so long, at most a whole slice's; what was not done in time is left out. */
static uint64_t due(uint64_t ns)
{
	uint64_t rate = __atomic_load_n(&shared->rate, __ATOMIC_RELAXED);

	if (rate == UINT64_MAX)
		return 64;
	return (ns > 4 * SLICE_NS ? 4 * SLICE_NS : ns) * rate / (PAGE * UINT64_C(1000000000));
}

static void rest(void)
{
	if (!__atomic_load_n(&shared->on, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &shared->on, FUTEX_WAIT, 0, NULL, NULL, 0);
	else if (!__atomic_load_n(&shared->awake, __ATOMIC_RELAXED))
		sleep_ns(SLICE_NS);
}

static void write_memory(uint64_t pages)
{
	uint8_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t then = now_ns(), page = 0, turn = 1;

	for (uint64_t i = 0; i < pages; i++)
		turn_page(memory + i * PAGE, i, 0);
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		uint64_t now = now_ns(), count = due(now - then);

		if (count > 0)
			then = now;
		for (uint64_t i = 0; i < count; i++) {
			turn_page(memory + page * PAGE, page, turn);
			page = (page + 1) % pages;
			turn += page == 0;
		}
		__atomic_add_fetch(&shared->wrote, count, __ATOMIC_RELAXED);
		rest();
	}
}

static uint64_t set_rate(const struct request *request)
{
	shared->rate = request->a == UINT64_MAX ? UINT64_MAX : request->a / workers;
	shared->awake = request->b || request->a == UINT64_MAX;
	__atomic_store_n(&shared->on, request->a != 0, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &shared->on, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	return request->a;
}

/* ---- Clients ---- */

static uint32_t crc(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint32_t sum = UINT32_MAX;

	for (size_t i = 0; i < size; i++)
		sum = crc_table[(sum ^ at[i]) & 0xff] ^ sum >> 8;
	return ~sum;
}

static void fill_crc_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? UINT32_C(0xedb88320) : 0);
		crc_table[i] = value;
	}
}

static int read_all(int fd, void *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, (uint8_t *)to + done, size - done);

		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return 0;
}

static void stream(int fd)
{
	struct block block;

	for (uint64_t number = 0; read_all(fd, &block, sizeof block) == 0; number++) {
		if (block.number != number || block.sum != crc(&block, offsetof(struct block, sum)))
			return;
		for (size_t i = 0; i < sizeof block.bytes; i++)
			block.bytes[i] ^= 0x5a;
		block.wrong = __atomic_load_n(&shared->wrong, __ATOMIC_SEQ_CST);
		block.sum = crc(&block, offsetof(struct block, sum));
		if (write(fd, &block, sizeof block) != sizeof block)
			return;
	}
}

static void send_back(void)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (bind(fd, (const struct sockaddr *)&any, sizeof any) < 0)
		exit(1);
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof from;
		uint8_t bytes[64];
		ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length);

		if (n > 0)
			(void)!sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, length);
	}
}

static void tell(int fd, uint64_t value)
{
	(void)!write(fd, &value, sizeof value);
}

static void serve(int fd)
{
	struct request request;
	const int yes = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	if (read_all(fd, &request, sizeof request) < 0)
		return;
	if (strcmp(request.what, "stream") == 0)
		stream(fd);
	else if (strcmp(request.what, "dirty") == 0)
		tell(fd, set_rate(&request));
	else if (strcmp(request.what, "wrote") == 0)
		tell(fd, __atomic_load_n(&shared->wrote, __ATOMIC_RELAXED));
}

static int listen_at(uint16_t port)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, (const struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 10) < 0) {
		perror("heart: listen");
		exit(1);
	}
	return fd;
}

int main(int count, char **arguments)
{
	int listener;

	if (count != 3) {
		fprintf(stderr, "usage: heart MIB WORKERS\n");
		return 2;
	}
	workers = strtoull(arguments[2], NULL, 10);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	fill_crc_table();
	for (uint64_t i = 0; i < workers; i++)
		if (fork() == 0)
			write_memory(strtoull(arguments[1], NULL, 10) * 1024 * 1024 / PAGE / workers);
	while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < workers)
		sleep_ns(SLICE_NS);
	if (fork() == 0)
		send_back();
	listener = listen_at(PORT);
	puts("heart: beats");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			serve(fd);
			_exit(0);
		}
		close(fd);
	}
}
