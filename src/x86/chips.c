#include "x86/chips.h"

#include <errno.h>
#include <string.h>

#include "x86/platform.h"

#define U64(member) STATE_FIELD(struct x86_chips, member, STATE_U64)
#define U32(member) STATE_FIELD(struct x86_chips, member, STATE_U32)
#define PIC(member) STATE_FIELD_EACH(struct x86_chips, pics, member, STATE_U8)
#define PIT(member, type) STATE_FIELD_EACH(struct x86_chips, pit, member, type)

static const struct state_field fields[] = {
	U64(ioapic_base), U32(ioapic_select), U32(ioapic_id), U32(ioapic_lines), U64(ioapic_redirection),
	PIC(last_irr), PIC(irr), PIC(imr), PIC(isr), PIC(priority_add), PIC(irq_base), PIC(read_reg_select),
	PIC(poll), PIC(special_mask), PIC(init_state), PIC(auto_eoi), PIC(rotate_on_auto_eoi),
	PIC(special_fully_nested_mode), PIC(init4), PIC(elcr), PIC(elcr_mask),
	PIT(count, STATE_U32), PIT(latched_count, STATE_U16), PIT(count_latched, STATE_U8),
	PIT(status_latched, STATE_U8), PIT(status, STATE_U8), PIT(read_state, STATE_U8),
	PIT(write_state, STATE_U8), PIT(write_latch, STATE_U8), PIT(rw_mode, STATE_U8), PIT(mode, STATE_U8),
	PIT(bcd, STATE_U8), PIT(gate, STATE_U8),
	U32(pit_flags), U64(clock_ns),
};

#define PIT_MODE_NONE 0xff /* of no kind yet */

static int validate(const void *shadow, struct error *e)
{
	const struct x86_chips *chips = shadow;

	if (chips->ioapic_base != X86_IOAPIC_BASE)
		return error_set(e, ERROR_FAILED, -EINVAL, "the saved IOAPIC is at 0x%llx instead of 0x%llx",
				 (unsigned long long)chips->ioapic_base, (unsigned long long)X86_IOAPIC_BASE);
	if (chips->clock_ns > INT64_MAX)
		return error_set(e, ERROR_FAILED, -EINVAL, "the saved clock reads %llu ns, which is beyond its range",
				 (unsigned long long)chips->clock_ns);
	for (unsigned i = 0; i < 3; i++)
		if (chips->pit[i].count > 0x10000 || (chips->pit[i].mode > 7 && chips->pit[i].mode != PIT_MODE_NONE))
			return error_set(e, ERROR_FAILED, -EINVAL,
					 "the saved 8254's channel %u has count %u and mode %u, which do not exist", i,
					 chips->pit[i].count, chips->pit[i].mode);
	return 0;
}

const struct state_descriptor x86_chips_state = {
	.kind = "x86.chips",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct x86_chips),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

#define REDIRECTION_MASKED (UINT64_C(1) << 16)

void x86_chips_reset(struct x86_chips *chips)
{
	memset(chips, 0, sizeof *chips);
	chips->ioapic_base = X86_IOAPIC_BASE;
	for (unsigned i = 0; i < X86_LINES; i++)
		chips->ioapic_redirection[i] = REDIRECTION_MASKED;
	/* Lines that an ISA bus can make level-triggered: not the timer's, the keyboard's, the other 8259's, nor the clock's and
	 * the float unit's. */
	chips->pics[0].elcr_mask = 0xf8;
	chips->pics[1].elcr_mask = 0xde;
	chips->pics[0].imr = chips->pics[1].imr = 0xff; /* as firmware leaves them */
	for (unsigned i = 0; i < 3; i++)
		chips->pit[i].mode = PIT_MODE_NONE;
	chips->pit[0].gate = chips->pit[1].gate = 1;
}
