#!/usr/bin/env bash
# A real guest that knows its address by DHCP only: Debian's cloud kernel with busybox, of family
# generic, whose command line says nothing about a network. host_driver plays the deciding half.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/integration/host_functions.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_functions.bash"
trap 'host_end; host_clean; finish' EXIT

subnet=10.64.76
first=0001000000c1 second=0001000000c2
linux=$BUILD/linux root=$work/root
memory=134217728
[ -e "$linux/vmlinuz" ] || { skip host_dhcp_guest "there is no $linux: make linux-kernel"; exit 0; }

# ---- the guest: its init loads what virtio needs, asks, and serves what it was given
mkdir -p "$root/bin" "$root/modules" "$root/www"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$linux"/modules/*.ko "$linux/modules/order" "$root/modules"
cat >"$root/init" <<'SH'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
while read -r module; do insmod "/modules/$module.ko"; done </modules/order
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -q -t 20 -T 1 -O mtu -s /lease || poweroff -f
echo "the guest listens"
httpd -f -p 8080 -h /www
SH
cat >"$root/lease" <<'SH'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev eth0
ip link set eth0 mtu "$mtu"
ip route add default via "$router"
echo "$hostname has $ip/$mask by $router, mtu $mtu, dns $dns" | tee /www/index.html
SH
chmod 755 "$root/init" "$root/lease"
(cd "$root" && find . -mindepth 1 | cpio --quiet --create --format=newc --owner=+0:+0) |
    gzip -1 >"$work/initrd"

take() { # FILE: imports it, and prints its digest
    local name
    name=$(sha256sum "$1" | cut -d' ' -f1)
    cp "$1" "$state/staging/$name"
    say import "sha256:$name" "$(stat -c %s "$1")" >&2 && echo "sha256:$name"
}

boot() { # ID LAST-OF-ADDRESS
    say boot "$1" "$bzimage" "$subnet.$2" "$memory" "console=ttyS0 quiet panic=-1"
}

answers() { # LAST-OF-ADDRESS: its server takes a connection a moment after it says that it listens
    say get "$subnet.$1" 8080 / | grep -q '^ok HTTP/1'
}

listens() { grep -q 'the guest listens' "$log/consoles/$1.log"; }

host_start
say hello >/dev/null
says network_is_made '^ok' network "$subnet.0/24"
bzimage=$(take "$linux/vmlinuz") initrd=$(take "$work/initrd")
say as generic amd64 linux pc >/dev/null
say initrd "$initrd" >/dev/null
check first_boots boot $first 2
check second_boots boot $second 3
check first_listens wait_for 120 listens $first
check second_listens wait_for 120 listens $second
check first_answers wait_for 60 answers 2
check second_answers wait_for 60 answers 3
says first_has_its_address \
    "^ok HTTP/1.. 200 .*sh$first has $subnet.2/24 by $subnet.1, mtu 1500, dns $subnet.1" \
    get "$subnet.2" 8080 /
says second_has_its_address "^ok HTTP/1.. 200 .*sh$second has $subnet.3/24 by $subnet.1" \
    get "$subnet.3" 8080 /
check asked_once test "$(grep -c "DHCPDISCOVER.*$(sed -E 's/^..(..)(..)(..)(..)(..)$/52:\1:\2:\3:\4:\5/' \
    <<<$first)" "$log/dnsmasq.log")" = 1
host_end
check clean_works host_clean
exit 0
