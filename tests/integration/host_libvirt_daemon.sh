#!/usr/bin/env bash
# The host half with the machine's own libvirt daemon (--hypervisor-uri qemu:///system): here one of
# the test's own, in a mount namespace where libvirt's folders are empty. It is killed and comes
# back, while its microVMs go on.
# shellcheck disable=SC2317,SC2154,SC2016 # functions are called through check and wait_for; others' variables
export SHOAL_HYPERVISOR=libvirt
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/integration/host_functions.bash
. "$(dirname "${BASH_SOURCE[0]}")/host_functions.bash"

if ! command -v libvirtd >/dev/null; then
    skip libvirt_daemon "libvirtd is not installed (libvirt-daemon)"
    exit 0
fi

daemon=$work/daemon
first=0001000000b1 second=0001000000b2
export HYPERVISOR_URI="qemu:///system?socket=$daemon/libvirt-sock"
mkdir "$daemon"
touch "$daemon/no-kvm"
chmod 0 "$daemon/no-kvm"
for name in run lib cache log etc; do mkdir "$daemon/$name"; done
printf 'stdio_handler = "file"\nnamespaces = []\nmax_core = 0\n' >"$daemon/etc/qemu.conf"
cat >"$daemon/libvirtd.conf" <<END
unix_sock_dir = "$daemon"
unix_sock_group = "root"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:file:$daemon/libvirtd.log"
END

# Its folders outlive it, as they would on a machine.
daemon_start() {
    unshare -m bash -c '
        for pair in run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt \
            log:/var/log/libvirt etc:/etc/libvirt; do
            mkdir -p "${pair#*:}" && mount --bind "$1/${pair%%:*}" "${pair#*:}"
        done
        [ ! -e /dev/kvm ] || mount --bind "$1/no-kvm" /dev/kvm
        exec libvirtd --config "$1/libvirtd.conf" --pid-file "$1/pid"
    ' bash "$daemon" >>"$daemon/out" 2>&1 &
    daemon_pid=$!
    wait_for 30 daemon_answers
}
daemon_answers() { virsh -c "$HYPERVISOR_URI" list >/dev/null 2>&1; }
daemon_kill() {
    kill -9 "$daemon_pid"
    wait "$daemon_pid" 2>/dev/null
}
qemu_there() { pgrep -f -- "guest=sh$1,.*$state/"; }
end_all() {
    host_end
    host_clean
    kill "$daemon_pid" 2>/dev/null
    wait "$daemon_pid" 2>/dev/null
    finish
}
trap end_all EXIT

boot() {
    say boot "$1" "$digest" "10.64.78.$2" 16777216 \
        "--ip=10.64.78.$2/24 --gateway=10.64.78.1 --instance=$1"
}
serves() { ip netns exec "$space" curl -sf --max-time 2 "http://10.64.78.$1:8080/healthz" >/dev/null; }

check daemon_starts daemon_start
host_start
say hello >/dev/null
say network 10.64.78.0/24 >/dev/null
cp "$kernel" "$state/staging/$hex"
says image_is_imported '^ok' import "$digest" "$size"
says microvm_boots '^ok' boot "$first" "$digest" 10.64.78.2 16777216 \
    "--ip=10.64.78.2/24 --gateway=10.64.78.1 --instance=$first"
boot "$second" 3 >/dev/null
check microvm_serves wait_for 20 serves 2
first_pid=$(qemu_there "$first")
expect qemu_has_a_user_of_its_own 0 "$((0x700000b1))" stat -c %u "/proc/$first_pid"
expect qemu_is_in_its_sandbox 0 'Seccomp:.*2' grep Seccomp: "/proc/$first_pid/status"
expect its_processor_time_is_limited 0 'global_quota *: 200000' \
    virsh -c "$HYPERVISOR_URI" schedinfo "sh$first"
expect its_identity_is_in_its_metadata 0 "id=.$first.*image=.$digest" \
    virsh -c "$HYPERVISOR_URI" metadata "sh$first" urn:shoal:instance:1

# ---- the daemon dies, and one microVM with it
daemon_kill
second_pid=$(qemu_there "$second")
kill -9 "$second_pid"
check microvms_outlive_the_daemon kill -0 "$first_pid"
says nothing_boots_without_it '^error unavailable .*libvirtd running' boot 0001000000b3 "$digest" \
    10.64.78.4 16777216 "--ip=10.64.78.4/24"
daemon_start
says what_died_meanwhile_is_told "event ended $second killed" wait "$second" 30
says what_is_stopped_afterwards_stops '^ok' stop "$first" console 5000
says its_end_is_told "event ended $first stopped" wait "$first" 30
says another_boots '^ok' boot "$second" "$digest" 10.64.78.3 16777216 \
    "--ip=10.64.78.3/24 --gateway=10.64.78.1 --instance=$second"

# ---- another agent
second_pid=$(qemu_there "$second")
host_end
host_start
expect the_next_agent_adopts_it 0 "running $second" say hello
check it_is_the_same_process kill -0 "$second_pid"
host_end
check clean_ends_it host_clean
check nothing_runs_any_more bash -c "! kill -0 $second_pid 2>/dev/null"
