/* A guest of machine virt: tells the PL011 that it runs, and powers off by PSCI. */
    .globl _start
_start:
    adr x1, message
    mov x2, #0x09000000
1:  ldrb w0, [x1], #1
    cbz w0, 2f
    strb w0, [x2]
    b 1b
2:  mov w0, #0x0008
    movk w0, #0x8400, lsl #16
    hvc #0
3:  wfi
    b 3b
message:
    .asciz "aarch64 runs\n"
