/* A multiboot guest that says it has halted and stays up, as Rumprun's do. */
    .set MAGIC, 0x1badb002
    .section .multiboot, "a"
    .long MAGIC, 0, -MAGIC
    .text
    .globl _start
_start:
    cld
    movl $message, %esi
1:  movw $0x3fd, %dx
    inb %dx, %al
    testb $0x20, %al
    jz 1b
    lodsb
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 1b
2:  cli
3:  hlt
    jmp 3b
message:
    .asciz "=== main() returned 0 ===\nhalted\n"
