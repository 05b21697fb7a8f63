/* A boot sector: tells the serial port that it runs, and powers off by ACPI (PIIX4 and ICH9, where
 * SeaBIOS puts their registers). Linked at 0x7c00. */
    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    cld
    movw $message, %si
1:  movw $0x3fd, %dx /* until the port takes a byte */
    inb %dx, %al
    testb $0x20, %al
    jz 1b
    lodsb
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 1b
2:  movw $0x604, %dx
    movw $0x2000, %ax
    outw %ax, %dx
3:  hlt
    jmp 3b
message:
    .asciz "the first disk boots\n"
    .org 510
    .word 0xaa55
