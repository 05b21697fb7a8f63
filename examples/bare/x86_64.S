/*
 * The least a PVH guest can be: it prints one line and powers off. What it takes from QEMU's start
 * to its end is what QEMU alone takes; tests/bench/boot.sh measures the runtime against it.
 */
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long bare_entry

    .section .text, "ax"
    .code32
    .globl bare_entry
bare_entry:
    movl $message, %esi
    movl $message_end - message, %ecx
    movw $0x3f8, %dx
1:  lodsb
    outb %al, %dx
    loop 1b
    lidt empty_table
    int3                            /* faults thrice: the processor resets */

    .balign 4
empty_table:
    .word 0
    .long 0
message:
    .ascii "bare\r\n"
message_end:

    .section .note.GNU-stack, "", @progbits
