/* What is looked at before a loop is done by vectors. */
#include "engine/translate/emit_vector_private.h"

#define WORTH 64 /* instructions in all are worth what it takes to begin */

const enum x64_reg vector_pointers[VECTOR_ROOTS] = {X64_RAX, X64_RCX, X64_RDX};

/* The shift that divides by at least as much. */
static unsigned shift_of(uint32_t divisor)
{
	return divisor > 1 ? 32u - (unsigned)__builtin_clz(divisor - 1) : 0;
}

static void sum(struct emit *e, enum x64_reg reg, unsigned global, int32_t distance)
{
	if (distance && is_pinned(e, global)) {
		x64_lea(e->a, 8, reg, x64_at(pinned(e, global), distance));
	} else {
		emit_copy(e, reg, global);
		if (distance)
			x64_alu_ri(e->a, X64_ADD, 8, reg, distance);
	}
	emit_forget(e);
}

/* rax is at most rcx. */
static void at_most(struct x64 *a)
{
	x64_alu_rr(a, X64_CMP, 8, X64_RAX, X64_RCX);
	x64_cmov(a, X64_A, 8, X64_RAX, X64_RCX);
}

/* Rounds that are worth the while: whole batches. */
static unsigned least(const struct vector *v)
{
	unsigned rounds = WORTH / v->instructions + 1;

	return (rounds + v->rounds - 1) / v->rounds * v->rounds;
}

/* rax = rounds that end with going on; with a way out before a round's end, less the last of them: the one that leaves
 * does not write all that they do. */
static void count_rounds(struct vector_batch *b)
{
	struct emit *e = b->e;
	const struct vector *v = &b->v;

	sum(e, X64_RAX, v->trip.more, v->trip.more_distance);
	if (v->trip.less != IR_ZERO || v->trip.less_distance) {
		sum(e, X64_RDX, v->trip.less, v->trip.less_distance);
		x64_alu_rr(e->a, X64_SUB, 8, X64_RAX, X64_RDX);
	} else if (v->trip.ordered) {
		x64_alu_ri(e->a, X64_SUB, 8, X64_RAX, 0);
	}
	if (v->trip.ordered)
		vector_add_way(&b->never, x64_jcc_forward(e->a, v->trip.is_signed ? X64_L : X64_B));
	if (v->trip.shrinks > 1)
		x64_shift_ri(e->a, X64_SHR, 8, X64_RAX, shift_of((uint32_t)v->trip.shrinks));
	x64_alu_ri(e->a, X64_CMP, 8, X64_RAX, (int32_t)least(v) + v->trip.early);
	vector_add_way(&b->never, x64_jcc_forward(e->a, X64_B));
	if (v->trip.early)
		x64_alu_ri(e->a, X64_SUB, 8, X64_RAX, 1);
}

static void look_equal(struct vector_batch *b)
{
	struct emit *e = b->e;

	for (unsigned i = 0; i < b->v.equal_count; i++) {
		const struct vector_equal *equal = &b->v.equal[i];

		sum(e, X64_RDX, equal->other, equal->distance);
		emit_with(e, X64_CMP, 8, X64_RDX, equal->global);
		vector_add_way(&b->never, x64_jcc_forward(e->a, X64_NE));
	}
}

/* No more rounds than leave a group in the page that it was in last, the round behind them included. */
static void stay_in_page(struct vector_batch *b, const struct vector_group *group)
{
	const struct vector_root *root = &b->v.roots[group->root];
	bool up = root->stride > 0;
	struct x64 *a = b->e->a;
	unsigned shift = shift_of((uint32_t)(up ? root->stride : -root->stride));

	sum(b->e, X64_RDX, root->global, group->low);
	x64_alu_rm(a, X64_SUB, 8, X64_RDX, emit_walk_slot(group->group, offsetof(struct frame_walk, page)));
	x64_load(a, 8, X64_RCX, emit_walk_slot(group->group, offsetof(struct frame_walk, room)));
	x64_alu_rr(a, X64_SUB, 8, X64_RCX, X64_RDX);
	vector_add_way(&b->later, x64_jcc_forward(a, X64_BE));
	if (up)
		x64_alu_ri(a, X64_SUB, 8, X64_RCX, 1);
	else
		x64_mov_rr(a, 8, X64_RCX, X64_RDX);
	if (shift)
		x64_shift_ri(a, X64_SHR, 8, X64_RCX, shift);
	at_most(a);
}

/* What a root's other groups know of the page is the same: the guest may have changed its tables between two looks, and one
 * group may load only. */
static void agree(struct vector_batch *b, const struct vector_group *group)
{
	const struct vector_root *root = &b->v.roots[group->root];
	struct x64 *a = b->e->a;

	if (root->group == group->group)
		return;
	x64_load(a, 8, X64_RCX, emit_walk_slot(group->group, offsetof(struct frame_walk, addend)));
	x64_alu_rm(a, X64_CMP, 8, X64_RCX, emit_walk_slot(root->group, offsetof(struct frame_walk, addend)));
	vector_add_way(&b->never, x64_jcc_forward(a, X64_NE));
}

/* rax = batches, which the frame is told. */
static void count_batches(struct vector_batch *b)
{
	struct x64 *a = b->e->a;

	x64_mov_rr(a, 8, X64_RCX, FRAME_BUDGET);
	x64_shift_ri(a, X64_SHR, 8, X64_RCX, shift_of(b->v.instructions));
	at_most(a);
	x64_alu_ri(a, X64_CMP, 8, X64_RAX, (int32_t)least(&b->v));
	vector_add_way(&b->later, x64_jcc_forward(a, X64_B));
	if (b->v.rounds > 1)
		x64_shift_ri(a, X64_SHR, 8, X64_RAX, shift_of(b->v.rounds));
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(batches)), X64_RAX);
}

/* A single that is read is boxed; if not, the loop does what must be done. */
static void look_boxed(struct vector_batch *b)
{
	for (unsigned i = 0; i < b->v.input_count; i++) {
		unsigned number = b->v.inputs[i].low - VECTOR_FLOATS;

		if (b->v.size != 4 || b->v.inputs[i].kind != VECTOR_GLOBAL || number >= 32)
			continue;
		emit_compare_box(b->e, number, X64_RDX);
		vector_add_way(&b->never, x64_jcc_forward(b->e->a, X64_NE));
	}
}

/* What must hold before, with the ways on where it does not. */
void vector_look(struct vector_batch *b)
{
	count_rounds(b);
	look_equal(b);
	look_boxed(b);
	for (unsigned i = 0; i < b->v.group_count; i++) {
		stay_in_page(b, &b->v.groups[i]);
		agree(b, &b->v.groups[i]);
	}
	count_batches(b);
}

/* Whether each round moves all roots from an aligned double word to none, and back. */
static bool alternates(const struct vector *v)
{
	for (unsigned i = 0; i < v->root_count; i++)
		if (!(v->roots[i].stride & 4))
			return false;
	return true;
}

static const struct vector_code *first_access(const struct vector *v, unsigned root)
{
	const struct vector_code *code = v->codes;

	while (code->kind > VECTOR_STORE || code->root != root)
		code++;
	return code;
}

static void look_at_place(struct vector_batch *b, const struct vector_code *code, int32_t mask, struct vector_ways *ways)
{
	x64_lea(b->e->a, 4, VECTOR_COUNTER, x64_at(vector_pointers[code->root], code->number));
	x64_test_ri(b->e->a, 4, VECTOR_COUNTER, mask);
	vector_add_way(ways, x64_jcc_forward(b->e->a, X64_NE));
}

/* Where other harts look, halves of vectors of words are aligned: then they are read and written at once. After one more round
 * they may be, if they are for all roots or for none. */
static void look_aligned(struct vector_batch *b)
{
	const struct vector_code *first;
	struct x64 *a = b->e->a;

	if (b->v.size == 8 || b->e->runtime->alone)
		return;
	first = first_access(&b->v, 0);
	for (unsigned i = 1; i < b->v.root_count; i++) {
		const struct vector_code *code = first_access(&b->v, i);

		x64_lea(a, 4, VECTOR_COUNTER, x64_at(vector_pointers[i], code->number - first->number));
		x64_alu_rr(a, X64_SUB, 4, VECTOR_COUNTER, vector_pointers[0]);
		x64_test_ri(a, 4, VECTOR_COUNTER, 7);
		vector_add_way(&b->given_up, x64_jcc_forward(a, X64_NE));
	}
	look_at_place(b, first, alternates(&b->v) ? 3 : 7, &b->given_up);
	if (alternates(&b->v))
		look_at_place(b, first, 4, &b->not_yet);
}

static void look_apart(struct vector_batch *b)
{
	struct x64 *a = b->e->a;

	for (unsigned i = 0; i < b->v.apart_count; i++) {
		const struct vector_apart *apart = &b->v.apart[i];

		if (apart->loads && b->e->runtime->alone)
			continue;
		x64_mov_rr(a, 8, VECTOR_COUNTER, vector_pointers[apart->root]);
		x64_alu_rr(a, X64_SUB, 8, VECTOR_COUNTER, vector_pointers[apart->other]);
		x64_alu_ri(a, X64_SUB, 8, VECTOR_COUNTER, apart->low);
		x64_alu_ri(a, X64_CMP, 8, VECTOR_COUNTER, apart->high - apart->low);
		vector_add_way(&b->given_up, x64_jcc_forward(a, X64_BE));
	}
}

void vector_look_at_places(struct vector_batch *b)
{
	look_apart(b);
	look_aligned(b);
}
