#!/usr/bin/env bash
# How fast the agent boots, stops and restarts microVMs, and what it costs at rest; one run:
#   - raw QEMU, and `virsh create` of the same microVM, from their start to the first HTTP answer:
#     one, and (raw) CROWD at once
#   - the same image through scheduler and agent, by each hypervisor: from the assignment to ready
#     (the image is here and verified), one and CROWD at once; stop, restart, wake of a standby
#   - memory and processor time of the agent and of its microVMs, at rest with 0, CROWD and FLEET of
#     them, checked every 10 s
#
#   BUILD=dir RUNS=11 CROWD=50 FLEET=200 HYPERVISORS='qemu libvirt' tests/bench/agent.sh
#                                                            (make bench-agent; as root)
#
# The agent's times are its own log's. Guests run in network namespaces. Prints a table, writes
# BUILD/bench/agent.json.
set -eu

machine=(qemu-system-x86_64 -M 'microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off' -nodefaults
    -no-user-config -display none -no-reboot -m 16)
kernel_of() { echo "$1/hello/v1/hello-amd64.elf"; }

# domain ELF CONSOLE: the same microVM for libvirt, as tap boot-2 and 10.64.0.2.
domain() {
    cat <<XML
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>bench</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='microvm'>hvm</type><kernel>$1</kernel>
    <cmdline>--ip=10.64.0.2/24 --gateway=10.64.0.1 --instance=000100000002</cmdline></os>
  <cpu mode='maximum'/><on_reboot>destroy</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <serial type='file'><source path='$2'/><target port='0'/></serial>
    <interface type='ethernet'><target dev='boot-2' managed='no'/><model type='virtio'/>
      <address type='virtio-mmio'/></interface>
  </devices>
  <qemu:commandline><qemu:arg value='-machine'/><qemu:arg value='pit=off,pic=off,rtc=off'/>
  </qemu:commandline>
</domain>
XML
}

tap() { # NUMBER: on the bridge
    ip tuntap add dev "boot-$1" mode tap
    ip link set "boot-$1" master guests up
}

# raw COUNT: microseconds for so many at once.
raw() {
    local count=$1 number
    for ((number = 2; number < count + 2; number++)); do tap "$number"; done
    "$boot_clock" crowd "$count" 8080 -- "${machine[@]}" -kernel "$(kernel_of "$guests")" \
        -append '--ip=10.64.0.%N/24 --gateway=10.64.0.1 --instance=0001000000%N' \
        -serial "file:$round_work/console-%N" \
        -netdev 'tap,id=net,ifname=boot-%N,script=no,downscript=no' \
        -device virtio-net-device,netdev=net,mac=52:00:00:00:00:%H
    for ((number = 2; number < count + 2; number++)); do ip link delete "boot-$number"; done
}

# virsh is there already and its driver is warm: only `create` is measured.
virsh_rounds() {
    local run time virsh
    mkfifo "$round_work/virsh-commands"
    mkdir -p "$round_work/libvirt/etc"
    printf '%s\n' 'user = "root"' 'group = "root"' 'stdio_handler = "file"' \
        'security_driver = "none"' 'namespaces = []' >"$round_work/libvirt/etc/qemu.conf"
    virsh -q -c "qemu:///embed?root=$round_work/libvirt" <"$round_work/virsh-commands" \
        >"$round_work/virsh-log" 2>&1 &
    virsh=$!
    exec 7>"$round_work/virsh-commands"
    domain "$(kernel_of "$guests")" "$round_work/console-virsh" >"$round_work/domain.xml"
    for ((run = 0; run <= runs; run++)); do
        tap 2
        read -r time _ < <("$boot_clock" http 10.64.0.2 8080 -- sh -c \
            "echo 'create $round_work/domain.xml' >&7; exec sleep 120") || {
            cat "$round_work/virsh-log" >&2
            return 1
        }
        # The first one fills libvirt's cache of what QEMU can do.
        [ "$run" = 0 ] || echo "$time" >>"$round_work/virsh"
        echo 'destroy bench' >&7
        while pgrep -f "$round_work/libvirt.*guest=bench|guest=bench.*$round_work/libvirt" >/dev/null; do
            sleep 0.05
        done
        ip link delete boot-2
    done
    echo quit >&7
    exec 7>&-
    wait "$virsh" || true
}

# What runs without an agent, inside a network namespace that ends with it.
if [ "${1:-}" = --raw ]; then
    round_work=$2 guests=$3 boot_clock=$4 runs=$5 crowd=$6
    ip link set lo up
    ip link add guests type bridge
    ip address add 10.64.0.1/24 dev guests
    ip link set guests up
    for ((run = 0; run < runs; run++)); do raw 1 >>"$round_work/raw-one"; done
    for ((run = 0; run < 3; run++)); do raw "$crowd" >>"$round_work/raw-crowd"; done
    virsh_rounds
    exit
fi

[ "$(id -u)" = 0 ] || {
    echo "bench-agent: the agent and its guests need root: run it with sudo" >&2
    exit 1
}
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/../integration/lib.sh"
# shellcheck source=tests/bench/table.bash
. "$(dirname "$0")/table.bash"
runs=${RUNS:-11} crowd=${CROWD:-50} fleet=${FLEET:-200} rest=${REST:-20}
hypervisors=${HYPERVISORS:-qemu libvirt}
guests=$BUILD/examples
boot_clock=$BUILD/bench/boot_clock
for file in "$(kernel_of "$guests")" "$boot_clock" "$BUILD/bin/shoal-agent"; do
    [ -s "$file" ] || {
        echo "$file is not built; run: make bench-agent" >&2
        exit 1
    }
done


median() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] / 1000 }'; }

log_length() { wc -l <"$cluster/log/agent.log"; }

# between FROM-LINE FIRST LAST: microseconds from the first move that matches to the last one, as
# the agent's log tells them after that line; "from=new", "to=ready".
between() {
    tail -n "+$1" "$cluster/log/agent.log" | grep 'msg="instance moved"' | awk -v first="$2" -v last="$3" '
        { split(substr($1, 15), t, /[:.Z]/); now = ((t[1] * 60 + t[2]) * 60 + t[3]) * 1000 + t[4] }
        !begun && index($0, " " first " ") { begun = now }
        index($0, " " last " ") { end = now }
        END { if (begun) print (end - begun) * 1000 }'
}

# Addresses of instances that have ended are not handed out again for a minute.
scale() { shoal scale --wait-for-room "hello=$1" >/dev/null 2>&1; }

# Processes of the microVMs that run.
guest_pids() {
    local pid
    sed -nE 's/.*msg="microVM started" .*pid=([0-9]+).*/\1/p' "$cluster/log/agent.log" |
        while read -r pid; do
            [ ! -e "/proc/$pid/status" ] || echo "$pid"
        done
}

ticks() { # PIDS...: of processor time so far, hundredths of a second
    local pid
    for pid in "$@"; do sed 's/.*) //' "/proc/$pid/stat"; done | awk '{ sum += $12 + $13 } END { print sum + 0 }'
}

memory() { # PIDS...: KiB, their proportional share of what they have in common
    local pid
    for pid in "$@"; do grep '^Pss:' "/proc/$pid/smaps_rollup"; done | awk '{ sum += $2 } END { print sum + 0 }'
}

# at_rest HYPERVISOR: what agent and microVMs cost while nothing happens.
at_rest() {
    local agents guests_now agent_ticks guest_ticks
    mapfile -t agents < <(pgrep -f -- "/shoal-agent .*$cluster")
    mapfile -t guests_now < <(guest_pids)
    agent_ticks=$(ticks "${agents[@]}") guest_ticks=$(ticks "${guests_now[@]}")
    sleep "$rest"
    jq -n --arg hypervisor "$1" --argjson count "${#guests_now[@]}" --argjson rest "$rest" \
        --argjson agent_ticks "$(($(ticks "${agents[@]}") - agent_ticks))" \
        --argjson guest_ticks "$(($(ticks "${guests_now[@]}") - guest_ticks))" \
        --argjson agent_memory "$(memory "${agents[@]}")" \
        --argjson guest_memory "$(memory "${guests_now[@]}")" '
        {hypervisor: $hypervisor, count: $count, agent_memory: $agent_memory,
         guest_memory: $guest_memory, agent_percent: ($agent_ticks / $rest),
         guest_percent: ($guest_ticks / $rest)}' >>"$work/rest"
}

# one_round HYPERVISOR: one instance more, its restart after its QEMU was killed, and its stop.
one_round() {
    local line victim
    line=$(log_length)
    scale 2
    between "$line" from=new to=ready >>"$work/$1-one"
    line=$(log_length)
    victim=$(guest_pids | tail -n 1)
    kill -9 "$victim"
    wait_for 60 restarted_since "$line"
    between "$line" to=waiting to=ready >>"$work/$1-restart"
    line=$(log_length)
    scale 1
    wait_for 60 grep -q . <(between "$line" to=stopping to=stopped)
    between "$line" to=stopping to=stopped >>"$work/$1-stop"
}

restarted_since() { [ "$(between "$1" to=waiting to=ready)" -gt 0 ]; }

standby_waits() { instances_in standby | grep -q .; }

# service EXTRA...: hello, checked every 10 s once it is ready.
service() {
    manifest 1 1 'restart: {backoff: 10ms, attempts: 1000}' "$@" |
        sed 's/every: 500ms/every: 10s/; s/progress_deadline: 60s/progress_deadline: 10m/' \
            >"$work/service.yaml"
    shoal deploy -f "$work/service.yaml" >/dev/null 2>&1
}

# Standbys resumed one by one.
standby_rounds() {
    local run line
    service 'standby: 1'
    for ((run = 0; run < runs; run++)); do
        wait_for 120 standby_waits
        line=$(log_length)
        scale 2
        between "$line" from=standby to=ready >>"$work/$1-wake"
        scale 1
    done
    service
}

# measure_agent HYPERVISOR: a cluster of its own.
measure_agent() {
    local hypervisor=$1 run line
    cluster_up --hypervisor "$hypervisor" >/dev/null 2>&1
    build_and_push 1
    shoal trust add "$work/shoal.pub" >/dev/null
    at_rest "$hypervisor"
    service
    for ((run = 0; run < runs; run++)); do one_round "$hypervisor"; done
    for ((run = 0; run < 3; run++)); do
        line=$(log_length)
        scale $((crowd + 1))
        between "$line" from=new to=ready >>"$work/$hypervisor-crowd"
        [ "$run" = 2 ] || scale 1
    done
    scale 1
    standby_rounds "$hypervisor"
    scale "$crowd"
    at_rest "$hypervisor"
    scale "$fleet"
    at_rest "$hypervisor"
    cluster_down
    rm -rf "$work/cluster" # the next one is another node
}

mkdir -p "$BUILD/bench"
unshare --net -- "$0" --raw "$work" "$guests" "$boot_clock" "$runs" "$crowd"
for hypervisor in $hypervisors; do measure_agent "$hypervisor"; done

# row NAME UNIT OURS PEER PEER-NAME GOAL: GOAL is the largest ratio, or null.
row() {
    jq -n --arg name "$1" --arg unit "$2" --argjson ours "$3" --argjson peer "$4" --arg peer_name "$5" \
        --argjson goal "$6" '($ours / $peer * 100 | round / 100) as $ratio |
        {name: $name, unit: $unit, ours: $ours, peer: $peer, peer_name: $peer_name, ratio: $ratio,
         goal: $goal, met: ($goal == null or $ratio <= $goal)}'
}

# rest_rows HYPERVISOR: what the agent and its microVMs cost at rest; memory is what each one more
# takes, from CROWD to FLEET.
rest_rows() {
    local name=$1 limit=null count
    [ "$name" != qemu ] || limit=1.0
    of_rest() { jq -s --arg name "$name" "map(select(.hypervisor == \$name)) | $1" "$work/rest"; }
    for count in 0 1 2; do
        row "$name: $(of_rest ".[$count].count") at rest, the agent's processor" percent \
            "$(of_rest ".[$count].agent_percent * 100 | round / 100")" 100 'one core' null
        row "$name: $(of_rest ".[$count].count") at rest, the agent's memory" KiB \
            "$(of_rest ".[$count].agent_memory")" "$(of_rest '.[0].agent_memory')" 'without any' null
    done
    row "$name: the agent's memory for one more" KiB \
        "$(of_rest '(.[2].agent_memory - .[1].agent_memory) / (.[2].count - .[1].count) | round')" \
        100 goal "$limit"
    row "$name: a microVM's memory, of $fleet" KiB \
        "$(of_rest '.[2].guest_memory / .[2].count | round')" 30720 'alone, with huge pages' null
    row "$name: a microVM's processor, of $fleet" percent \
        "$(of_rest '.[2].guest_percent / .[2].count * 1000 | round / 1000')" 100 'one core' null
}

raw_one=$(median "$work/raw-one") raw_crowd=$(median "$work/raw-crowd") virsh=$(median "$work/virsh")
{
    row 'virsh create to first answer' ms "$virsh" "$raw_one" 'raw QEMU' null
    for hypervisor in $hypervisors; do
        one=$(median "$work/$hypervisor-one")
        if [ "$hypervisor" = qemu ]; then
            row 'qemu: assignment to ready' ms "$one" "$raw_one" 'raw QEMU' 1.3
            row "qemu: $crowd at once" ms "$(median "$work/qemu-crowd")" "$raw_crowd" 'raw QEMU' 1.3
        else
            row 'libvirt: assignment to ready' ms "$one" "$virsh" 'virsh create' 1.0
            row "libvirt: $crowd at once" ms "$(median "$work/libvirt-crowd")" "$raw_crowd" 'raw QEMU' null
        fi
        row "$hypervisor: restart after a kill" ms "$(median "$work/$hypervisor-restart")" "$raw_one" 'raw QEMU' null
        row "$hypervisor: a standby is resumed, to its first answer" ms \
            "$(median "$work/$hypervisor-wake")" 10 goal 1.0
        row "$hypervisor: stop" ms "$(median "$work/$hypervisor-stop")" "$raw_one" 'raw QEMU' null
    done
    for hypervisor in $hypervisors; do rest_rows "$hypervisor"; done
} | jq -s . >"$work/agent.json"
mv "$work/agent.json" "$BUILD/bench/agent.json"

printf 'medians: one at a time of %d, %d at once of 3; at rest over %d s\n' "$runs" "$crowd" "$rest"
print_results "$BUILD/bench/agent.json"
jq -e 'all(.met)' "$BUILD/bench/agent.json" >/dev/null
