#!/usr/bin/env bash
# Linux guests by Linux's own boot protocol, on pc, q35 and microvm: initrd, disks that instances
# share and write apart, the power button. host_driver plays the deciding half.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/integration/host_guests.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_guests.bash"

if [ ! -e "$linux" ]; then
    skip host_linux "the kernel could not be fetched: make linux-kernel"
    exit 0
fi
first=0001000000b1 second=0001000000b2 third=0001000000b3

# line ID LAST-OF-ADDRESS [MORE]: the command line of a Linux guest. On a busy machine a guest that
# is translated may find its timers too slow, and panic: it is told to take them as they are.
line() {
    echo "console=ttyS0 quiet panic=-1 no_timer_check guest.name=$1" \
        "guest.address=$subnet.$2/24 ${3:-}"
}

listens() {
    wait_for 200 console_has "$1" "guest $1 listens" || { tail -n 5 "$log/consoles/$1.log" && false; }
}

host_start
says welcome_lists_both_architectures '^ok amd64/tcg arm64/tcg ' hello
says network_is_made '^ok' network "$subnet.0/24"
kernel=$(take "$linux") initrd=$(take "$guests/initrd.gz")
disk=$(take "$guests/first.img") qcow2=$(take "$guests/second.img")

# ---- pc: two instances of one image at once
form linux amd64 linux pc "initrd=$initrd" "disk=$disk" "disk=$qcow2"
says linux_boots_on_pc '^ok' boot $first "$kernel" "$subnet.2" $memory "$(line $first 2)"
says second_boots_beside_it '^ok' boot $second "$kernel" "$subnet.3" $memory "$(line $second 3)"
check copies_of_kernel_and_initrd_are_gone test -z "$(ls "$run/b")"
check first_listens listens $first
check second_listens listens $second
found="vda has 2048 sectors: the first image vdb has 2048 sectors: the second image"
serves() { # NAME ID LAST-OF-ADDRESS
    says "$1" "$found vda now: written by $2" get "$subnet.$3" 8080 /
}
serves first_reads_and_writes_its_disks $first 2
serves second_writes_apart $second 3
unchanged() { (cd "$state/host/images" && for file in *; do
    echo "$file  $file"
done | sha256sum --check --quiet); }
check images_are_unchanged unchanged
check overlays_are_of_their_qemus test "$(stat -c %u "$state/host/overlays/$first.0")" = \
    "$(ps -o uid= -p "$(qemu_of $first)" | tr -d ' ')"
check overlays_are_private test "$(stat -c %a "$state/host/overlays/$first.0")" = 600

# ---- the agent restarts: disks stay where they are, strays go
touch "$state/host/overlays/0001000000ff.0"
host_kill
host_start
says agent_starts_again '^ok' hello
says network_is_adopted '^ok' network "$subnet.0/24"
serves adopted_guest_serves $first 2
check strays_are_swept test "$(overlays | tr '\n' ' ')" = "$first.0 $first.1 $second.0 $second.1 "
says power_button_is_pressed '^ok' stop $first acpi 90000
says it_powers_off "event ended $first stopped" wait $first 120
check it_heard_the_button console_has $first "power button"
check its_overlays_are_gone test "$(overlays | tr '\n' ' ')" = "$second.0 $second.1 "
says deaf_guest_is_asked '^ok' stop $second console 300
says deaf_guest_is_killed "event ended $second stop_killed" wait $second 60
check no_overlay_is_left test -z "$(overlays)"

# ---- q35, where the first boots again, and microvm
rm "$log/consoles/$first.log"
form linux amd64 linux q35 "initrd=$initrd" "disk=$disk" "disk=$qcow2"
says linux_boots_on_q35 '^ok' boot $first "$kernel" "$subnet.2" $memory "$(line $first 2)"
form linux amd64 linux microvm "initrd=$initrd" "disk=$disk" "disk=$qcow2"
# microvm has no timer that Linux could measure the processor's by; translated, it has 1 GHz.
says linux_boots_on_microvm '^ok' boot $third "$kernel" "$subnet.4" $memory \
    "$(line $third 4 tsc_early_khz=1000000)"
check q35_listens listens $first
serves what_it_wrote_before_is_gone $first 2
check microvm_listens listens $third
serves microvm_has_the_disks $third 4
say stop $first acpi 90000 >/dev/null
says q35_powers_off "event ended $first stopped" wait $first 120
say stop $third acpi 90000 >/dev/null
says microvm_powers_off "event ended $third stopped" wait $third 120

# ---- the end, with a disk in use
form linux amd64 linux pc "initrd=$initrd" "disk=$qcow2"
say boot $first "$kernel" "$subnet.2" $memory "$(line $first 2)" >/dev/null
host_end
check guest_outlives_the_agent qemu_of $first
check clean_works host_clean
nothing_left() {
    [ -z "$(pgrep -f -- "$work/")" ] && [ ! -e "/run/netns/$space" ] && [ -z "$(ls "$run")" ] &&
        [ ! -e "$state/host/overlays" ] && [ -n "$(ls "$state/host/images")" ]
}
check nothing_is_left wait_for 10 nothing_left
check sanitizers_found_nothing no_sanitizer_report "$work/host.log"
exit 0
