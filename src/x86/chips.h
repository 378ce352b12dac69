/*
 * State of what all CPUs of a PC share and the engine's host emulates with them: IOAPIC, the two 8259s, the 8254, and the
 * paravirtual clock (Intel 82093AA, 8259A, 8254; Linux, Documentation/virt/kvm/x86/msr.rst).
 */
#ifndef DOPPEL_X86_CHIPS_H
#define DOPPEL_X86_CHIPS_H

#include "state/state.h"

#define X86_LINES 24 /* inputs of the IOAPIC: global system interrupts 0 to 23 */

struct x86_pic {
	uint8_t last_irr, irr, imr, isr, priority_add, irq_base, read_reg_select, poll, special_mask, init_state,
		auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode, init4, elcr, elcr_mask;
};

struct x86_pit_channel {
	uint32_t count;
	uint16_t latched_count;
	uint8_t count_latched, status_latched, status, read_state, write_state, write_latch, rw_mode, mode, bcd, gate;
};

struct x86_chips {
	uint64_t ioapic_base;
	uint32_t ioapic_select, ioapic_id, ioapic_lines; /* lines: a bit for each input that is high */
	uint64_t ioapic_redirection[X86_LINES];
	struct x86_pic pics[2];
	struct x86_pit_channel pit[3];
	uint32_t pit_flags; /* 1: the HPET has taken its interrupt; 2: port 0x61's speaker is on */
	uint64_t clock_ns;  /* the paravirtual clock's time, while the machine's clock stands */
};

extern const struct state_descriptor x86_chips_state;
/* As after power-on: all masked, edges, nothing counts. */
void x86_chips_reset(struct x86_chips *chips);

#endif
