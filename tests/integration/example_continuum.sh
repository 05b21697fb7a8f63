#!/usr/bin/env bash
# One source, four ways to run it: `make continuum` measures them all, and one service manifest
# deploys the unikernel of either architecture and the Linux microVM.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
[ -s "$BUILD/linux/.complete" ] || {
    skip continuum "Debian's cloud kernel is not there: make linux-kernel says why"
    exit
}
get() { curl -s --max-time 20 "$@"; }
same() { [ "$1" = "$2" ] || { echo "wanted '$1', found '$2'"; return 1; }; }

# --- the table ---
rm -f "$BUILD/bench/continuum.json"
RUNS=1 "$here/../bench/continuum.sh" >"$work/table" 2>&1
form='all(.[]; has("name") and has("unit") and has("ours") and has("peer") and has("peer_name")
    and has("ratio") and has("goal") and has("met"))'
check continuum_writes_its_result jq -e "length == 12 and $form" "$BUILD/bench/continuum.json"
check continuum_measured_everything jq -e 'all(.[]; .ours > 0 and .peer > 0)' \
    "$BUILD/bench/continuum.json"
expect continuum_tells_linuxs_version 0 'Linux microVM, amd64 .* Linux 6\.[0-9.-]+-cloud-amd64 \(Debian 6\.' \
    cat "$work/table"
for row in 'unikernel, amd64' 'unikernel, arm64' 'plain process'; do
    expect "continuum_has_a_row_of_${row//[ ,]/_}" 0 "^$row +[0-9]+ +[0-9]+ +[0-9]+ .* [0-9.]+ +[0-9]+" \
        cat "$work/table"
done

# --- one manifest, three images ---
# shellcheck disable=SC2119  # nothing of ours is for `shoal up`
cluster_up >"$work/up.log" 2>&1 || { fail cluster_up "$(tail -n 5 "$work/up.log")"; exit; }
(cd "$work" && shoal keygen shoal) >/dev/null
shoal trust add "$work/shoal.pub" >/dev/null
# The example's own manifest, on a port of the test's, with more patience.
sed -e "s/publish: 8080/publish: $publish_port/" -e 's/^replicas: .*/replicas: 1/' \
    -e 's/^boot_timeout: .*/boot_timeout: 2m/' -e 's/progress_deadline: [0-9a-z]*/progress_deadline: 4m/' \
    -e 's/LOG: info/LOG: debug/' "$here/../../examples/hello/service.yaml" >"$work/service.yaml"

# publish FOLDER: its image becomes what the manifest's tag names.
publish() { shoal build "$1" -t hello:1.0 && shoal push hello:1.0 --sign "$work/shoal.key"; }
instance() { shoal ps hello -o json | jq -r '.instances[] | select(.state == "ready") | .id' | head -n 1; }
# runs_as KIND FOLDER PROGRAM: deployed with the manifest as it is, it answers in the way of all.
runs_as() {
    check "$1_is_pushed" publish "$2"
    check "$1_is_deployed" shoal deploy -f "$work/service.yaml"
    local id
    id=$(instance)
    check "$1_answers" same "ahoy from hello 1.0 instance $id" \
        "$(get "http://127.0.0.1:$publish_port/")"
    expect "$1_logs" 0 'GET / 200' shoal logs hello
    expect "$1_runs_in_its_machine" 0 "$3" pgrep -af -- "-name guest=.*$id"
    shoal logs -f hello >"$work/end-$1" 2>&1 &
    started_pids="$started_pids $!"
    wait_for 60 grep -q 'GET / 200' "$work/end-$1"
}
mkdir "$work/amd64" "$work/arm64"
for architecture in amd64 arm64; do
    cp "$BUILD/examples/hello/v1/hello-$architecture.elf" "$work/$architecture/"
    sed -e '/^ *arm64: /d' -e "s/^\( *\)amd64: .*/\1$architecture: {kernel: hello-$architecture.elf}/" \
        "$BUILD/examples/hello/v1/Unikernel.yaml" >"$work/$architecture/Unikernel.yaml"
done
runs_as unikernel_amd64 "$work/amd64" 'qemu-system-x86_64.*microvm'
runs_as linux_microvm "$BUILD/examples/hello-linux/v1" 'qemu-system-x86_64.* -machine pc[-,]'
runs_as unikernel_arm64 "$work/arm64" 'qemu-system-aarch64.*virt'
expect scaled_to_nothing 0 . shoal scale hello=0
# Not killed: the byte on its console reached each of them.
for kind in unikernel_amd64 linux_microvm unikernel_arm64; do
    check "${kind}_ended_by_itself" wait_for 60 grep -q 'hello 1.0 stopped' "$work/end-$kind"
done
