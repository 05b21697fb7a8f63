#!/usr/bin/env bash
# DHCP for the guests: the real host half gives leases, its dnsmasq answers, its filter lets pass
# what may. A guest's tap is replaced by one end of a cable whose other end is in a namespace of
# this test's, so that busybox's udhcpc, and a client that keeps to no rule, ask in its place.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/integration/host_functions.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_functions.bash"
trap 'host_end; host_clean; ip netns del "$guests" 2>/dev/null; finish' EXIT

guests=shoal-$node-guests # the namespace at the other ends
subnet=10.64.78
first=0001000000a1 second=0001000000a2
probe=$BUILD/tests/dhcp_probe
[ -e "$probe" ] || { fail dhcp_probe "$probe is not built"; exit 1; }

inside() { ip netns exec "$space" "$@"; }
outside() { ip netns exec "$guests" "$@"; }
mac_of() { sed -E 's/^..(..)(..)(..)(..)(..)$/52:\1:\2:\3:\4:\5/' <<<"$1"; }
dnsmasq_of() { pgrep -f "^dnsmasq .*--conf-file=$run/d/dnsmasq.conf"; }
lease_of() { cat "$run/d/leases/sh$1"; }

boot() { # ID LAST-OF-ADDRESS
    say boot "$1" "$digest" "$subnet.$2" 16777216 \
        "--ip=$subnet.$2/24 --gateway=$subnet.1 --instance=$1"
}

# The guest's QEMU keeps a tap that is gone; a cable named like it takes its place on the bridge.
plug_in() { # ID
    inside ip link del "sh$1" && inside ip link add "sh$1" type veth peer name "g${1: -8}" &&
        inside ip link set "g${1: -8}" netns "$guests" &&
        outside ip link set "g${1: -8}" address "$(mac_of "$1")" up &&
        inside ip link set "sh$1" master shoal0 &&
        inside bridge link set dev "sh$1" isolated on && inside ip link set "sh$1" up
}

cat >"$work/lease.sh" <<'SH'
#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
echo "$1 $ip/$mask by $router mtu $mtu dns $dns name $hostname lease $lease server $serverid"
SH
chmod +x "$work/lease.sh"

# udhcpc ID [OPTION...]: what it was given.
ask() {
    local interface=g${1: -8}
    shift
    outside timeout 20 busybox udhcpc -i "$interface" -f -q -n -t 3 -T 2 -O mtu -O hostname \
        -s "$work/lease.sh" "$@" 2>>"$work/udhcpc.log"
}

gets() { # ID LAST-OF-ADDRESS [OPTION...]
    local id=$1 address=$subnet.$2
    shift 2
    ask "$id" "$@" | tee "$work/given" | grep -q "^bound $address/24 by"
}

# hears PATTERN ID [KEY=VALUE...]: of what the probe prints.
hears() {
    local pattern=$1 interface=g${2: -8}
    shift 2
    outside "$probe" "$interface" "$@" >"$work/heard"
    grep -qE -- "$pattern" "$work/heard" || { cat "$work/heard"; return 1; }
}

# ---- an address by DHCP
host_start
say hello >/dev/null
ip netns add "$guests"
cp "$kernel" "$state/staging/$hex"
say import "$digest" "$size" >/dev/null
check nothing_is_served_without_a_network test -z "$(dnsmasq_of)"
says network_is_made '^ok' network "$subnet.0/24"
server=$(dnsmasq_of)
check dnsmasq_runs test -n "$server"
status_of() { awk -v key="$2:" '$1 == key {print $2}' "/proc/$1/status"; }
check dnsmasq_has_a_user_of_its_own test "$(status_of "$server" Uid)" = 1879048190
# Bits 10 and 12: bind port 67, and tell the kernel a MAC.
for set in CapPrm CapEff CapBnd; do
    check "dnsmasq_${set}_is_least" test "$(status_of "$server" $set)" = 0000000000001400
done
check dnsmasq_gains_nothing_later test "$(status_of "$server" NoNewPrivs)" = 1
check dnsmasq_is_in_the_guests_namespace test "$(readlink "/proc/$server/ns/net")" = \
    "net:[$(stat -L -c %i "/run/netns/$space")]"
only_port_67() {
    [ "$(inside ss -Hlnu | awk '{print $4}')" = 0.0.0.0%shoal0:67 ] && [ -z "$(inside ss -Hlnt)" ]
}
check only_port_67_is_open only_port_67
says network_again_is_idempotent '^ok' network "$subnet.0/24"
check network_again_starts_no_dnsmasq test "$(dnsmasq_of)" = "$server"

says first_boots '^ok' boot $first "$digest" "$subnet.2" 16777216 \
    "--ip=$subnet.2/24 --gateway=$subnet.1 --instance=$first"
boot $second 3 >/dev/null
check lease_stands_before_the_guest_starts test \
    "$(lease_of $first)" = "$(mac_of $first),$subnet.2,sh$first"
says address_by_command_line_still_works "^ok HTTP/1.1 200 .*$first" get "$subnet.2" 8080 /
plug_in $first && plug_in $second
check first_gets_its_address gets $first 2
check lease_says_all grep -qx "bound $subnet.2/24 by $subnet.1 mtu 1500 dns $subnet.1 \
name sh$first lease 86400 server $subnet.1" "$work/given"
check second_gets_its_address gets $second 3
check other_client_identifier_changes_nothing gets $first 2 -x 0x3d:01020304
check hostname_of_the_client_changes_nothing gets $first 2 -x hostname:elsewhere
check name_is_the_instances grep -q "name sh$first " "$work/given"

# ---- the end
host_end
check dnsmasq_outlives_the_agent test "$(dnsmasq_of)" = "$server"
check clean_works host_clean
nothing_left() {
    [ -z "$(pgrep -f -- "$work/")" ] && [ ! -e "/run/netns/$space" ] && [ -z "$(ls "$run")" ]
}
check nothing_is_left wait_for 10 nothing_left
exit 0
