#!/usr/bin/env bash
# Machines other than Linux's: a disk that boots, a guest that halts with its machine up, aarch64;
# and what does not boot. host_driver plays the deciding half.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/integration/host_guests.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_guests.bash"

first=0001000000b1 second=0001000000b2 third=0001000000b3 fourth=0001000000b4

host_start
says welcome_is_said '^ok' hello
says network_is_made '^ok' network "$subnet.0/24"
disk=$(take "$guests/first.img") qcow2=$(take "$guests/second.img")
sector=$(take "$guests/sector.img") halts=$(take "$guests/halts.elf")
virt=$(take "$guests/virt.elf") borrowing=$(take "$guests/borrowing.img")

# ---- a disk that boots
form osv amd64 disk pc "disk=$sector"
says disk_boots_on_pc '^ok' boot $first - "$subnet.2" $memory
says disk_guest_ends_by_itself "event ended $first guest_exit" wait $first 60
check disk_guest_ran console_has $first "the first disk boots"
form osv amd64 disk q35 "disk=$sector" "disk=$disk"
says disk_boots_on_q35 '^ok' boot $second - "$subnet.3" $memory
says q35_disk_guest_ends_by_itself "event ended $second guest_exit" wait $second 60
check q35_disk_guest_ran console_has $second "the first disk boots"

# ---- halted, its machine up
form rumprun amd64 multiboot pc
says halting_guest_boots '^ok' boot $third "$halts" "$subnet.4" $memory
says halted_is_ended_by_itself "event ended $third guest_exit" wait $third 60
check halted_said_so console_has $third " halted"

# ---- aarch64
form shoal arm64 elf virt
says virt_boots '^ok' boot $fourth "$virt" "$subnet.5" $memory
says virt_ends_by_itself "event ended $fourth guest_exit" wait $fourth 60
check virt_ran console_has $fourth "aarch64 runs"

# ---- what does not boot
form linux amd64 linux pc "disk=$borrowing"
says borrowing_disk_is_refused "^error unsupported .*disk $borrowing: .*names a backing file" \
    boot $first "$halts" "$subnet.2" $memory
form linux amd64 linux pc "disk=sha256:$(printf 0%.0s {1..64})"
says unknown_disk_is_refused '^error not_found' boot $first "$halts" "$subnet.2" $memory
printf x | dd of="$state/host/images/${disk#sha256:}" conv=notrunc status=none
form linux amd64 linux pc "disk=$qcow2" "disk=$disk"
says altered_disk_is_refused "^error signature_rejected .*$disk" \
    boot $first "$halts" "$subnet.2" $memory
check refused_boots_leave_no_overlay test -z "$(overlays)"
form shoal amd64 pvh pc
says way_that_no_family_has_is_refused '^error unsupported .*shoal does not boot .* on pc: it boots' \
    boot $first "$halts" "$subnet.2" $memory
form plan9 amd64 pvh pc
says unknown_family_is_refused '^error unsupported .*no family plan9' \
    boot $first "$halts" "$subnet.2" $memory
form xen amd64 xen xenpvh
says xen_is_refused '^error unsupported .*needs a Xen host' \
    boot $first "$halts" "$subnet.2" $memory


host_end
check clean_works host_clean
check sanitizers_found_nothing no_sanitizer_report "$work/host.log"
exit 0
