/* Numbers that the assembly, the linker script and the C code of this architecture share. */
#ifndef RUNTIME_X86_64_LAYOUT_H
#define RUNTIME_X86_64_LAYOUT_H

#define LAYOUT_ABI_VERSION 1 /* SHOAL_ABI_VERSION; runtime.c checks that they agree */
#define LAYOUT_IMAGE_BASE  0x100000
#define LAYOUT_STACK_SIZE  0x8000

#define LAYOUT_CODE_SELECTOR 0x08
#define LAYOUT_DATA_SELECTOR 0x10
#define LAYOUT_TASK_SELECTOR 0x18

#define LAYOUT_VECTOR_COUNT    48
#define LAYOUT_VECTOR_TIMER    32
#define LAYOUT_VECTOR_CONSOLE  33
#define LAYOUT_VECTOR_VIRTIO   34
#define LAYOUT_VECTOR_SPURIOUS 47

#endif
