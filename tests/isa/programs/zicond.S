# Zicond, which the assembler does not know yet.
#include "check.h"
	.macro czero.eqz rd, rs1, rs2
	.insn r 0x33, 5, 7, \rd, \rs1, \rs2
	.endm
	.macro czero.nez rd, rs1, rs2
	.insn r 0x33, 7, 7, \rd, \rs1, \rs2
	.endm
	begin
	rr	czero.eqz, 7, 0, 0
	rr	czero.eqz, 7, 1, 7
	rr	czero.eqz, -7, 0x8000000000000000, -7
	rr	czero.nez, 7, 0, 7
	rr	czero.nez, 7, 1, 0
	rr	czero.nez, 7, 0x100000000, 0
	finish
