/* What S-mode payloads use: SBI calls, interrupts, further harts. */
#ifndef DOPPEL_TESTS_SUPERVISOR_H
#define DOPPEL_TESTS_SUPERVISOR_H

#include "bare.h"

struct answer {
	int64_t error;
	uint64_t value;
};

struct answer sbi_call_(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
			uint64_t a4);
#define SBI_7(e, f, a, b, c, d, g, ...)                                                                           \
	sbi_call_(e, f, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(g))
/* SBI(extension, function, up to five arguments) */
#define SBI(...) SBI_7(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define expect(answer_, error_, value_)                                                                           \
	do {                                                                                                      \
		struct answer got_ = answer_;                                                                     \
		check_at(#answer_ " error", __LINE__, (uint64_t)got_.error, (uint64_t)(error_));                  \
		check_at(#answer_ " value", __LINE__, got_.value, (uint64_t)(value_));                            \
	} while (0)
#define expect_error(answer_, error_) check_at(#answer_, __LINE__, (uint64_t)(answer_).error, (uint64_t)(error_))

enum {
	BASE = 0x10,
	TIME = 0x54494d45,
	IPI = 0x735049,
	RFENCE = 0x52464e43,
	HSM = 0x48534d,
	SRST = 0x53525354,
	DBCN = 0x4442434e,
	SUSP = 0x53555350,
	STA = 0x535441,
	PMU = 0x504d55,
};
enum {
	OK = 0,
	FAILED = -1,
	NOT_SUPPORTED = -2,
	INVALID_PARAM = -3,
	DENIED = -4,
	INVALID_ADDRESS = -5,
	ALREADY_AVAILABLE = -6,
	ALREADY_STARTED = -7,
	ALREADY_STOPPED = -8,
	NO_SHMEM = -9,
};
enum { STARTED, STOPPED, START_PENDING, STOP_PENDING, SUSPENDED };

/* Whether the SBI is the monitor's own, which has to have everything; another (OpenSBI on QEMU) may lack some. */
bool on_doppel(void);
/* Whether an extension is there; checks that it is on_doppel. */
bool has(uint64_t extension);

/* What the machine gave at reset. */
extern struct {
	uint64_t hart, tree;
} boot;

/* Interrupts taken so far, by number; each is disabled in sie when it is taken. */
extern volatile uint64_t interrupts[16];

/* When set, asked first about each trap, on the hart that took it: true, when nothing is left to do. */
extern bool (*volatile trap_hook)(uint64_t cause, uint64_t epc);

/* For hart_begin: the opaque argument of hart_start and of suspension. */
struct begin {
	uint64_t stack;
	void (*code)(uint64_t hart);
};
extern const char hart_begin[];
/* A stack of 4 KiB for hart `id` (below 8). */
uint64_t stack_of(uint64_t id);
/* Some hart other than the boot hart: harts may have any order at boot. */
uint64_t other_hart(unsigned n);

#endif
