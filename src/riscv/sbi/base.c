/* BASE (SBI 2.0, 4): what this SBI is. */
#include "riscv/csr.h"
#include "riscv/sbi/sbi.h"

#define CONSTANT(name, value)                                                                                     \
	static struct sbi_reply name(struct sbi *sbi, struct hart *hart, const uint64_t *a)                       \
	{                                                                                                         \
		(void)sbi;                                                                                        \
		(void)hart;                                                                                       \
		(void)a;                                                                                          \
		return sbi_ok(value);                                                                             \
	}

CONSTANT(get_spec_version, SBI_SPEC_VERSION)
CONSTANT(get_impl_id, SBI_IMPLEMENTATION_ID)
CONSTANT(get_impl_version, SBI_IMPLEMENTATION_VERSION)

static struct sbi_reply probe_extension(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)hart;
	return sbi_ok(sbi_find(a[0]) != NULL);
}

static struct sbi_reply machine_id(struct hart *hart, unsigned csr)
{
	uint64_t value = 0;

	return csr_peek(hart, csr, &value) ? sbi_ok(value) : sbi_fail(SBI_FAILED);
}

static struct sbi_reply get_mvendorid(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)a;
	return machine_id(hart, CSR_MVENDORID);
}

static struct sbi_reply get_marchid(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)a;
	return machine_id(hart, CSR_MARCHID);
}

static struct sbi_reply get_mimpid(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)a;
	return machine_id(hart, CSR_MIMPID);
}

static sbi_function *const functions[] = {
	get_spec_version, get_impl_id, get_impl_version, probe_extension, get_mvendorid, get_marchid, get_mimpid,
};
SBI_EXTENSION(sbi_base, 0x10);
