#!/usr/bin/env bash
# `shoal build`: recipes, build commands, what is refused, and that the same input gives the same
# image.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
kernel=$BUILD/examples/hello/v1/hello-amd64.elf
cd "$work" || exit 1

# recipe FOLDER: a folder with a kernel, a disk, symbols, and standard input as its recipe.
recipe() {
    mkdir -p "$1"
    cp "$kernel" "$1/hello.elf"
    head -c 70000 /dev/zero | tr '\0' d >"$1/data.img"
    echo symbols >"$1/hello.debug"
    cat >"$1/Unikernel.yaml"
}

# build FOLDER [OPTIONS...]: its digest.
build() { shoal build "$1" -t hello:1.0 -o json "${@:2}" | jq -r .digest; }
blob() { echo "$XDG_DATA_HOME/shoal/images/blobs/sha256/${1#sha256:}"; }

# The same input, the same digests.
recipe one <<YAML
family: shoal
architectures:
  amd64: {kernel: hello.elf, disks: [data.img], debug: hello.debug}
cmdline: ["--ip=\${net.address}/\${net.prefix}"]
args: [--greeting, ahoy]
YAML
first=$(build one)
mkdir -p deep/er
cp -r one deep/er/two
touch -d 2001-01-01 deep/er/two/*
chmod 600 deep/er/two/*
(umask 077 && cd deep/er && SHOAL_IMAGES=$work/other shoal build two -t other:9 -o json) >again.json
expect the_same_files_give_the_same_digest 0 "^$first\$" jq -r .digest again.json
same_stores() {
    diff <(cd "$XDG_DATA_HOME/shoal/images/blobs/sha256" && ls) <(cd other/blobs/sha256 && ls)
}
check the_same_files_give_the_same_blobs same_stores
printf x >>deep/er/two/data.img
check another_byte_gives_another_digest test "$(build deep/er/two)" != "$first"
build one >/dev/null

manifest=$(blob "$first")
expect each_file_is_a_layer_of_its_kind 0 '^kernel disk debug $' bash -c \
    "jq -r '.layers[].mediaType | split(\".\")[3]' '$manifest' | tr '\n' ' '"
config=$(blob "$(jq -r .config.digest "$manifest")")
expect config_names_the_disk 0 "$(sha256sum <one/data.img | cut -c1-64)" jq -r '.boot.disks[]' "$config"
expect config_does_not_name_the_symbols 1 '' grep -q "$(sha256sum <one/hello.debug | cut -c1-64)" "$config"
expect args_follow_the_command_line 0 'ip=.*--greeting ahoy$' jq -r '.cmdline | join(" ")' "$config"

# Compressed: other layers, the same content, and nothing is left behind.
zstd=$(build one --compress zstd)
expect compressed_again_is_the_same 0 "^$zstd\$" build one --compress zstd
expect compressed_layers_say_what_they_hold 0 "^sha256:$(sha256sum <one/data.img | cut -c1-64) 70000\$" \
    jq -r '.layers[1].annotations | ."dev.shoal.content.digest" + " " + ."dev.shoal.content.size"' \
    "$(blob "$zstd")"
expect zstd_unpacks_them 0 "^$(sha256sum <one/data.img)\$" \
    bash -c "zstd -dc '$(blob "$(jq -r '.layers[1].digest' "$(blob "$zstd")")")' | sha256sum"
expect no_scratch_is_left 1 '' bash -c "ls -A '$XDG_DATA_HOME/shoal/images' | grep -q scratch"
mkdir "$XDG_DATA_HOME/shoal/images/.scratch.killed"
build one >/dev/null
expect scratch_of_a_killed_build_goes 1 '' bash -c "ls -A '$XDG_DATA_HOME/shoal/images' | grep -q scratch"

# Build commands.
recipe made <<YAML
architectures:
  amd64:
    build: |
      echo "makes \$SHOAL_ARCH, secret=\$SECRET, in \$PWD"
      cp hello.elf made.elf
    kernel: made.elf
family: shoal
YAML
SECRET=leaked expect build_command_sees_the_architecture_and_a_clean_environment 0 \
    "makes amd64, secret=, in $work/made\$" shoal build made -t made:1
check and_made_the_kernel cmp made/made.elf made/hello.elf
expect quiet_with_json 0 '^\{$' bash -c 'shoal build made -t made:1 -o json 2>&1 | head -n 1'
rm made/made.elf
expect no_build_runs_nothing_and_says_what_is_missing 1 \
    'made/Unikernel.yaml:6:13: .*made.elf: No such file.*build command does not make it' \
    shoal build made -t made:1 --no-build
check and_it_ran_nothing test ! -e made/made.elf

recipe failing <<'YAML'
family: shoal
architectures: {amd64: {build: "seq 1000; echo no such thing >&2; exit 7", kernel: hello.elf}}
YAML
expect failing_command_tells_place_and_status 1 \
    'failing/Unikernel.yaml:2:32: the build command ended with status 7' shoal build failing -t f:1
expect failing_command_shows_what_it_wrote 1 '^no such thing$' shoal build failing -t f:1
shoal build failing -t f:1 -o json >failing.json 2>/dev/null
expect json_error_has_the_last_lines 0 '^  no such thing$' jq -r .error.message failing.json
expect json_error_has_not_all_lines 1 '' bash -c 'jq -r .error.message failing.json | grep -qx "  900"'
recipe killed <<'YAML'
family: shoal
architectures: {amd64: {build: "kill -9 $$", kernel: hello.elf}}
YAML
expect killed_command_names_the_signal 1 'ended by signal 9 .*, and wrote nothing' \
    shoal build killed -t f:1

# Nothing of a build command outlives it.
recipe lasting <<'YAML'
family: shoal
architectures:
  amd64:
    build: |
      sleep 1000 & echo $! >sleeper
      sleep 1000 & echo $! >>sleeper
      touch started; wait
    kernel: hello.elf
YAML
setsid shoal build lasting -t lasting:1 >lasting.log 2>&1 &
lasting=$!
check lasting_starts wait_for 20 test -e lasting/started
kill -INT "$lasting"
wait "$lasting"
expect interrupted_build_fails 0 '^1$' echo $?
expect interrupted_build_says_so 0 'interrupted: the build command was ended' cat lasting.log
# sleepers_are_gone FILE: none of the pids in it runs.
sleepers_are_gone() {
    local pid
    while read -r pid; do
        kill -0 "$pid" 2>/dev/null && return 1
    done <"$1"
    return 0
}
check interrupt_ends_the_commands_children wait_for 10 sleepers_are_gone lasting/sleeper
recipe leaving <<'YAML'
family: shoal
architectures: {amd64: {build: "sleep 1000 & echo $! >sleeper", kernel: hello.elf}}
YAML
check command_that_leaves_a_process_is_not_waited_for timeout 20 shoal build leaving -t l:1
check and_what_it_left_is_ended wait_for 10 sleepers_are_gone leaving/sleeper

# What is refused.
# hostile NAME PATTERN: the folder's recipe, which bad() wrote, is refused so.
hostile() {
    local name=$1 pattern=$2
    expect "refused_$name" 1 "hostile/$name/Unikernel.yaml:.*$pattern" \
        timeout 20 shoal build "hostile/$name" -t h:1
}
bad() {
    mkdir -p "hostile/$1"
    cp "$kernel" "hostile/$1/hello.elf"
    cat >"hostile/$1/Unikernel.yaml"
}
head='family: shoal
architectures:
  amd64:'
bad absolute_path <<<"$head {kernel: /etc/passwd}"
hostile absolute_path '3:19: "/etc/passwd" is not allowed: a path inside'
bad path_above <<<"$head {kernel: a/../../b}"
hostile path_above '3:19: .*a path inside'
bad link_out <<<"$head {kernel: link}"
ln -s /etc/passwd hostile/link_out/link
hostile link_out '3:19: .*link leads out of the folder'
bad folder_link_out <<<"$head {kernel: link/passwd}"
ln -s /etc hostile/folder_link_out/link
hostile folder_link_out 'leads out of the folder'
bad proc_link <<<"$head {kernel: link}"
ln -s /proc/self/exe hostile/proc_link/link
hostile proc_link 'leads out of the folder'
bad fifo <<<"$head {kernel: hello.elf, disks: [pipe]}"
mkfifo hostile/fifo/pipe
hostile fifo '3:38: .*pipe is not a file'
bad device <<<"$head {kernel: hello.elf, disks: [null]}"
mknod hostile/device/null c 1 3
hostile device '3:38: expected a text'
bad device_file <<<"$head {kernel: hello.elf, disks: ['null']}"
mknod hostile/device_file/null c 1 3
hostile device_file '3:38: .*null is not a file'
bad folder <<<"$head {kernel: hello.elf, initrd: sub}"
mkdir hostile/folder/sub
hostile folder '3:38: .*sub is not a file'
bad empty <<<"$head {kernel: hello.elf, disks: [empty]}"
: >hostile/empty/empty
hostile empty '3:38: .*empty is empty'
bad huge <<<"$head {kernel: hello.elf, disks: [huge]}"
truncate -s 1T hostile/huge/huge
hostile huge '3:38: .*huge: 1099511627776 bytes, a disk has at most'
bad huge_kernel <<<"$head {kernel: huge}"
truncate -s 300M hostile/huge_kernel/huge
hostile huge_kernel '3:19: .*a kernel has at most'
bad variable_in_path <<<"$head {kernel: '\${net.address}'}"
hostile variable_in_path '3:19: .*\$\{net.address\}: No such file'
bad variable <<<"$head {kernel: hello.elf}
cmdline: ['\${HOME}']"
hostile variable '4:11: unknown variable "\$\{HOME\}"'
bad control <<<"$head {kernel: hello.elf}
args: [\"a\\e]0;b\\a\"]"
hostile control '4:8: '
bad deep <<<"$head {kernel: $(printf '[%.0s' $(seq 100))}"
hostile deep '3:[0-9]+: .*32'
bad deeper <<<"$(printf '[%.0s' $(seq 10000))"
hostile deeper '1:[0-9]+: .*32'
bad anchor <<<"family: &a shoal"
hostile anchor '1:9: '
bad no_kernel_bytes <<<"$head {kernel: text}"
echo '#!/bin/sh' >hostile/no_kernel_bytes/text
hostile no_kernel_bytes '3:19: .*text'
bad other_family <<<"family: linux
architectures: {amd64: {kernel: hello.elf}}"
hostile other_family '2:33: .*hello.elf: declared (as|to boot)'
bad qcow_with_backing <<<"$head {kernel: hello.elf, disks: [disk]}"
qemu-img create -q -f qcow2 -b /etc/passwd -F raw hostile/qcow_with_backing/disk 1M
hostile qcow_with_backing '3:38: .*disk: '
bad other_architecture <<<"$head {kernel: hello.elf}"
printf '\xb7' | dd of=hostile/other_architecture/hello.elf bs=1 seek=18 conv=notrunc status=none
hostile other_architecture '3:19: .*(arm64|aarch64)'
mkdir -p hostile/fifo_recipe && mkfifo hostile/fifo_recipe/Unikernel.yaml
expect refused_recipe_that_is_a_fifo 1 'Unikernel.yaml is not a file' \
    timeout 20 shoal build hostile/fifo_recipe -t h:1
expect refused_folder_without_recipe 1 'hostile/Unikernel.yaml: No such file' shoal build hostile -t h:1

# Options.
expect only_an_architecture_that_is_there 1 'one/Unikernel.yaml:3:3: there is nothing for --arch arm64' \
    shoal build one -t hello:1.0 --arch arm64
expect sign_needs_something_to_sign 2 'give one of them too' shoal build one -t hello:1.0 --sign shoal.key
expect a_key_that_is_not_there_is_found_out_first 1 '^shoal: there is no key nokey' \
    shoal build made -t made:1 --push --sign nokey
expect a_name_needs_a_tag 1 'name one' shoal build one -t "hello@$first"
check output_is_an_oci_layout shoal build one -t hello:1.0 --output layout
expect others_read_the_layout 0 "^$first\$" bash -c \
    "skopeo inspect --raw oci:layout:default/hello:1.0 | sha256sum | sed 's/^/sha256:/; s/ .*//'"
check output_is_a_tar_file shoal build one -t hello:1.0 --output hello.tar
expect others_read_the_tar_file 0 "^$first\$" bash -c \
    "skopeo inspect --raw oci-archive:hello.tar:default/hello:1.0 | sha256sum | sed 's/^/sha256:/; s/ .*//'"
again_elsewhere() {
    (umask 077 && SHOAL_IMAGES=$work/third shoal build one -t hello:1.0 --output again.tar) && cmp hello.tar again.tar
}
check the_same_image_is_the_same_tar_file again_elsewhere
expect output_where_nothing_can_be_written 1 'output /nowhere/x.tar: .*No such file' \
    shoal build one -t hello:1.0 --output /nowhere/x.tar
expect output_into_a_folder_of_other_things 1 'holds other things' \
    shoal build one -t hello:1.0 --output one
expect output_json_is_the_format 0 "$first" shoal build one -t hello:1.0 --output json

# Pushed and signed in one go.
port=$(free_port)
export SHOAL_REGISTRY=127.0.0.1:$port
shoal-registry --port "$port" --state "$work/registry" >"$work/registry.log" 2>&1 &
registry_pid=$!
started_pids="$started_pids $registry_pid"
answers() { curl -fsS "http://127.0.0.1:$port/healthz"; }
check registry_starts wait_for 20 answers
shoal keygen shoal >/dev/null
expect push_and_sign 0 'built for amd64, pushed, signed by key [0-9a-f]{16}$' \
    shoal build one -t hello:1.0 --push --sign shoal.key
expect pushed_is_verified 0 "$first" shoal verify hello:1.0 --key shoal.pub

# How it was made.
made=$(SOURCE_DATE_EPOCH='' shoal build one -t hello:1.0 --provenance -o json | jq -r .provenance)
statement=$(blob "$(jq -r '.layers[0].digest' "$(blob "$made")")")
expect provenance_is_about_the_image 0 "^${first#sha256:} https://slsa.dev/provenance/v1\$" \
    jq -r '.subject[0].digest.sha256 + " " + .predicateType' "$statement"
expect provenance_names_each_file_and_the_recipe 0 '^Unikernel.yaml hello.elf data.img hello.debug$' \
    jq -r '[.predicate.buildDefinition.resolvedDependencies[].name] | join(" ")' "$statement"
expect provenance_has_their_digests 0 "^$(sha256sum <one/data.img | cut -c1-64)\$" \
    jq -r '.predicate.buildDefinition.resolvedDependencies[2].digest.sha256' "$statement"
expect provenance_has_the_recipe 0 '^ahoy$' \
    jq -r '.predicate.buildDefinition.externalParameters.recipe.args[1]' "$statement"
expect provenance_tells_no_time 1 '' grep -qE '"(startedOn|finishedOn)"' "$statement"
expect provenance_again_is_the_same 0 "^$made\$" jq -r .provenance \
    <(cd deep/er && cp ../../one/data.img two/ && shoal build two -t other:1 --provenance -o json)
expect provenance_takes_the_given_time 0 '2001-09-09T01:46:40Z' jq -r .predicate.runDetails.metadata.startedOn \
    "$(blob "$(jq -r '.layers[0].digest' "$(blob "$(SOURCE_DATE_EPOCH=1000000000 shoal build one -t time:1 \
        --provenance -o json | jq -r .provenance)")")")"
expect provenance_wants_a_time_that_is_one 1 'SOURCE_DATE_EPOCH=soon: expected seconds' \
    env SOURCE_DATE_EPOCH=soon shoal build one -t time:1 --provenance
check signed_provenance_is_pushed shoal build one -t signed:1 --provenance --push --sign shoal.key
expect the_tree_shows_it 0 'slsa|SLSA' shoal tree signed:1
expect it_is_a_bundle_by_the_key 0 'https://slsa.dev/provenance/v1' bash -c \
    "curl -fsS 'http://127.0.0.1:$port/v2/default/signed/referrers/$first' | jq -r '.manifests[].annotations | .[]?'"
referrer_count() { curl -fsS "http://127.0.0.1:$port/v2/default/signed/referrers/$first" | jq '.manifests | length'; }
count=$(referrer_count)
check signed_again shoal build one -t signed:1 --provenance --push --sign shoal.key
expect what_is_signed_already_is_not_signed_again 0 "^$count\$" referrer_count

# On a terminal what a command writes is dimmed, and the time that it takes is told.
recipe slow <<'YAML'
family: shoal
architectures: {amd64: {build: "echo working; sleep 1.2", kernel: hello.elf}}
YAML
expect output_is_dimmed_on_a_terminal 0 $'\e\\[2mworking\e\\[0m' \
    script -qec 'shoal build slow -t slow:1' /dev/null
expect time_is_told_on_a_terminal 0 'building amd64, [0-9.]+m?s' script -qec 'shoal build slow -t slow:1' /dev/null
expect not_dimmed_without_colours 1 '' bash -c \
    "NO_COLOR=1 script -qec 'shoal build slow -t slow:1' /dev/null | grep -q $'\e\\[2m'"
