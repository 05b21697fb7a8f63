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
first=0001000000a1 second=0001000000a2 third=0001000000a3 fourth=0001000000a4
fifth=0001000000a5 sixth=0001000000a6 seventh=0001000000a7
probe=$BUILD/tests/dhcp_probe
[ -e "$probe" ] || { fail dhcp_probe "$probe is not built"; exit 1; }

inside() { ip netns exec "$space" "$@"; }
outside() { ip netns exec "$guests" "$@"; }
mac_of() { sed -E 's/^..(..)(..)(..)(..)(..)$/52:\1:\2:\3:\4:\5/' <<<"$1"; }
dnsmasq_of() { pgrep -f "^dnsmasq .*--conf-file=$run/d/dnsmasq.conf"; }
lease_of() { cat "$run/d/leases/sh$1"; }

boot() { # ID LAST-OF-ADDRESS [SUBNET]
    local net=${3:-$subnet}
    say boot "$1" "$digest" "$net.$2" 16777216 "--ip=$net.$2/24 --gateway=$net.1 --instance=$1"
}
# boots NAME ID LAST-OF-ADDRESS [SUBNET]: one named check.
boots() { check "$1" boot "${@:2}"; }

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

ask_and_see() { # PATTERN ID
    ask "$2" | tee "$work/given" | grep -qE "^$1"
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
in_the_guests_namespace() {
    [ "$(readlink "/proc/$1/ns/net")" = "net:[$(stat -L -c %i "/run/netns/$space")]" ]
}
check dnsmasq_is_in_the_guests_namespace in_the_guests_namespace "$server"
only_port_67() {
    [ "$(inside ss -Hlnu | awk '{print $4}')" = 0.0.0.0%shoal0:67 ] && [ -z "$(inside ss -Hlnt)" ]
}
check only_port_67_is_open only_port_67
says network_again_is_idempotent '^ok' network "$subnet.0/24"
check network_again_starts_no_dnsmasq test "$(dnsmasq_of)" = "$server"

boots first_boots $first 2
boot $second 3 >/dev/null
check lease_stands_before_the_guest_starts test \
    "$(lease_of $first)" = "$(mac_of $first),$subnet.2,sh$first"
says address_by_command_line_still_works "^ok HTTP/1.1 200 .*$first" get "$subnet.2" 8080 /
plug_in $first && plug_in $second
check first_gets_its_address gets $first 2
check lease_says_all grep -qx "bound $subnet.2/24 by $subnet.1 mtu 1500 dns $subnet.1 \
name sh$first lease 86400 server $subnet.1" "$work/given"
check second_gets_its_address gets $second 3
check lease_is_read_once bash -c "! grep duplicate '$log/dnsmasq.log'"
check other_client_identifier_changes_nothing gets $first 2 -x 0x3d:01020304
check hostname_of_the_client_changes_nothing gets $first 2 -x hostname:elsewhere
check name_is_the_instances grep -q "name sh$first " "$work/given"

# ---- what a guest may ask for
first_mac=$(mac_of $first) second_mac=$(mac_of $second)
own="from=$subnet.2 ciaddr=$subnet.2"
check offer_is_heard hears "^offer $subnet.2 for $first_mac$" $first
# shellcheck disable=SC2086 # $own is two words
check renewal_to_the_gateway_works hears "^ack $subnet.2 " $first type=request $own to=$subnet.1
# shellcheck disable=SC2086
check rebinding_by_broadcast_works hears "^ack $subnet.2 " $first type=request $own
check not_the_address_of_another hears '^heard 0$|^nak' $first type=request \
    requested=$subnet.3 server=$subnet.1

silent() { # NAME ID KEY=VALUE...: nobody answers that
    local name=$1
    shift
    check "$name" hears '^heard 0$' "$@" wait=500
}
silent frame_of_another_is_dropped $first mac="$second_mac"
silent request_for_another_is_dropped $first client="$second_mac"
silent request_by_and_for_another_is_dropped $first mac="$second_mac" client="$second_mac"
silent address_of_another_is_dropped $first type=request from=$subnet.3 ciaddr=$subnet.3
silent unknown_client_is_dropped $first mac=52:00:00:00:00:ee
silent other_source_port_is_dropped $first sport=67
silent relayed_request_is_dropped $first giaddr=$subnet.3
silent part_of_a_packet_is_dropped $first fragment=1
silent unicast_from_nobody_is_dropped $first to=$subnet.1
silent answer_in_the_place_of_a_request_is_dropped $first type=offer

# A server of its own is heard by no other guest, and answers are heard by whom they are for.
listen() { # ID: what it hears meanwhile, in $work/overheard
    outside "$probe" "g${1: -8}" type=none wait=2500 >"$work/overheard" &
    listener=$!
    sleep 0.5
}
listen $second
hears . $first type=offer sport=67 dport=68 from=$subnet.2 yiaddr=$subnet.9 client="$second_mac" \
    wait=500
hears . $first type=offer sport=67 dport=68 from=$subnet.1 yiaddr=$subnet.9 client="$second_mac" \
    wait=500
check broadcast_answer_is_heard hears "^offer $subnet.2 " $first broadcast=1 wait=500
wait $listener
check neither_is_heard_by_another grep -qx 'heard 0' "$work/overheard"

# Nobody gives away, or spoils, what another has.
: >"$log/dnsmasq.log"
for type in release decline; do
    hears . $first type=$type client="$second_mac" requested=$subnet.3 ciaddr=$subnet.3 \
        server=$subnet.1 wait=100
    hears . $first type=$type client="$second_mac" mac="$second_mac" requested=$subnet.3 \
        ciaddr=$subnet.3 server=$subnet.1 wait=100
done
check second_keeps_its_address gets $second 3
check no_end_of_its_lease_was_heard_of bash -c \
    "! grep -E 'DHCP(RELEASE|DECLINE)' '$log/dnsmasq.log'"
few_of_many() {
    local heard
    outside "$probe" "g${first: -8}" count=500 wait=2000 >"$work/heard"
    heard=$(grep -c ^offer "$work/heard")
    [ "$heard" -ge 1 ] && [ "$heard" -lt 100 ]
}
check flood_is_answered_in_part few_of_many
check flood_of_one_is_not_the_others gets $second 3

# A client as they are, with its address set: it asks again by itself, from that address.
cat >"$work/set.sh" <<'SH'
#!/bin/sh
case $1 in
bound) ip addr replace "$ip/$mask" dev "$interface" ;;
renew) ;;
*) exit 0 ;;
esac
echo "$1 $ip" >>"$LOG"
SH
chmod +x "$work/set.sh"
LOG=$work/renewed ip netns exec "$guests" busybox udhcpc -i "g${first: -8}" -f -s "$work/set.sh" \
    2>>"$work/udhcpc.log" &
client=$!
started_pids="$started_pids $client"
check client_is_bound wait_for 20 grep -qx "bound $subnet.2" "$work/renewed"
kill -USR1 $client
check client_renews wait_for 20 grep -qx "renew $subnet.2" "$work/renewed"
renewals() { [ "$(grep -cx "renew $subnet.2" "$work/renewed")" -ge "$1" ]; }

# ---- dnsmasq killed
kill -9 "$server"
another_dnsmasq() { [ -n "$(dnsmasq_of)" ] && [ "$(dnsmasq_of)" != "$server" ]; }
check killed_dnsmasq_comes_back wait_for 20 another_dnsmasq
kill -USR1 $client
check lease_holds_with_a_new_dnsmasq wait_for 20 renewals 2
check new_dnsmasq_answers gets $second 3

# ---- both halves killed
server=$(dnsmasq_of)
host_kill
check dnsmasq_serves_without_an_agent gets $second 3
echo "52:00:00:00:00:ff,$subnet.200,sh0001000000ff" >"$run/d/leases/sh0001000000ff"
echo "52:00:00:00:00:fe,$subnet.201,sh0001000000fe,infinite" >"$run/d/leases/sh0001000000fe"
echo x >"$run/d/leases/.sh0001000000fd"
host_start
says adopting_start_says_hello '^ok' hello
leases_of_the_living() {
    [ "$(find "$run/d/leases" -type f | sort | tr '\n' ' ')" = \
        "$run/d/leases/sh$first $run/d/leases/sh$second " ]
}
check leases_of_nobody_are_swept leases_of_the_living
says network_is_adopted '^ok' network "$subnet.0/24"
check dnsmasq_is_adopted test "$(dnsmasq_of)" = "$server"
kill -USR1 $client
check lease_holds_with_a_new_agent wait_for 20 renewals 3
kill -9 "$server"
check adopted_dnsmasq_is_watched wait_for 20 another_dnsmasq

# ---- who comes after another
boot $third 4 >/dev/null && plug_in $third
check third_gets_its_address gets $third 4
say stop $third kill 0 >/dev/null
say wait $third 30 >/dev/null
check lease_stays_with_an_ended_instance test -e "$run/d/leases/sh$third"
says third_is_forgotten '^ok' forget $third
check forgotten_has_no_lease test ! -e "$run/d/leases/sh$third"
boot $fourth 4 >/dev/null && plug_in $fourth
check forgotten_ones_address_is_given_again gets $fourth 4
say stop $second kill 0 >/dev/null
say wait $second 30 >/dev/null
boot $fifth 3 >/dev/null && plug_in $fifth
check ended_ones_address_is_given_again gets $fifth 3
check ended_one_has_no_lease_then test ! -e "$run/d/leases/sh$second"
boots ended_one_boots_elsewhere $second 5
plug_in $second
check moved_instance_gets_its_new_address gets $second 5

# ---- many, another subnet, a long log
for i in $(seq 4000); do
    printf '53:00:00:00:%02x:%02x,10.200.%d.%d,sh00020000%04x\n' $((i / 256)) $((i % 256)) \
        $((i / 250)) $((i % 250 + 1)) "$i" >"$run/d/leases/sh00020000$(printf %04x "$i")"
done
boots boots_among_4000 $sixth 6
plug_in $sixth
check gets_its_address_among_4000 gets $sixth 6
find "$run/d/leases" -name 'sh00020000*' -delete
say stop $sixth kill 0 >/dev/null
say wait $sixth 30 >/dev/null
say forget $sixth >/dev/null
says second_subnet_is_made '^ok' network 10.64.79.0/24
boots boots_in_the_second_subnet $sixth 6 10.64.79
plug_in $sixth
check second_subnet_is_served ask_and_see 'bound 10.64.79.6/24 by 10.64.79.1 .* dns 10.64.79.1 ' \
    $sixth
check first_subnet_is_served_as_before gets $second 5
truncate -s 1500000 "$log/dnsmasq.log"
is_short() { [ "$(stat -c %s "$log/dnsmasq.log")" -lt 1000000 ]; }
check long_log_is_cut wait_for 40 is_short
check log_before_is_kept test "$(stat -c %s "$log/dnsmasq.log.1")" -ge 1500000
goes_on() { gets "$second" 5 && grep -q "DHCPACK.* $subnet.5 " "$log/dnsmasq.log"; }
check log_goes_on wait_for 20 goes_on
host_kill
truncate -s 8M "$log/dnsmasq.log"
check full_log_stops_nobody gets $second 5
check full_log_grows_no_more test "$(stat -c %s "$log/dnsmasq.log")" = 8388608
host_start
say hello >/dev/null
check full_log_is_cut wait_for 40 is_short
check log_goes_on_after_that wait_for 20 goes_on

# ---- a process that has its pid by now
host_kill
kill -9 "$(dnsmasq_of)"
bash -c "while :; do sleep 1; done" dnsmasq "--conf-file=$run/d/dnsmasq.conf" &
innocent=$!
started_pids="$started_pids $innocent"
sed -i "s/^[0-9]* /$innocent /" "$run/d/dnsmasq.pid"
host_start
say hello >/dev/null
say network "$subnet.0/24" >/dev/null
check dnsmasq_is_started_beside_a_reused_pid wait_for 20 gets $second 5
check process_with_the_reused_pid_lives kill -0 $innocent

# ---- a dnsmasq that does not start
echo "no such option" >"$run/d/dnsmasq.conf"
kill -9 "$(dnsmasq_of)"
check why_it_does_not_start_is_logged wait_for 20 grep -q 'dnsmasq does not start: .*line 1' \
    "$work/host.log"
say as generic amd64 multiboot pc >/dev/null
says dhcp_only_guest_is_refused '^error unavailable .*by DHCP only: dnsmasq' boot $third "$digest" \
    "$subnet.7" 16777216 x
say as shoal amd64 pvh microvm >/dev/null
boots other_guests_boot $seventh 8
says network_mends_it '^ok' network "$subnet.0/24"
check mended_dnsmasq_answers wait_for 20 gets $second 5

# A guest that needs it brings it back: nobody has to wait for the next try.
kill -9 "$(dnsmasq_of)"
say as generic amd64 pvh microvm >/dev/null
says dhcp_only_guest_waits_for_dnsmasq '^ok' boot $third "$digest" "$subnet.7" 16777216 x
check dnsmasq_runs_by_then test -n "$(dnsmasq_of)"

# ---- its namespace removed
host_kill
umount -l "/run/netns/$space"
host_start
say hello >/dev/null
check dnsmasq_of_a_removed_namespace_is_ended test -z "$(dnsmasq_of)"
say network "$subnet.0/24" >/dev/null
server=$(dnsmasq_of)
check another_serves_the_new_one in_the_guests_namespace "$server"

# ---- the end
kill $client $innocent
host_end
check dnsmasq_outlives_the_agent test "$(dnsmasq_of)" = "$server"
check clean_works host_clean
nothing_left() {
    [ -z "$(pgrep -f -- "$work/")" ] && [ ! -e "/run/netns/$space" ] && [ -z "$(ls "$run")" ]
}
check nothing_is_left wait_for 10 nothing_left
exit 0
