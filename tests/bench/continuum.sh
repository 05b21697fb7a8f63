#!/usr/bin/env bash
# One service, four ways to run it: hello as a Linux microVM, as a unikernel for amd64 and for arm64,
# and as an ordinary process. Each is started directly, so that nothing of Shoal is measured:
#   - its image: what is shipped and booted (kernel and initramfs, kernel, executable)
#   - the code inside: lines of the files that are linked, by the compiler's dependency files; of
#     what comes ready-made (Linux, the C library) the version, read from the image where it says it
#   - the time from the start of QEMU, or of the process, to the first complete HTTP answer
#   - the memory that QEMU, or the process, has by then: its proportional share (Pss)
#
#   BUILD=dir RUNS=9 ACCEL=tcg tests/bench/continuum.sh      (make continuum)
#
# Rounds alternate; medians are told. Guests run in network namespaces that end with their round.
# Prints a table, writes BUILD/bench/continuum.json.
set -euo pipefail

# shellcheck source=tests/bench/table.bash
. "$(dirname "$0")/table.bash"
BUILD=${BUILD:-build}
runs=${RUNS:-9}
accel=${ACCEL:-tcg} # tcg or kvm, for amd64; arm64 is emulated always
hello=$BUILD/examples/hello
linux=$BUILD/examples/hello-linux/v1
boot_clock=$BUILD/bench/boot_clock
kinds=(linux-amd64 shoal-amd64 shoal-arm64 process)
declare -A titles=(
    [linux-amd64]='Linux microVM, amd64'
    [shoal-amd64]='unikernel, amd64'
    [shoal-arm64]='unikernel, arm64'
    [process]='plain process'
)
declare -A images=(
    [linux-amd64]="$linux/vmlinuz $linux/initrd"
    [shoal-amd64]=$hello/v1/hello-amd64.elf
    [shoal-arm64]=$hello/v1/hello-arm64.elf
    [process]=$hello/process/hello-1
)

# start KIND: prints microseconds and KiB. A tap is made anew for each guest: one used a moment ago
# by another costs seconds.
start() {
    local address=10.64.0.2
    local lean="microvm,accel=$accel,acpi=off,pit=off,pic=off,rtc=off"
    local common=(-nodefaults -no-user-config -display none -no-reboot -serial "file:$work/console"
        -netdev 'tap,id=net,ifname=boot0,script=no,downscript=no')
    local line="--ip=$address/24 --gateway=10.64.0.1 --instance=000100000001"
    local mmio='virtio-net-device,netdev=net' pci='virtio-net-pci,netdev=net,romfile='
    local command
    case $1 in
    linux-amd64)
        command=(qemu-system-x86_64 -M pc -accel "$accel" -m 128 "${common[@]}"
            -cpu "$processor" -kernel "$linux/vmlinuz" -initrd "$linux/initrd"
            -device "$pci"
            -append "$linux_options ip=$address::10.64.0.1:255.255.255.0:000100000001:eth0:off")
        ;;
    shoal-amd64)
        command=(qemu-system-x86_64 -M "$lean" -m 32 "${common[@]}"
            -kernel "${images[$1]}" -device "$mmio" -append "$line")
        ;;
    shoal-arm64)
        command=(qemu-system-aarch64 -M virt -cpu max -m 32 "${common[@]}"
            -kernel "${images[$1]}" -device "$mmio" -append "$line")
        ;;
    process)
        address=127.0.0.1
        command=("${images[$1]}" --ip=127.0.0.1/8 --instance=000100000001)
        ;;
    esac
    [ "$1" = process ] || {
        ip tuntap add dev boot0 mode tap
        ip address add 10.64.0.1/24 dev boot0
        ip link set boot0 up
    }
    # What the process itself says comes before the numbers.
    "$boot_clock" http "$address" 8080 -- "${command[@]}" | tail -n 1
    [ "$1" = process ] || ip link delete boot0
}

if [ "${1:-}" = --round ]; then
    work=$2 linux_options=$3
    processor=max
    [ "$accel" = tcg ] || processor=host
    ip link set lo up
    for kind in "${kinds[@]}"; do
        start "$kind" >>"$work/$kind"
    done
    exit
fi

[ "$(id -u)" = 0 ] || {
    echo "continuum: taps and network namespaces need root: run it with sudo" >&2
    exit 1
}
# shellcheck disable=SC2048  # an image may be two files
for file in ${images[*]} "$boot_clock" "$BUILD/bench/continuum.linked"; do
    [ -s "$file" ] || {
        echo "$file is not built; run: make continuum" >&2
        exit 1
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# The image's own options of the kernel, as its recipe has them.
linux_options=$(sed -n 's/^cmdline: \[\(.*\), "--"\]$/\1/p' "$linux/Unikernel.yaml" | tr -d '",')

# count_lines KIND PATTERN: the lines of the files linked into an image whose path matches.
count_lines() {
    local files
    files=$(grep "^$1 " "$BUILD/bench/continuum.linked" | cut -d ' ' -f 2- | xargs cat |
        tr ' ' '\n' | grep -E '\.[chS]$' | xargs realpath | sort -u)
    grep -E "$2" <<<"$files" | xargs -r cat | wc -l
}

# bzImage: the text's place stands at 0x20e, less 0x200 (Documentation/x86/boot.rst of Linux).
linux_version() {
    local place
    place=$(od -An -tu2 -j $((0x20e)) -N 2 "$1")
    tail -c "+$((place + 0x200 + 1))" "$1" | head -c 256 | tr '\0' '\n' | sed -n 1p
}

column() { awk -v column="$2" '{ print $column }' "$work/$1"; }
median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

round() { unshare --net -- "$0" --round "$work" "$linux_options"; }
[ "$runs" -le 1 ] || round # warms the caches of files
for kind in "${kinds[@]}"; do : >"$work/$kind"; done
for ((run = 0; run < runs; run++)); do round; done

kernel=$(linux_version "$linux/vmlinuz" | sed -E 's/^([^ ]+) .* (Debian [^ ]+) .*/Linux \1 (\2)/') || true
libc="glibc $(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)"
for kind in "${kinds[@]}"; do
    case $kind in
    linux-*) ready_made="$kernel, $libc" ;;
    process) ready_made="$libc; its kernel is the host's" ;;
    *) ready_made= ;;
    esac
    # shellcheck disable=SC2086  # a list of files
    jq -n --arg kind "$kind" --arg title "${titles[$kind]}" --arg ready_made "$ready_made" \
        --argjson size "$(cat ${images[$kind]} | wc -c)" \
        --argjson ours "$(count_lines "$kind" '/examples/')" \
        --argjson lwip "$(count_lines "$kind" '/lwip/src/')" \
        --argjson boot "$(column "$kind" 1 | median)" \
        --argjson memory "$(column "$kind" 2 | median)" \
        '{kind: $kind, title: $title, size: $size, ours: $ours, lwip: $lwip,
          ready_made: $ready_made, boot: ($boot / 100 | round / 10), memory: $memory}'
done | jq -s . >"$work/all.json"

mkdir -p "$BUILD/bench"
jq 'def rounded: . * 10000 | round / 10000;
    .[0] as $linux | [.[1:][] as $row |
    {name: "image size", unit: "bytes", of: "size"},
    {name: "code inside", unit: "lines", of: "lines"},
    {name: "start to first HTTP answer", unit: "ms", of: "boot"},
    {name: "memory at the first answer", unit: "KiB", of: "memory"} | . as $measure |
    ([$row, $linux] | map(if $measure.of == "lines" then .ours + .lwip else .[$measure.of] end)) as
        [$mine, $peer] |
    {name: "\(.name), \($row.title)", unit, ours: $mine, peer: $peer,
     peer_name: ($linux.title + (if .of == "lines" then " without \($linux.ready_made)" else "" end)),
     ratio: ($mine / $peer | rounded), goal: null, met: true}]' "$work/all.json" >"$work/result.json"
mv "$work/result.json" "$BUILD/bench/continuum.json"

printf 'hello 1.0, one source; medians of %d runs each, alternating; amd64 on %s, arm64 on tcg\n' \
    "$runs" "$accel"
jq -r '["runs as", "image KiB", "our lines", "lwIP lines", "ready-made inside", "first answer ms",
        "memory KiB"],
    (.[] | [.title, (.size / 1024 | round), .ours, .lwip,
            (if .ready_made == "" then "-" else .ready_made end), .boot, .memory]) | @tsv' \
    "$work/all.json" | align_columns
