#!/usr/bin/env bash
# Images made to do harm, signed by a trusted key and pushed to a real registry: each is refused
# when it is deployed, with what is wrong in it, and nothing boots.
# shellcheck disable=SC2317  # functions are called through check and expect
# shellcheck disable=SC2016  # the images' variables, not the shell's
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
recipe=$BUILD/examples/hello/v1
[ -f "$recipe/hello-amd64.elf" ] || {
    skip image_hostile "the example is not built here"
    exit 0
}

check cluster_comes_up cluster_up
(cd "$work" && shoal keygen shoal) >/dev/null
check key_is_trusted shoal trust add "$work/shoal.pub"

# The sound image of which each hostile one is a copy with one thing changed.
check sound_image_is_built shoal build "$recipe" -t hello:1.0 --arch amd64 --no-build --output "$work/sound"
digest_file() { echo "$work/sound/blobs/sha256/${1#sha256:}"; }
manifest=$(digest_file "$(jq -r '.manifests[0].digest' "$work/sound/index.json")")
config=$(digest_file "$(jq -r .config.digest "$manifest")")
kernel=$(jq -c '.layers[0]' "$manifest")
numbered=0

# blob FILE: into the layout; prints digest and size as a descriptor's members.
blob() {
    local digest
    digest=$(sha256sum <"$1" | cut -d' ' -f1)
    cp "$1" "$layout/blobs/sha256/$digest"
    printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$1")"
}

# publish NAME CONFIG-FILE MANIFEST-FILTER: signed, in the registry. The filter gets $config.
publish() {
    layout=$work/layout
    rm -rf "$layout"
    cp -r "$work/sound" "$layout"
    jq -c --argjson c "{$(blob "$2")}" '.config += $c' "$manifest" | jq -c "$3" >"$work/manifest.json" &&
        printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"it"}}]}' \
            "$(blob "$work/manifest.json")" >"$layout/index.json" &&
        skopeo copy -q --preserve-digests --dest-tls-verify=false "oci:$layout:it" \
            "docker://127.0.0.1:$registry_port/default/$1" &&
        shoal image sign "$1" --key "$work/shoal.key"
}

service() {
    cat <<YAML
service: $1
image: $1:1
replicas: 1
resources: {memory: 32Mi, vcpus: 1}
rollout: {max_surge: 1, max_unavailable: 0, min_healthy_time: 200ms, progress_deadline: 60s}
${2:-}
YAML
}

# refused NAME PATTERN CONFIG-FILE MANIFEST-FILTER [SERVICE-YAML]
refused() {
    local image=h$((++numbered))
    if ! publish "$image:1" "$3" "$4" >"$work/out" 2>&1; then
        fail "$1" "cannot be published: $(tail -n 3 "$work/out" | tr '\n' '|')"
        return
    fi
    expect "$1" 1 "$2" shoal deploy -f <(service "$image" "${5:-}")
}

# with FILTER: the sound config, changed.
with() { jq -c "$1" "$config" >"$work/config.json" && echo "$work/config.json"; }

# --- a copy with nothing changed is taken: what is refused below is refused for its change ---
check sound_copy_is_published publish sound:1 "$config" .
check sound_copy_deploys shoal deploy -f <(service sound)
check sound_copy_is_removed shoal rm sound

# --- media types that lie ---
refused kernel_that_is_called_a_disk 'kernel' "$config" '.layers[0].mediaType = "application/vnd.shoal.unikernel.disk.v1"'
refused kernel_that_is_called_a_config 'kernel' "$config" '.layers[0].mediaType = .config.mediaType'
refused kernel_of_no_type_at_all 'kernel' "$config" '.layers[0].mediaType = "text/plain"'
refused kernel_that_is_said_to_be_packed 'does not say by the annotation' "$config" '.layers[0].mediaType += "+zstd"'
refused config_of_a_containers_type . "$config" '.config.mediaType = "application/vnd.oci.image.config.v1+json"'
refused config_that_is_the_kernel . "$(digest_file "$(jq -r .digest <<<"$kernel")")" .
refused manifest_of_another_artifact . "$config" '.artifactType = "application/vnd.example" | .config.mediaType = "application/json"'

# --- layers ---
refused kernel_twice 'listed twice' "$config" '.layers += .layers'
refused kernel_that_is_not_there 'kernel|layer' "$config" '.layers = []'
refused kernel_by_another_digest 'kernel|layer' "$(with '.boot.kernel = "sha256:" + ("0" * 64)')" .
refused kernel_by_a_path 'kernel' "$(with '.boot.kernel = "../../../etc/shadow"')" .
refused disk_that_is_not_there 'disk' "$(with '.boot.disks = ["sha256:" + ("1" * 64)]')" .
refused kernel_twice_with_other_annotations 'listed twice' "$config" \
    '.layers += [range(40) as $i | .layers[0] | .annotations = {"n": "\($i)"}]'

# --- depth and size ---
nested() { head -c "$1" /dev/zero | tr '\0' "$2"; }
{ printf '{"a":' && nested 10000 '[' && nested 10000 ']' && printf '}'; } >"$work/deep.json"
refused config_of_depth_10000 'nest|deep|depth' "$work/deep.json" .
{ jq -c . "$config" | sed 's/}$/,"x":/' && nested 10000 '[' && nested 10000 ']' && printf '}'; } >"$work/deep.json"
refused sound_config_with_depth_10000_in_it 'nest|deep|depth' "$work/deep.json" .
{ jq -c . "$config" && printf '{}'; } >"$work/two.json"
refused two_documents_in_one 'behind|after|line' "$work/two.json" .
head -c 2000000 /dev/zero | tr '\0' ' ' | cat - "$config" >"$work/large.json"
refused config_of_2_megabytes 'bytes|large' "$work/large.json" .
printf '\377\376{}' >"$work/binary.json"
refused config_that_is_no_text . "$work/binary.json" .

# --- every string of the config: line ends, XML, variables ---
paths=$(jq -c 'paths(strings)' "$config")
while read -r path; do
    name=$(jq -r 'map(tostring) | join("_")' <<<"$path" | tr -c 'A-Za-z0-9\n' _)
    # It is quoted as one line.
    refused "line_end_in_$name" '\?|0x0a' "$(with "setpath($path; getpath($path) + \"\\n\")")" .
    refused "control_character_in_$name" . "$(with "setpath($path; \"\\u0007\" + getpath($path))")" .
    case $path in *cmdline*) continue ;; esac # those are words for the guest
    refused "xml_in_$name" . "$(with "setpath($path; \"\\\"/><disk>&amp;'\")")" .
    refused "variable_in_$name" . "$(with "setpath($path; \"\${net.address}\")")" .
    refused "path_in_$name" . "$(with "setpath($path; \"../../etc/passwd\")")" .
done <<<"$paths"

# --- words for the guest ---
refused unknown_variable 'HOME' "$(with '.cmdline += ["${HOME}"]')" .
refused variable_in_a_variable 'net.\$|variable' "$(with '.cmdline += ["${net.${service}}"]')" .
refused variable_without_an_end 'variable|\$\{' "$(with '.cmdline += ["${net.address"]')" .
refused variable_without_a_value 'MISSING' "$(with '.cmdline += ["${env.MISSING}"]')" .
refused more_words_than_the_guest_reads 'arguments|at most' "$(with '.cmdline += [range(57) | "x"]')" .
refused line_longer_than_the_guest_reads '900 bytes|longer' "$(with '.cmdline += ["x" * 901]')" .
refused arguments_that_make_it_too_long '900 bytes|longer' "$config" . "args: [$(nested 880 x)]"
refused broken_text_in_a_word . "$(with '.cmdline += ["\u0000"]')" .

# --- numbers ---
refused no_memory 'memory' "$(with '.memory.min = 0')" .
refused more_memory_than_there_is 'memory' "$(with '.memory.min = 1e18 | .memory.default = 1e18')" .
refused no_cpu 'vcpus' "$(with '.vcpus.default = 0')" .
refused port_0 'port' "$(with '.ports[0].port = 0')" .
refused a_later_schema 'schemaVersion|schema' "$(with '.schemaVersion = 2')" .
refused another_architecture . "$(with '.architecture = "arm64"')" .
refused another_os . "$(with '.os = "linux"')" .
refused another_family 'famil' "$(with '.family = "plan9"')" .
refused a_way_that_its_family_does_not_boot 'boot' "$(with '.boot.machine = "q35"')" .

# --- a family that no node here boots: valid, and without a place ---
xen=$(with '.family = "xen" | .boot.protocol = "xen" | .boot.machine = "xenpvh" | .stop = {"method": "kill"}')
check image_for_xen_is_published publish xen:1 "$xen" .
expect image_for_xen_has_no_place 4 'no machine for this image' shoal deploy -f <(service xen)

no_instance_of_them() {
    [ "$(shoal ps --all -o json | jq '[.instances[] | select(.service | test("^h[0-9]+$"))] | length')" = 0 ]
}
check nothing_of_them_ever_was_an_instance no_instance_of_them
check no_guest_was_started bash -c '! grep -E "service=h[0-9]" "$1"/log/shoal-agent.log' _ "$cluster"
check cluster_goes_down cluster_down
expect nothing_is_left 0 '^$' echo "$(leftovers "$node")"
[ "$failures" -eq 0 ]
