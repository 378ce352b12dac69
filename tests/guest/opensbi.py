#!/usr/bin/env python3
"""A copy of OpenSBI that tells a hart where to start before it tells it to start.

usage: opensbi.py FIRMWARE COPY
sbi_hsm_hart_start of OpenSBI 1.1 (Debian 12's) makes the other hart's state START_PENDING, and then writes argument, address and
mode for it. The other hart may be awake: the interrupt that ended its wait for the cold boot is still pending, so its `wfi`
returns at once. If the first hart's thread loses its processor between these few instructions, the other one begins where the
first began, clears the .bss of a kernel that runs, and both hang. OpenSBI 1.3 turned the order round ("Set the state of a hart
to START_PENDING after the hart is ready"), and so does this. Any other firmware is copied as it is.
"""
import pathlib
import sys

# sd s5,16(s2); sd s4,24(s2); sd s3,32(s2)
WRITES = bytes.fromhex("23385901 233c4901 23303903")
# ld a0,0(s7); li a2,2; li a1,1; add a0,a0,s2; jal cmpxchg; sext.w a4,a0; beqz a4,already; li a5,1; bne a4,a5,invalid;
# mv a0,s1; jal sbi_init_count; ld a5,8(s7)
CLAIM = bytes.fromhex("03b50b00 0946 8545 4a95 efa07fce 1b070500 39cb 8547 6317f704 2685 ef70cf97 83b78b00")
# The same 12 bytes further on: its four jumps lead as far less.
CLAIM_BEHIND = bytes.fromhex("03b50b00 0946 8545 4a95 efa0bfcd 1b070500 29c7 8547 6311f704 2685 ef700f97 83b78b00")


def main(firmware, copy):
    data = pathlib.Path(firmware).read_bytes()
    pathlib.Path(copy).write_bytes(data.replace(CLAIM + WRITES, WRITES + CLAIM_BEHIND))


main(*sys.argv[1:])
