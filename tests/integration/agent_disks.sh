#!/usr/bin/env bash
# An image with kernel, initrd and two disks, from a folder to a service: two instances read the
# same images, write apart, and end by their power button; disks that name other files never boot.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ ! -s "$BUILD/linux/.complete" ]; then
    skip agent_disks "Debian's cloud kernel is not there: make linux-kernel says why"
    exit 0
fi
image=$work/image
mkdir "$image"
check guests_are_made "$(dirname "${BASH_SOURCE[0]}")/../tools/guests/make" "$BUILD" "$image"
cp "$BUILD/linux/vmlinuz" "$image"
truncate -s 1M "$image/raw.img" "$work/second.raw"
echo "the raw one" | dd of="$image/raw.img" conv=notrunc status=none
echo "the qcow2 one" | dd of="$work/second.raw" conv=notrunc status=none
qemu-img convert -f raw -O qcow2 "$work/second.raw" "$image/second.qcow2"
cat >"$image/Unikernel.yaml" <<'YAML'
family: linux
architectures:
  amd64: {kernel: vmlinuz, initrd: initrd.gz, disks: [raw.img, second.qcow2]}
memory: {min: 96Mi, default: 128Mi}
cmdline: ["console=ttyS0", "quiet", "panic=-1", "no_timer_check", "guest.name=${instance.id}",
          "guest.address=${net.address}/${net.prefix}"]
compress: zstd
ports:
  - {name: http, port: 8080, mode: http}
health:
  readiness: {http: {path: /, port: http}}
YAML

# shellcheck disable=SC2119  # nothing of ours is for `shoal up`
cluster_up >"$work/up.log" 2>&1 || { fail cluster_up "$(tail -n 5 "$work/up.log")"; exit; }
(cd "$work" && shoal keygen shoal) >/dev/null
shoal trust add "$work/shoal.pub" >/dev/null
cat >"$work/service.yaml" <<YAML
service: disks
image: disks:1.0
replicas: 2
resources: {memory: 128Mi, vcpus: 1}
ports:
  - {name: http, port: 8080, publish: $publish_port, mode: http}
health:
  readiness: {http: {path: /, port: http}, every: 1s, timeout: 900ms, rise: 1, fall: 5}
boot_timeout: 3m
rollout: {min_healthy_time: 500ms, progress_deadline: 4m}
stop: {drain: 1s, grace: 60s}
YAML

expect node_lists_its_machines 0 'amd64/tcg,arm64/tcg' shoal node list
expect node_says_why_its_guests_are_translated 0 ' tcg: (tcg was asked for|there is no|/dev/kvm is there, but)' \
    shoal node list -o wide
check image_with_disks_is_built shoal build "$image" -t disks:1.0
check image_with_disks_is_pushed shoal push disks:1.0 --sign "$work/shoal.key"
check service_with_disks_is_deployed shoal deploy -f "$work/service.yaml"
two_answers() {
    for _ in 1 2 3 4 5 6; do curl -sS -m 20 "http://127.0.0.1:$publish_port/"; done |
        grep '^vda now' | sort -u >"$work/writers"
    instances_in ready disks | sed 's/^/vda now: written by /' | sort | diff - "$work/writers"
}
check each_has_written_apart wait_for 30 two_answers
expect both_disks_are_there 0 'vda has 2048 sectors: the raw one' \
    curl -sS -m 20 "http://127.0.0.1:$publish_port/"
expect second_disk_is_there 0 'vdb has 2048 sectors: the qcow2 one' \
    curl -sS -m 20 "http://127.0.0.1:$publish_port/"
disks_are_counted() {
    shoal top instances disks -o json | jq -e '.instances | length == 2 and
        all(.disks == 2 and .read_bytes > 0 and .written_bytes > 0 and .write_operations > 0)'
}
check what_disks_do_is_counted wait_for 30 disks_are_counted
check metrics_tell_of_disks bash -c \
    "curl -fsS 'http://127.0.0.1:$agent_port/metrics' | grep -E '^shoal_instance_disk_read_bytes_total.* [1-9]'"
shoal logs -f disks >"$work/logs" 2>&1 &
started_pids="$started_pids $!"
check logs_are_followed wait_for 30 grep -q 'listens' "$work/logs"
check service_is_scaled_down shoal scale disks=1
check stopped_instance_heard_its_power_button wait_for 30 grep -q 'power button' "$work/logs"
check its_overlays_are_gone test \
    "$(find "$cluster" -path '*/host/overlays/*' | sed 's/.*[.]//' | sort | tr '\n' ' ')" = '0 1 '

# A disk that names another file is refused where it is built.
qemu-img create -q -f qcow2 -u -F raw -b /etc/passwd "$image/second.qcow2" 1M
expect borrowing_disk_is_not_built 1 'names a backing file' shoal build "$image" -t disks:2.0
exit 0
