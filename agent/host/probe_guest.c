#include "agent/host/probe_guest.h"

#if defined(__x86_64__)

/* A whole ELF file put together by hand, so that no second linker is needed: header, a loadable
 * segment that is the file itself at 1 MiB, and the PVH note. Page tables lie behind it at 2 MiB.
 * Addresses are written as distances from the file's start. */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".set probe_base, 0x100000\n"
        ".set probe_tables, 0x200000\n"
        ".globl probe_guest_begin\n"
        ".hidden probe_guest_begin\n"
        "probe_guest_begin:\n"
        ".byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0\n"
        ".short 2, 62\n"
        ".long 1\n"
        ".quad probe_entry - probe_guest_begin + probe_base\n"
        ".quad 64, 0\n"
        ".long 0\n"
        ".short 64, 56, 2, 0, 0, 0\n"
        /* PT_LOAD, read and execute */
        ".long 1, 5\n"
        ".quad 0, probe_base, probe_base\n"
        ".quad probe_guest_end - probe_guest_begin, probe_guest_end - probe_guest_begin, 4096\n"
        /* PT_NOTE */
        ".long 4, 4\n"
        ".quad probe_note - probe_guest_begin\n"
        ".quad probe_note - probe_guest_begin + probe_base\n"
        ".quad probe_note - probe_guest_begin + probe_base\n"
        ".quad 20, 20, 4\n"
        "probe_note:\n"
        ".long 4, 4, 18\n"
        ".asciz \"Xen\"\n"
        ".long probe_entry - probe_guest_begin + probe_base\n"
        ".balign 8\n"
        "probe_descriptors:\n"
        ".quad 0, 0x00af9a000000ffff\n"
        "probe_descriptors_pointer:\n"
        ".short 15\n"
        ".long probe_descriptors - probe_guest_begin + probe_base\n"
        ".code32\n"
        "probe_entry:\n"
        "cld\n"
        "movl $probe_tables, %edi\n"
        "xorl %eax, %eax\n"
        "movl $3072, %ecx\n"
        "rep stosl\n"
        "movl $probe_tables + 0x1003, probe_tables\n"
        "movl $probe_tables + 0x2003, probe_tables + 0x1000\n"
        "movl $0x83, probe_tables + 0x2000\n"
        "movl $0x200083, probe_tables + 0x2008\n"
        "movl $probe_tables, %eax\n"
        "movl %eax, %cr3\n"
        "movl %cr4, %eax\n"
        "orl $0x620, %eax\n" /* PAE, SSE and its exceptions */
        "movl %eax, %cr4\n"
        "movl $0xc0000080, %ecx\n"
        "rdmsr\n"
        "orl $0x100, %eax\n" /* long mode */
        "wrmsr\n"
        "movl %cr0, %eax\n"
        "andl $0xfffffffb, %eax\n" /* no emulation of the FPU */
        "orl $0x80000003, %eax\n"
        "movl %eax, %cr0\n"
        "lgdt probe_descriptors_pointer - probe_guest_begin + probe_base\n"
        "ljmp $8, $(probe_long - probe_guest_begin + probe_base)\n"
        ".code64\n"
        "probe_long:\n"
        "movl $20, %eax\n"
        "cvtsi2sd %eax, %xmm0\n"
        "addsd %xmm0, %xmm0\n"
        "movl $2, %eax\n"
        "cvtsi2sd %eax, %xmm1\n"
        "addsd %xmm1, %xmm0\n"
        "cvttsd2si %xmm0, %eax\n"
        "cmpl $42, %eax\n"
        "jne 1f\n"
        "movb $21, %al\n" /* QEMU ends with 2 * 21 + 1 */
        "outb %al, $0xf4\n"
        "1: hlt\n"
        "jmp 1b\n"
        ".globl probe_guest_end\n"
        ".hidden probe_guest_end\n"
        "probe_guest_end:\n"
        ".popsection\n");

extern const char probe_guest_begin[], probe_guest_end[];

size_t probe_guest_image(const void **ret_bytes)
{
    *ret_bytes = probe_guest_begin;
    return (size_t)(probe_guest_end - probe_guest_begin);
}

#else

size_t probe_guest_image(const void **ret_bytes)
{
    *ret_bytes = NULL;
    return 0;
}

#endif
