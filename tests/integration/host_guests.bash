# shellcheck shell=bash
# Guests of every machine for the host half alone: kernels, initrd and disks in $guests. Sourced
# after lib.sh; ends the host half with the script.
# shellcheck disable=SC2154,SC2034 # others' variables, and ours for the tests
# shellcheck source=tests/integration/host_functions.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_functions.bash"
trap 'host_end; host_clean; finish' EXIT

subnet=10.64.79
guests=$work/guests linux=$BUILD/linux/vmlinuz
memory=134217728

mkdir "$guests"
check guests_are_made "$(dirname "${BASH_SOURCE[0]}")/../tools/guests/make" "$BUILD" "$guests"
# disk_image TEXT FILE: 1 MiB that begins with the text.
disk_image() { truncate -s 1M "$2" && echo "$1" | dd of="$2" conv=notrunc status=none; }
disk_image "the first image" "$guests/first.img"
disk_image "the second image" "$guests/second.raw"
qemu-img convert -f raw -O qcow2 "$guests/second.raw" "$guests/second.img"
qemu-img create -q -f qcow2 -u -F raw -b /etc/passwd "$guests/borrowing.img" 1M

# form FAMILY ARCH PROTOCOL MACHINE [initrd=DIGEST] [disk=DIGEST...]: of the boots that follow.
form() {
    local part
    say as "$1" "$2" "$3" "$4" >/dev/null
    for part in "${@:5}"; do say "${part%%=*}" "${part#*=}" >/dev/null; done
}

console_has() { grep -q -- "$2" "$log/consoles/$1.log"; }
overlays() { ls "$state/host/overlays"; }
