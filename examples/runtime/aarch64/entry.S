/*
 * The entry, the first translation table and the exception vectors. A loader enters at EL1, or at
 * EL2 where the machine offers virtualization, with the MMU off; x0 is the device tree's address,
 * or 0 where the loader left it at the start of memory. The ELF note tells Shoal what this is.
 */
#include "layout.h"

    .section .note.Shoal, "a", %note
    .balign 4
    .long 6, 4, 1
    .asciz "Shoal"
    .balign 4
    .long LAYOUT_ABI_VERSION

/* Until the final tables are built: 1 GiB of devices, then memory. It is part of the image and not
 * written here, since what is written with the caches off might not be what a walk reads. */
    .section .rodata
    .balign 64
boot_table:
    .quad LAYOUT_PAGE_BLOCK | LAYOUT_PAGE_KIND(LAYOUT_MEMORY_DEVICE) | LAYOUT_PAGE_ACCESSED | \
          LAYOUT_PAGE_LOCAL | 3 << 53
    .set address, LAYOUT_MEMORY_BASE
    .rept 3
    .quad address | LAYOUT_PAGE_BLOCK | LAYOUT_PAGE_KIND(LAYOUT_MEMORY_NORMAL) | \
          LAYOUT_PAGE_ACCESSED | LAYOUT_PAGE_SHARED | LAYOUT_PAGE_LOCAL
    .set address, address + LAYOUT_MEMORY_BASE
    .endr

    .section .text.entry, "ax"
    .globl elf_entry
elf_entry:
    msr daifset, #15
    mrs x1, CurrentEL
    cmp x1, #(2 << 2)
    b.ne 2f

    /* From EL2 to EL1, with the timers and a GICv3's registers in reach from there. */
    mov x1, #(1 << 31)              /* HCR_EL2.RW: EL1 is 64-bit */
    msr hcr_el2, x1
    mov x1, #3
    msr cnthctl_el2, x1
    msr cntvoff_el2, xzr
    mov x1, #0x33ff
    msr cptr_el2, x1
    msr hstr_el2, xzr
    mrs x1, midr_el1
    msr vpidr_el2, x1
    mrs x1, mpidr_el1
    msr vmpidr_el2, x1
    mrs x1, id_aa64pfr0_el1
    tst x1, #(15 << 24)
    b.eq 1f
    mrs x1, s3_4_c12_c9_5           /* ICC_SRE_EL2 */
    mov x2, #9                      /* system registers, for EL1 too */
    orr x1, x1, x2
    msr s3_4_c12_c9_5, x1
1:  ldr x1, =0x30d00800             /* SCTLR_EL1: only what must be one */
    msr sctlr_el1, x1
    mov x1, #0x3c5                  /* EL1h, all masked */
    msr spsr_el2, x1
    adr x1, 2f
    msr elr_el2, x1
    eret

2:  ldr x1, =0x04ff                 /* MAIR_EL1: normal, device */
    msr mair_el1, x1
    mrs x1, id_aa64mmfr0_el1        /* as many physical address bits as there are, at most 48 */
    and x1, x1, #15
    mov x2, #5
    cmp x1, x2
    csel x1, x1, x2, lo
    lsl x1, x1, #32
    ldr x2, =LAYOUT_TRANSLATION | LAYOUT_TRANSLATION_BOOT
    orr x1, x1, x2
    msr tcr_el1, x1
    adrp x1, boot_table
    add x1, x1, :lo12:boot_table
    msr ttbr0_el1, x1
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
    ldr x1, =0x30d0180d             /* SCTLR_EL1: MMU, caches, stack alignment, no unaligned trap */
    msr sctlr_el1, x1
    isb
    adrp x1, boot_stack_end
    add x1, x1, :lo12:boot_stack_end
    mov sp, x1
    adrp x1, exception_vectors
    add x1, x1, :lo12:exception_vectors
    msr vbar_el1, x1
    isb
    msr daifclr, #4                 /* system errors are told, not waited with */
    mov x29, xzr
    mov x30, xzr
    bl aarch64_start
    b .
    .ltorg

    .text
/* A fault never returns: it takes a stack of its own, for it may be the boot stack's overflow. */
    .macro fault_vector kind
    .balign 128
    mov x0, #\kind
    b fault_common
    .endm

    .balign 2048
exception_vectors:
    fault_vector 0
    fault_vector 1
    fault_vector 2
    fault_vector 3
    fault_vector 4
    .balign 128
    b interrupt_common
    fault_vector 6
    fault_vector 7
    .set number, 8
    .rept 8
    .balign 128
    mov x0, #number
    b fault_common
    .set number, number + 1
    .endr

fault_common:
    mov x4, sp
    adrp x1, exception_stack_end
    add x1, x1, :lo12:exception_stack_end
    mov sp, x1
    mrs x1, esr_el1
    mrs x2, elr_el1
    mrs x3, far_el1
    bl interrupts_panic
    b .

interrupt_common:
    stp x0, x1, [sp, #-160]!
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x30, [sp, #144]
    bl interrupts_dispatch
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldp x8, x9, [sp, #64]
    ldp x10, x11, [sp, #80]
    ldp x12, x13, [sp, #96]
    ldp x14, x15, [sp, #112]
    ldp x16, x17, [sp, #128]
    ldp x18, x30, [sp, #144]
    ldp x0, x1, [sp], #160
    eret

    /* First of what is written, with constants and code below: an overflow that leaps over the guard
 * does no harm either. */
    .section .bss.stacks, "aw", %nobits
    .balign 4096
    .globl boot_stack_guard
boot_stack_guard:
    .skip 4096
    .skip LAYOUT_STACK_SIZE
boot_stack_end:
    .skip 4096
exception_stack_end:

    .section .note.GNU-stack, "", %progbits
