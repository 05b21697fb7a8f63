/*
 * The least an ELF guest of QEMU's virt can be: it prints one line and powers off. What it takes
 * from QEMU's start to its end is what QEMU alone takes; tests/bench/boot.sh measures the runtime
 * against it. It knows the machine and reads no device tree.
 */
    .section .text, "ax"
    .globl bare_entry
bare_entry:
    adr x1, message
    mov x2, #(message_end - message)
    mov x3, #0x09000000             /* the serial port */
1:  ldrb w4, [x1], #1
    strb w4, [x3]
    subs x2, x2, #1
    b.ne 1b
    ldr w0, =0x84000008             /* PSCI: off */
    hvc #0
    b .

    .ltorg
message:
    .ascii "bare\r\n"
message_end:

    .section .note.GNU-stack, "", %progbits
