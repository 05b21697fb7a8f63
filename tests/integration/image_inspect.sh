#!/usr/bin/env bash
# `shoal image inspect` tells what files and images are: files made with each family's marks, real
# ones out of Debian's packages, images in the local store and in a registry. Where a verdict says
# that QEMU boots a file, or that it cannot, QEMU is asked too.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$(dirname "$0")/registry_functions.bash"
# shellcheck source=tests/tools/unikernels.bash
. "$(dirname "$0")/../tools/unikernels.bash"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
unset SHOAL_ADDRESS SHOAL_REGISTRY SHOAL_IMAGES
recipe=$BUILD/examples/hello/v1
cd "$work" || exit 1

# told FILE: "verdict family protocol architecture".
told() {
    shoal image inspect "$1" -o json | jq -r '[.verdict, .family, .protocols[0], .architecture] |
        map(if . == null or . == "" then "-" else . end) | join(" ")'
}

# tells FILE WORDS...
tells() {
    local file=$1 got
    shift
    got=$(told "$file")
    [ "$got" = "$*" ] || {
        echo "$got instead of $*"
        return 1
    }
}

# Whether QEMU comes to the file's first instruction, which ends it with 33; when it refuses, with 1.
boot() {
    local options=(-kernel "$1")
    [ "$2" = disk ] && options=(-drive "file=$1,if=virtio,snapshot=on,format=$3")
    timeout 60 qemu-system-x86_64 -M pc,accel=tcg -m 32 -nodefaults -display none -no-reboot \
        -device isa-debug-exit,iobase=0xf4,iosize=1 "${options[@]}"
}
enters() {
    boot "$@"
    [ $? -eq 33 ]
}
refuses() {
    boot "$@"
    [ $? -eq 1 ]
}

# --- files of every family ---
while read -r kind verdict family protocol architecture; do
    [ -n "$kind" ] || continue
    if ! make_unikernel "$kind" "$kind"; then
        fail "make_$kind" "cannot be made"
        continue
    fi
    check "tells_$kind" tells "./$kind" "$verdict" "$family" "$protocol" "$architecture"
    format=$(shoal image inspect "./$kind" -o json | jq -r '.disk.format // "none"')
    case $kind,$protocol in
    bzimage,* | osv-vmlinuz,*) ;; # they have no code behind their headers
    *,pvh | *,multiboot | nanos-disk,disk | osv*,disk | disk,disk)
        check "qemu_enters_$kind" enters "$kind" "$protocol" "$format" ;;
    unikraft-64,* | unikraft-fc,* | multiboot-64,* | pvh-unseen,* | bare,* | hermit,*)
        check "qemu_refuses_$kind" refuses "$kind" kernel ;;
    esac
done <<<"$unikernels"

for kind in solo5-virtio unikraft osv rumprun; do
    strip -s -o stripped "$kind"
    check "tells_${kind}_when_stripped" tells ./stripped "$(told "./$kind")"
done
head -c 4200 solo5-virtio >cut.elf
expect cut_file_is_refused 0 'Verdict +refused: .*cut short' shoal image inspect ./cut.elf
expect devices_are_listed 0 'Devices +service \(net\)' shoal image inspect ./mirage
expect evidence_is_shown 0 'note Solo5 ABI1: virtio' shoal image inspect ./mirage
expect mirageos_is_named 0 'MirageOS on Solo5' shoal image inspect ./mirage
expect why_it_cannot_boot_is_said 0 'tender solo5-hvt.*QEMU cannot boot it' \
    shoal image inspect ./solo5-hvt
expect command_line_of_a_disk 0 'Command line +--ip=eth0,10.0.0.2,255.255.255.0 /hello' \
    shoal image inspect ./osv-qcow2
expect yaml_is_given 0 '^family: solo5$' shoal image inspect ./mirage -o yaml

# --- disks that name other files ---
qemu-img create -q -f qcow2 -F raw -b "$work/disk" on-top.qcow2
expect backing_file_is_refused 0 'Verdict +refused: .*backing file' shoal image inspect ./on-top.qcow2
expect backing_file_is_refused_in_json 0 '"refused"' shoal image inspect ./on-top.qcow2 -o json
qemu-img convert -c -O qcow2 osv-disk packed.qcow2
expect compressed_disk_is_undecided 0 'Verdict +undecided: a compressed qcow2' \
    shoal image inspect ./packed.qcow2

# --- what is no file ---
expect missing_file 1 './nothing: No such file' shoal image inspect ./nothing
expect folder_is_no_file 1 'this is a folder' shoal image inspect "$work"
expect pipe_is_no_file 1 'no regular file' bash -c 'mkfifo pipe; shoal image inspect ./pipe'
expect neither_file_nor_image 1 'nothing' shoal image inspect nothing:1.0
printf '\033]0;title\007\033[31m' >escapes
expect nothing_reaches_the_terminal 0 '^File' bash -c \
    'shoal image inspect ./escapes | tee out && ! grep -q $'"'\\033'"' out'

# --- images ---
if [ -f "$recipe/hello-amd64.elf" ]; then
    cp "$recipe/hello-amd64.elf" hello.elf
    check tells_hello tells ./hello.elf certain shoal pvh amd64
    shoal build "$recipe" -t hello:1.0 >/dev/null
    expect local_image_is_shown 0 'Boots by +pvh on machine microvm' shoal image inspect hello:1.0
    expect local_kernel_is_looked_at 0 "Its bytes +certain: Shoal's own runtime" shoal image inspect hello:1.0
    check local_image_as_json bash -c 'shoal image inspect hello:1.0 -o json |
        jq -e ".manifests[0] | .config.family == \"shoal\" and .boots.boot.protocol == \"pvh\" and
            .detected.verdict == \"certain\" and (.manifest.layers | length) > 0"'
    start_registry images
    registry=${url#http://}
    shoal push hello:1.0 --registry "$registry" >/dev/null
    expect remote_image_is_shown 0 'Family +shoal' \
        shoal image inspect hello:1.0 --remote --registry "$registry"
    # shellcheck disable=SC2016 # $1 is the inner shell's
    check remote_and_local_image_are_the_same bash -c 'diff \
        <(shoal image inspect hello:1.0 -o json | jq -S "[.digest, .manifests[].config]") \
        <(shoal image inspect hello:1.0 --remote --registry "$1" -o json |
            jq -S "[.digest, .manifests[].config]")' _ "$registry"
    expect missing_remote_image 1 'inspect gone:1.0: .*has no manifest' \
        shoal image inspect gone:1.0 --remote --registry "$registry"

    # An image as KraftKit makes it: ordinary OCI types, the kernel in a tar archive.
    mkdir -p tree/unikraft/bin layout/blobs/sha256
    cp unikraft tree/unikraft/bin/kernel
    tar -C tree --format=ustar -cf layer.tar unikraft
    blob() {
        local digest
        digest=$(sha256sum <"$1" | cut -d' ' -f1)
        cp "$1" "layout/blobs/sha256/$digest"
        printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$1")"
    }
    printf '{"architecture":"x86_64","os":"qemu","config":{"Cmd":["/server"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$(sha256sum <layer.tar | cut -d' ' -f1)" >config.json
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",%s,"annotations":{"org.unikraft.kernel.image":"/unikraft/bin/kernel"}}],"annotations":{"org.unikraft.kernel.version":"0.16.3"}}' \
        "$(blob config.json)" "$(blob layer.tar)" >manifest.json
    printf '{"imageLayoutVersion":"1.0.0"}' >layout/oci-layout
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"it"}}]}' \
        "$(blob manifest.json)" >layout/index.json
    skopeo copy -q --dest-tls-verify=false oci:layout:it "docker://$registry/default/kraft:1"
    expect kraftkits_image_is_shown 0 "Form +kraftkit's" \
        shoal image inspect kraft:1 --remote --registry "$registry"
    expect kraftkits_image_boots_as_unikraft 0 'Boots by +multiboot' \
        shoal image inspect kraft:1 --remote --registry "$registry"
    expect annotations_are_shown 0 'org.unikraft.kernel.version=0.16.3' \
        shoal image inspect kraft:1 --remote --registry "$registry"
    # A container's image: looked at, and said to be none of ours.
    jq -c '.os = "linux" | .architecture = "amd64"' config.json >other.json
    jq -c --argjson config "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",$(blob other.json)}" \
        '.config = $config | .annotations = {} | .layers[0].annotations = {}' manifest.json >m.json
    jq -c --argjson m "{$(blob m.json)}" '.manifests[0] += $m' layout/index.json >index.json
    cp index.json layout/index.json
    skopeo copy -q --dest-tls-verify=false oci:layout:it "docker://$registry/default/container:1"
    expect containers_are_told_apart 0 'Problem ' \
        shoal image inspect container:1 --remote --registry "$registry"
else
    skip images "the example is not built here"
fi

# --- real files ---
# fetch PACKAGE: unpacked into real/, never installed.
fetch() {
    [ -d "real-$1" ] && return
    (mkdir -p "deb-$1" && cd "deb-$1" && timeout 120 apt-get download -q "$1") >/dev/null 2>&1 &&
        dpkg -x "deb-$1"/*.deb "real-$1"
}

# real NAME PACKAGE FILE WORDS...
real() {
    local name=$1 package=$2 file=$3
    shift 3
    fetch "$package" || {
        skip "tells_$name" "$package cannot be fetched"
        return
    }
    # shellcheck disable=SC2086 # a pattern
    check "tells_$name" tells "$(printf '%s\n' "$work/real-$package"/$file | head -n 1)" "$@"
}

cloud_kernel() {
    apt-cache depends "$1" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1
}
kernel=$(cloud_kernel linux-image-cloud-amd64)
if [ -n "$kernel" ]; then
    real "debians_cloud_kernel" "$kernel" 'boot/vmlinuz-*' certain linux linux amd64
    vmlinuz=$(ls real-"$kernel"/boot/vmlinuz-* 2>/dev/null)
    expect version_of_the_cloud_kernel 0 'version "[0-9.]+.*cloud-amd64' shoal image inspect "$work/$vmlinuz"
    [ -n "$vmlinuz" ] && head -c 3000000 "$vmlinuz" >cut-kernel
    expect cut_kernel_is_refused 0 'Verdict +refused: a bzImage.*cut short' shoal image inspect ./cut-kernel
else
    skip debians_cloud_kernel "this machine's apt knows no linux-image-cloud-amd64"
fi
real memtest86 memtest86+ 'boot/memtest86+x64.bin' generic generic linux amd64
real ipxe ipxe 'boot/ipxe.lkrn' generic generic linux amd64
real ipxe_for_efi ipxe 'boot/ipxe.efi' refused - - -
real busybox busybox-static 'bin/busybox' refused - - amd64
if fetch xen-hypervisor-4.17-amd64; then
    gunzip -c real-xen-hypervisor-4.17-amd64/boot/xen-*.gz >xen
    check tells_the_xen_hypervisor tells ./xen generic generic multiboot amd64
    expect gzipped_file_is_named 0 'Verdict +undecided: this is a gzip file' \
        shoal image inspect "$(ls "$work"/real-xen-hypervisor-4.17-amd64/boot/xen-*.gz)"
else
    skip tells_the_xen_hypervisor "it cannot be fetched"
fi

# GRUB as a kernel, made as its own tool makes it.
grub() {
    local name=$1 format=$2
    shift 2
    if ! fetch grub-xen-bin || ! fetch grub-common; then
        skip "tells_$name" "GRUB cannot be fetched"
        return
    fi
    check "make_$name" "real-grub-common/usr/bin/grub-mkimage" -d "real-grub-xen-bin/usr/lib/grub/$format" \
        -O "$format" -o "$name" -p /boot normal
    check "tells_$name" tells "./$name" "$@"
}
grub grub_for_pvh i386-xen_pvh generic generic pvh amd64
grub grub_for_xen x86_64-xen refused xen - amd64
[ "$failures" -eq 0 ]
