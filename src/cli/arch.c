#include "cli/arch.h"

const char *arch_word(size_t index)
{
	return index <= ENGINE_X86_64 ? engine_arch_name((enum engine_arch)index) : NULL;
}
