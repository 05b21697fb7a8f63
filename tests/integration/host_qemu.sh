#!/usr/bin/env bash
# A QEMU that the host half starts itself, looked at from outside: what it may do, what it sees, whom
# it outlives, and that nothing that is not written down goes on.
# shellcheck disable=SC2317,SC2034,SC2154  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export SHOAL_HYPERVISOR=qemu
# shellcheck source=tests/integration/host_functions.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_functions.bash"
trap 'host_end; host_clean; finish' EXIT

subnet=10.64.78
first=0001000000c1 second=0001000000c2
boot() { # ID LAST-OF-ADDRESS
    say boot "$1" "$digest" "$subnet.$2" 16777216 \
        "--ip=$subnet.$2/24 --gateway=$subnet.1 --instance=$1"
}
status_is() { [ "$(sed -n "s/^$2:\t*//p" "/proc/$1/status" | tr '\t' ' ')" = "$3" ]; }
limit_is() { grep -qE "^$2 +$3 +$3 " "/proc/$1/limits"; }
space_of() { readlink "/proc/$1/ns/$2"; }

# As of a daemon that the host cannot do without; not every root may.
spared=
{ echo -500 >/proc/$$/oom_score_adj; } 2>/dev/null && spared=yes
host_start
say hello >/dev/null
say network "$subnet.0/24" >/dev/null
cp "$kernel" "$state/staging/$hex"
say import "$digest" "$size" >/dev/null
boot $first 2 >/dev/null
boot $second 3 >/dev/null
says guest_answers "^ok HTTP/1.1 200 .*$first" get "$subnet.2" 8080 /
qemu=$(qemu_of $first) other=$(qemu_of $second)

# ---- what it may do
uid=$(stat -c %u "/proc/$qemu")
check has_a_user_of_its_own test "$uid" -ge 1879048192 -a "$uid" != "$(stat -c %u "/proc/$other")"
check user_is_all_it_is status_is "$qemu" Uid "$uid $uid $uid $uid"
check is_in_no_group status_is "$qemu" Groups ' '
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    check "has_no_capability_in_$set" status_is "$qemu" $set 0000000000000000
done
check gains_no_privilege status_is "$qemu" NoNewPrivs 1
check system_calls_are_filtered status_is "$qemu" Seccomp 2
check takes_no_huge_pages status_is "$qemu" THP_enabled 0
[ -z "$spared" ] || check is_killed_for_memory_like_others test "$(cat "/proc/$qemu/oom_score_adj")" = 0
check dumps_no_core limit_is "$qemu" 'Max core file size' 0
check writes_no_file limit_is "$qemu" 'Max file size' 0
check opens_few_files limit_is "$qemu" 'Max open files' 256
check has_few_threads limit_is "$qemu" 'Max processes' 81
check leads_its_session test "$(ps -o sid= -p "$qemu" | tr -d ' ')" = "$qemu"

# ---- what it sees
for kind in mnt net ipc; do
    check "${kind}_namespace_is_its_own" test "$(space_of "$qemu" $kind)" != "$(space_of "$other" $kind)" \
        -a "$(space_of "$qemu" $kind)" != "$(space_of $$ $kind)"
done
links() { nsenter -t "$qemu" -n ip -o link show | grep -cv ': lo:'; }
check its_network_is_empty test "$(links)" = 0
mounts() { cut -d' ' -f5 "/proc/$qemu/mountinfo" | grep -vE '^/(usr/.*|lib.*|etc/ld.so.cache|kernel|)$'; }
check sees_its_files_only test -z "$(mounts)"
writable() { cut -d' ' -f6 "/proc/$qemu/mountinfo" | grep -v '^ro,'; }
check can_write_to_none_of_them test -z "$(writable)"
check does_not_see_the_host test ! -e "/proc/$qemu/root/proc/self" -a ! -e "/proc/$qemu/root/etc/passwd" \
    -a ! -e "/proc/$qemu/root/tmp" -a ! -e "/proc/$qemu/root$run"
strangers() {
    find "/proc/$qemu/fd" -type l -printf '%l\n' |
        grep -vE '^(socket|pipe|anon_inode):|^/dev/null$|^/dev/net/tun$'
}
check holds_no_descriptor_of_others test -z "$(strangers)"
check holds_one_tap test "$(find "/proc/$qemu/fd" -lname /dev/net/tun | wc -l)" = 1
check knows_no_environment test "$(tr '\0' ' ' <"/proc/$qemu/environ")" = 'LC_ALL=C '
check its_sockets_are_roots test "$(stat -c '%a %u' "$run/c/$first.sock" "$run/q/$first.qmp" | sort -u)" = '600 0'

# ---- whom it outlives
other_hypervisor() { SHOAL_HYPERVISOR=libvirt "$driver" "$node" "$state" "$run" "$log" tcg < <(sleep 5); }
host_kill
expect other_hypervisor_is_refused 1 'run under hypervisor qemu: start the agent with --hypervisor qemu' \
    other_hypervisor
# Taken over, it says on its monitor what it likes; stopped, it says nothing.
kill -STOP "$other"
host_start
adopted=$(say hello)
check adopts_what_answers grep -q "event running $first" <<<"$adopted"
check adopts_what_does_not grep -q "event running $second" <<<"$adopted"
says ends_what_does_not '^ok' stop $second kill 0
says its_end_is_told "event ended $second stop_killed" wait $second 30
says guest_went_on "^ok HTTP/1.1 200 .*$first" get "$subnet.2" 8080 /
check is_the_same test "$(qemu_of $first)" = "$qemu"
# A guest that no record tells of may be anybody's.
host_kill
rm "$run/q/$first.json"
host_start
adopted=$(say hello)
gone() { ! kill -0 "$qemu" 2>/dev/null; }
check nobodys_is_not_adopted bash -c '! grep -q running' <<<"$adopted"
check nobodys_is_ended wait_for 10 gone
boot $first 2 >/dev/null
kill -9 "$(qemu_of $first)"
says killed_one_is_told "event ended $first killed .*signal 9" wait $first 30
exit 0
