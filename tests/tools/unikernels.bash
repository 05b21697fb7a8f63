# shellcheck shell=bash
# Small files that carry the marks of each family's builds, made with the assembler and linker, for
# tests that look at bytes and for fuzzers' seeds. Sourced.
#
# Those for amd64 tell whoever enters them: they write 0x10 to QEMU's isa-debug-exit at port 0xf4,
# so QEMU ends with status 33.

# One per line: what make_unikernel makes, and what is to be told of it: verdict, family, protocol
# ("-": none), architecture.
# shellcheck disable=SC2034 # read by those who source this
unikernels='
shoal            certain   shoal    pvh       amd64
shoal-arm64      certain   shoal    elf       arm64
solo5-virtio     certain   solo5    multiboot amd64
solo5-hvt        refused   solo5    -         amd64
solo5-spt        refused   solo5    -         amd64
solo5-xen        refused   xen      -         amd64
mirage           certain   solo5    multiboot amd64
unikraft         certain   unikraft multiboot amd64
unikraft-64      refused   unikraft -         amd64
unikraft-fc      refused   unikraft -         amd64
unikraft-xen     refused   xen      -         amd64
osv              certain   osv      pvh       amd64
osv-vmlinuz      certain   osv      linux     amd64
rumprun          certain   rumprun  multiboot amd64
nanos            certain   nanos    pvh       amd64
hermit           refused   hermit   -         amd64
ling             refused   xen      -         amd64
pvh              generic   generic  pvh       amd64
pvh-unseen       undecided -        -         amd64
multiboot        generic   generic  multiboot amd64
multiboot-64     refused   -        -         amd64
multiboot-pvh    generic   generic  multiboot amd64
bare             undecided -        -         amd64
bare-arm64       undecided -        elf       arm64
bzimage          certain   linux    linux     amd64
arm64-image      generic   generic  linux     arm64
osv-disk         certain   osv      disk      amd64
osv-qcow2        certain   osv      disk      amd64
nanos-disk       certain   nanos    disk      amd64
nanos-bare-disk  refused   nanos    -         -
disk             generic   generic  disk      amd64
'

# note NAME TYPE CONTENT [FLAGS]: a note in a section; with "a" in a PT_NOTE segment too.
unikernel_note() {
    cat <<ASM
.section .note.${1,,}.${2},"${4-a}",@note
.balign 4
.long 2f-1f, 4f-3f, $2
1: .asciz "$1"
2: .balign 4
3: $3
4: .balign 4
ASM
}

# A multiboot header, with load addresses where "kludge" is asked for. The text begins 0x1000 into
# the file and at 0x100000 in memory.
unikernel_multiboot() {
    if [ "${1-}" = kludge ]; then
        echo '.section .text.head,"ax",@progbits
            header: .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
            .long header, 0x100000, 0, 0, _start'
    else
        echo '.section .text.head,"ax",@progbits
            header: .long 0x1badb002, 0, -0x1badb002'
    fi
}

# Enters, tells so, stays.
# shellcheck disable=SC2016 # assembler's $
unikernel_code() {
    echo '.section .text.start,"ax",@progbits
        .globl _start
        .code32
        _start: mov $0xf4, %dx; mov $0x10, %al; out %al, %dx; 5: hlt; jmp 5b'
}

# link FILE BITS: assembles standard input.
unikernel_link() {
    local file=$1 mode=x86_64
    [ "$2" = 32 ] && mode=i386
    as "--$2" -o "$file.o" - || return
    ld -m "elf_$mode" -z max-page-size=0x1000 -z noexecstack --no-warn-rwx-segments -static \
        -nostdlib --build-id=none -T <(echo 'ENTRY(_start) SECTIONS { . = 0x100000;
            .text : { *(.text.head) *(.text.start) *(.text*) } .rodata : { *(.rodata*) } }') \
        -o "$file" "$file.o" || return
    rm "$file.o"
}

unikernel_link_arm64() {
    aarch64-linux-gnu-as -o "$1.o" - || return
    aarch64-linux-gnu-ld -static -nostdlib --build-id=none -o "$1" "$1.o" || return
    rm "$1.o"
}

unikernel_section() { printf '.section %s,"%s",@progbits\n.asciz "%s"\n' "$1" "${3-}" "$2"; }

unikernel_solo5() {
    unikernel_note Solo5 0x31494241 ".long $1, 2, 0, 0" ''
    unikernel_note Solo5 0x3154464d '.long 0, 1, 2
        .zero 68; .long 0x40000000; .zero 32
        .ascii "service"; .zero 61; .long 2; .zero 32' ''
}

# bytes FILE OFFSET TEXT: printf's escapes.
unikernel_bytes() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# A boot sector that tells of its run.
unikernel_disk() {
    truncate -s "$2" "$1"
    unikernel_bytes "$1" 0 '\xba\xf4\x00\xb0\x10\xee\xf4'
    unikernel_bytes "$1" 510 '\x55\xaa'
}

unikernel_bzimage() {
    truncate -s 4096 "$1"
    unikernel_bytes "$1" 497 '\x01'
    unikernel_bytes "$1" 500 '\xc0'
    unikernel_bytes "$1" 510 '\x55\xaa'
    unikernel_bytes "$1" 514 'HdrS\x0f\x02'
    unikernel_bytes "$1" 529 '\x01'
    unikernel_bytes "$1" 566 '\x01'
}

# make_unikernel KIND FILE
make_unikernel() {
    local file=$2 pvh
    pvh=$(unikernel_note Xen 18 '.long _start')
    case $1 in
    shoal) { unikernel_note Shoal 1 '.long 1' && echo "$pvh" && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    shoal-arm64) { unikernel_note Shoal 1 '.long 1' | sed 's/@note/%note/' &&
        printf '.text\n.globl _start\n_start: b _start\n'; } | unikernel_link_arm64 "$file" ;;
    solo5-virtio) { unikernel_solo5 3 && unikernel_multiboot kludge && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    mirage) { unikernel_solo5 3 && unikernel_multiboot kludge && unikernel_code &&
        unikernel_section .rodata caml_startup__code_begin a; } | unikernel_link "$file" 64 ;;
    solo5-hvt) { unikernel_solo5 1 && unikernel_code; } | unikernel_link "$file" 64 ;;
    solo5-spt) { unikernel_solo5 2 && unikernel_code; } | unikernel_link "$file" 64 ;;
    solo5-xen) { unikernel_solo5 6 && unikernel_multiboot kludge && echo "$pvh" &&
        unikernel_code; } | unikernel_link "$file" 64 ;;
    unikraft) { unikernel_section .uk_bootinfo x && unikernel_multiboot && unikernel_code; } |
        unikernel_link "$file" 32 ;;
    unikraft-64) { unikernel_section .uk_bootinfo x && unikernel_multiboot && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    unikraft-fc) { unikernel_section .uk_libinfo x && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    unikraft-xen) { unikernel_section .uk_bootinfo x && unikernel_note Xen 6 '.asciz "Unikraft"' &&
        unikernel_code; } | unikernel_link "$file" 64 ;;
    osv) { unikernel_note Xen 6 '.asciz "osv"' && echo "$pvh" && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    osv-vmlinuz)
        make_unikernel osv "$file.elf" && unikernel_bzimage "$file" &&
            dd if="$file.elf" of="$file" bs=2048 seek=1 status=none && rm "$file.elf"
        ;;
    rumprun) { unikernel_section link_set_rump_components x a && unikernel_multiboot kludge &&
        unikernel_code; } | unikernel_link "$file" 64 ;;
    nanos) { echo "$pvh" && unikernel_section .rodata NVMTFS a && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    hermit) { unikernel_note HERMIT 0x5a00 '.byte 3' && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    ling) { unikernel_section __xen_guest GUEST_OS=Ling,XEN_VER=xen-3.0 && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    pvh) { echo "$pvh" && unikernel_code; } | unikernel_link "$file" 64 ;;
    pvh-unseen) { unikernel_note Xen 18 '.long 0x100000' '' && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    multiboot) { unikernel_multiboot && unikernel_code; } | unikernel_link "$file" 32 ;;
    multiboot-64) { unikernel_multiboot && echo "$pvh" && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    multiboot-pvh) { unikernel_multiboot kludge && echo "$pvh" && unikernel_code; } |
        unikernel_link "$file" 64 ;;
    bare) unikernel_code | unikernel_link "$file" 64 ;;
    bare-arm64) printf '.globl _start\n_start: b _start\n' | unikernel_link_arm64 "$file" ;;
    bzimage)
        unikernel_bzimage "$file" &&
            unikernel_bytes "$file" 526 '\x00\x01' &&
            unikernel_bytes "$file" 768 '6.1.0-1-amd64 (builder@example) #1 SMP PREEMPT'
        ;;
    arm64-image) truncate -s 4096 "$file" && unikernel_bytes "$file" 56 'ARM\x64' ;;
    osv-disk)
        unikernel_disk "$file" 1M && unikernel_bytes "$file" 440 'VSO' &&
            unikernel_bytes "$file" 512 '--ip=eth0,10.0.0.2,255.255.255.0 /hello'
        ;;
    osv-qcow2)
        make_unikernel osv-disk "$file.raw" &&
            qemu-img convert -f raw -O qcow2 -o cluster_size=512 "$file.raw" "$file" &&
            rm "$file.raw"
        ;;
    nanos-disk)
        unikernel_disk "$file" 1M && unikernel_bytes "$file" 450 '\x83\x00\x00\x00\x09' &&
            unikernel_bytes "$file" 4608 'NVMTFS'
        ;;
    nanos-bare-disk) truncate -s 1M "$file" && unikernel_bytes "$file" 0 NVMTFS ;;
    disk) unikernel_disk "$file" 1M ;;
    *) return 1 ;;
    esac
}
