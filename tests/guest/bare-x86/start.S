/*
 * From the boot loader to 64-bit C: by multiboot (with the header below) in 32-bit code without paging, %ebx its information;
 * or by PVH (with the note below), %ebx its own. The first 4 GiB are mapped to themselves, for user code too.
 */
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 3, -(0x1badb002 + 3)

	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18
	.asciz "Xen"
	.long pvh_start

	.text
	.code32
	.global multiboot_start
multiboot_start:
	movl %eax, %ebp
	jmp 1f
pvh_start:
	xorl %ebp, %ebp
1:	cli
	cld
	movl $stack_end, %esp
	movl $level3 + 7, level4
	movl $level2 + 7, %eax
	movl $level3, %edi
	movl $4, %ecx
2:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 2b
	movl $0x87, %eax
	movl $level2, %edi
	movl $2048, %ecx
3:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 3b
	call go_long
	lgdt gdt_pointer
	ljmp $8, $start64

/* Paging and long mode; the caller jumps into 64-bit code then. Changes %eax, %ecx, %edx. */
go_long:
	movl %cr4, %eax
	orl $0x620, %eax
	movl %eax, %cr4
	movl $level4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax
	movl %eax, %cr0
	ret

	.code64
start64:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $stack_end, %esp
	movl %ebp, %edi
	movl %ebx, %esi
	call kernel_main
1:	hlt
	jmp 1b

/* Copied to 0x8000, where a startup message with vector 8 sends another CPU, in real mode. */
	.global other_start, other_end
	.code16
other_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl 0x8000 + other_gdt_pointer - other_start
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $8, $other32
	.align 8
other_gdt:
	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
other_gdt_pointer:
	.word other_gdt_pointer - other_gdt - 1
	.long 0x8000 + other_gdt - other_start
other_end:

	.code32
other32:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $other_stack_end, %esp
	call go_long
	lgdt gdt_pointer
	ljmp $8, $other64
	.code64
other64:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	call other_main
1:	hlt
	jmp 1b

/* Sixty-four vectors. The CPU pushes an error code for some; the others get a zero. */
	.macro stub vector
	.align 16
	.if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17)
	pushq $0
	.endif
	pushq $\vector
	jmp common
	.endm
	.align 16
	.global stubs
stubs:
	.altmacro
	.set number, 0
	.rept 64
	stub %number
	.set number, number + 1
	.endr
	.noaltmacro

common:
	.irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
	pushq %\r
	.endr
	movq %rsp, %rdi
	cld
	call interrupt
	.irp r, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
	popq %\r
	.endr
	addq $16, %rsp
	iretq

/* void enter_user(void (*rip)(void), void *rsp): comes back from ring 3 by leave_user. */
	.global enter_user, leave_user
enter_user:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, kernel_rsp
	pushq $0x1b
	pushq %rsi
	pushq $2
	pushq $0x23
	pushq %rdi
	iretq
leave_user:
	movl $0x10, %eax
	movl %eax, %ss
	movq kernel_rsp, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.data
	.align 8
	.global gdt, gdt_tss
gdt:
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00cff3000000ffff
	.quad 0x00affb000000ffff
gdt_tss:
	.quad 0, 0
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.quad gdt
kernel_rsp:
	.quad 0

	.bss
	.align 4096
level4:	.skip 4096
level3:	.skip 4096
level2:	.skip 4 * 4096
	.skip 16384
stack_end:
	.skip 8192
other_stack_end:
	.section .note.GNU-stack, "", @progbits
