/*
 * PVH entry (32-bit protected mode, paging off, %ebx = start info), the way to long mode, and the
 * interrupt stubs. The two ELF notes tell the loader where to enter, and Shoal what this is.
 */
#include "layout.h"

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_entry

    .section .note.Shoal, "a", @note
    .balign 4
    .long 6, 4, 1
    .asciz "Shoal"
    .balign 4
    .long LAYOUT_ABI_VERSION

    .section .text.entry, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    movl $boot_stack_end, %esp
    movl %ebx, %esi

    /* Four page directories map the first 4 GiB onto themselves with 2 MiB pages. */
    movl $page_directories, %edi
    movl $0x83, %eax                /* present, writable, 2 MiB */
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b

    movl $page_directories + 0x3, %eax
    movl $page_directory_pointers, %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 2b

    movl $page_directory_pointers + 0x3, page_map
    movl $page_map, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                 /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx          /* EFER */
    rdmsr
    orl $0x100, %eax                /* long mode */
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax           /* paging, write protection, protection */
    movl %eax, %cr0
    lgdt descriptor_table_pointer
    ljmp $LAYOUT_CODE_SELECTOR, $long_mode_entry

    .code64
long_mode_entry:
    movl $LAYOUT_DATA_SELECTOR, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %esi, %edi
    xorl %ebp, %ebp
    call x86_64_start
    ud2

    .text
/* One stub a vector. Those without an error code push a zero in its place. */
    .macro interrupt_stub vector
interrupt_stub_\vector:
    .if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21)
    pushq $0
    .endif
    pushq $\vector
    jmp interrupt_common
    .endm

    .altmacro
    .macro interrupt_stub_of vector
    interrupt_stub \vector
    .endm
    .set number, 0
    .rept LAYOUT_VECTOR_COUNT
    interrupt_stub_of %number
    .set number, number + 1
    .endr

interrupt_common:
    cld
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    movq %rsp, %rdi
    /* The machine aligned the stack before its frame of 5 words; 2 + 9 words follow: aligned. */
    call interrupt_dispatch
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

    .section .rodata
    .balign 8
    .globl interrupt_stubs
interrupt_stubs:
    .macro interrupt_stub_address vector
    .quad interrupt_stub_\vector
    .endm
    .set number, 0
    .rept LAYOUT_VECTOR_COUNT
    interrupt_stub_address %number
    .set number, number + 1
    .endr

    .balign 8
descriptor_table_pointer:
    .word descriptor_table_end - descriptor_table - 1
    .quad descriptor_table

    .data
    .balign 16
    .globl descriptor_table
descriptor_table:
    .quad 0
    .quad 0x00af9a000000ffff        /* code, 64-bit */
    .quad 0x00cf92000000ffff        /* data */
    .quad 0, 0                      /* task state, filled in by interrupts.c */
descriptor_table_end:

    .section .bss.tables, "aw", @nobits
    .balign 4096
page_map:
    .skip 4096
page_directory_pointers:
    .skip 4096
    .globl page_directories
page_directories:
    .skip 4 * 4096
    .globl boot_stack_guard
boot_stack_guard:
    .skip 4096
    .skip LAYOUT_STACK_SIZE
    .globl boot_stack_end
boot_stack_end:

    .section .note.GNU-stack, "", @progbits
