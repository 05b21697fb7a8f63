/* A multiboot guest that tells the serial port its command line and what its first module holds up
 * to a NUL, and stays up. */
    .set MAGIC, 0x1badb002
    .section .multiboot, "a"
    .long MAGIC, 0, -MAGIC
    .text
    .globl _start
_start:
    cld
    movl $stack, %esp
    movl %ebx, %ebp
    movl $line, %esi
    call tell
    testb $4, (%ebp)      /* flags: there is a command line */
    jz 1f
    movl 16(%ebp), %esi
    call tell
1:  movl $module, %esi
    call tell
    testb $8, (%ebp)      /* flags: there is a list of modules */
    jz 2f
    cmpl $0, 20(%ebp)
    je 2f
    movl 24(%ebp), %eax
    movl (%eax), %esi
    call tell
2:  movl $end, %esi
    call tell
    cli
3:  hlt
    jmp 3b
tell:
    movw $0x3fd, %dx      /* until the port takes a byte */
    inb %dx, %al
    testb $0x20, %al
    jz tell
    lodsb
    testb %al, %al
    jz 4f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp tell
4:  ret
line:
    .asciz "line <"
module:
    .asciz ">\nmodule <"
end:
    .asciz ">\ntold\n"
    .balign 16
    .skip 256
stack:
