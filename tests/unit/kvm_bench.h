/* A machine of one or more CPUs under the engine kvm, with small guests of its own: for test_kvm*.c. */
#ifndef KVM_BENCH_H
#define KVM_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/kvm/kvm.h"
#include "x86/platform.h"

/* Guest-physical: tables, then code, below what real mode reaches; the stack ends where code begins. */
#define PML4_AT 0x1000u
#define PDPT_AT 0x2000u
#define PD_AT   0x3000u
#define GDT_AT  0x4000u
#define IDT_AT  0x5000u
#define TSS_AT  0x6000u
#define DEVICES_PD_AT 0xf000u
#define CODE_AT 0x8000u
#define DATA_AT 0x100000u

#define BENCH_RAM (UINT64_C(32) << 20) /* more pages than a ring of KVM's tells of at once */

#define PORT_OUT  0xe9 /* bytes and words that the guest tells */
#define PORT_DONE 0xf4 /* ends the run */
#define MMIO_AT   UINT64_C(0xd0000000)

struct bench {
	struct memory memory;
	struct bus bus, ports;
	struct clock clock;
	struct x86_platform *platform;
	struct x86_cpu *cpus[CPUS_MAX];
	struct engine_vcpu *vcpus[CPUS_MAX];
	unsigned count;
	atomic_uint told_count;
	unsigned slow_from; /* of told: PORT_OUT's device takes 10 ms for each; 0: never */
	uint64_t told[64]; /* by PORT_OUT, and MMIO writes */
	_Atomic uint64_t done;
	uint64_t mmio_value; /* what a read there gives */
	enum power_action power;
};

/* False: this host has no usable /dev/kvm; the test is skipped. */
bool bench_can_run(void);
/* Zeroed RAM, CPUs as after power-on. Fails the test when it does not work. */
void bench_init(struct bench *b, unsigned cpus, unsigned without);
/* From `model`; a negative errno with the message in `e`. */
int bench_try(struct bench *b, unsigned cpus, unsigned without, const char *model, struct error *e);
void bench_finish(struct bench *b);
/* Copies a guest's code to CODE_AT; CPU 0 will begin there. */
void bench_code(struct bench *b, const void *code, const void *end);
void bench_real(struct bench *b);
void bench_protected(struct bench *b);
/* Page tables that map the first GiB and the fourth to themselves, for users too; a GDT with 0x10, 0x18 for ring 0, 0x23, 0x2b for ring 3, a TSS. */
void bench_long(struct bench *b);
/* An entry of the IDT, for 64-bit code, that ring 3 may use. */
void bench_gate(struct bench *b, unsigned vector, uint64_t handler);
void bench_put(struct bench *b, uint64_t at, const void *bytes, size_t length);
/* Hands the CPUs' state over. */
void bench_load(struct bench *b);
/* Runs CPU 0 until the guest is done, or `reason` comes. */
void bench_run(struct bench *b);
struct engine_exit bench_run_one(struct bench *b, unsigned cpu);
/* The sections of a CPU and of the chips. */
void bench_save(struct bench *b, struct state_writer *w);

#endif
