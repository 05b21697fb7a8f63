#!/usr/bin/env bash
# Images that KraftKit and urunc make deploy as they are, and packed layers are unpacked on the
# node. The images are put together here as those tools do it, copied by skopeo; the guest tells
# its command line and what its initrd holds.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/tools/unikernels.bash
. "$(dirname "$0")/../tools/unikernels.bash"
guests=$(cd "$(dirname "$0")/../tools/guests" && pwd)

gcc -c -m32 -o "$work/tells.o" "$guests/tells.S" &&
    ld -m elf_i386 --no-warn-rwx-segments -N -Ttext 0x100020 --section-start .multiboot=0x100000 \
        -o "$work/tells.elf" "$work/tells.o" || exit 1

# blob FILE: into the layout; prints digest and size as a descriptor's members.
blob() {
    local digest
    digest=$(sha256sum <"$1" | cut -d' ' -f1)
    mkdir -p "$layout/blobs/sha256"
    cp "$1" "$layout/blobs/sha256/$digest"
    printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$1")"
}

# layer TYPE FILE [ANNOTATIONS]: a descriptor.
layer() { printf '{"mediaType":"%s",%s,"annotations":{%s}}' "$1" "$(blob "$2")" "${3:-}"; }

# image CONFIG ANNOTATIONS LAYER...: the layout's manifest; prints its descriptor's members.
image() {
    local config=$1 annotations=$2 layers
    shift 2
    layers=$(IFS=,; echo "$*")
    printf '%s' "$config" >"$work/config.json"
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[%s],"annotations":{%s}}' \
        application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.config.v1+json \
        "$(blob "$work/config.json")" "$layers" "$annotations" >"$work/manifest.json"
    printf '"mediaType":"application/vnd.oci.image.manifest.v1+json",%s' "$(blob "$work/manifest.json")"
}

# publish NAME DESCRIPTOR-MEMBERS: into the registry, signed there as any image is.
publish() {
    printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    printf '{"schemaVersion":2,"manifests":[{%s,"annotations":{"org.opencontainers.image.ref.name":"it"}}]}' \
        "$2" >"$layout/index.json"
    skopeo copy -q --all --preserve-digests --dest-tls-verify=false "oci:$layout:it" \
        "docker://127.0.0.1:$registry_port/default/$1" && shoal image sign "$1" --key "$work/shoal.key"
}

new_layout() { layout=$(mktemp -d "$work/layout.XXXXXX"); }

# service NAME IMAGE: a manifest that has no port: running counts as ready.
service() {
    cat <<YAML
service: $1
image: $2
replicas: 1
resources: {memory: 32Mi, vcpus: 1}
rollout: {max_surge: 1, max_unavailable: 0, min_healthy_time: 200ms, progress_deadline: 60s}
stop: {drain: 1s, grace: 1s}
${3:-}
YAML
}

logs_have() { shoal logs "$1" | grep -qF -- "$2"; }
told() { wait_for 60 logs_have "$1" "$2"; }

check cluster_comes_up cluster_up
(cd "$work" && shoal keygen shoal) >/dev/null
check key_is_trusted shoal trust add "$work/shoal.pub"

# ---- KraftKit: an index of platforms, each file in a layer of its own, uncompressed tar
new_layout
mkdir -p "$work/root/unikraft/bin"
cp "$work/tells.elf" "$work/root/unikraft/bin/kernel"
printf 'the root file system' >"$work/root/unikraft/bin/initrd"
truncate -s 64 "$work/root/unikraft/bin/initrd"
tar -C "$work/root" -P --transform 's,^,/,' -cf "$work/kernel.tar" unikraft/bin/kernel
tar -C "$work/root" -P --transform 's,^,/,' -cf "$work/initrd.tar" unikraft/bin/initrd
tar_type=application/vnd.oci.image.layer.v1.tar
kernel=$(layer $tar_type "$work/kernel.tar" '"org.unikraft.kernel.image":"/unikraft/bin/kernel"')
initrd=$(layer $tar_type "$work/initrd.tar" '"org.unikraft.kernel.initrd":"/unikraft/bin/initrd"')
kraft='{"architecture":"x86_64","os":"%s","config":{"Cmd":["/app","-c","two words"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":[]}}'
# shellcheck disable=SC2059  # the config is the format
for os in qemu fc; do
    described=$(image "$(printf "$kraft" $os)" '"sh.kraftkit.version":"0.9.0"' "$kernel" "$initrd")
    children=${children:+$children,}"{$described,\"platform\":{\"os\":\"$os\",\"architecture\":\"x86_64\"}}"
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' \
    "$children" >"$work/index.json"
described="\"mediaType\":\"application/vnd.oci.image.index.v1+json\",$(blob "$work/index.json")"
check kraftkits_image_is_pushed_and_signed publish kraft:1.0 "$described"
pinned=$(sha256sum <"$work/index.json" | cut -d' ' -f1)
its_digest_is() { [ "$(shoal image verify kraft:1.0 --key "$work/shoal.pub" -o json | jq -r .digest)" = "$1" ]; }
check its_digest_is_untouched its_digest_is "sha256:$pinned"
check it_verifies shoal image verify kraft:1.0
check it_deploys shoal deploy -f <(service kraft kraft:1.0 'args: ["more"]')
check guest_is_told_its_address_and_words told kraft \
    'vfs.fstab=[ "initrd0:/:extract:::" ] -- /app -c "two words" more'
check guest_is_told_its_environment told kraft 'env.vars=[ PATH=/bin ]'
check guest_has_its_initrd told kraft 'module <the root file system>'
check it_can_boot_again shoal restart kraft

# ---- an agent that starts again boots from what was unpacked: it asks for no layer
layers() { find "$cluster/agent/chains" -path '*/layers/*' -type f; }
stop_pid "$(daemon_pid agent)"
find "$cluster/agent/chains" -path '*/layers/*' -type f -delete
check agent_comes_back cluster_up_again
check it_boots_from_what_was_unpacked shoal restart kraft
check no_layer_was_fetched_again test -z "$(layers)"

# ---- only for Firecracker: refused by name
new_layout
kernel=$(layer $tar_type "$work/kernel.tar" '"org.unikraft.kernel.image":"/unikraft/bin/kernel"')
# shellcheck disable=SC2059
check image_for_firecracker_is_pushed publish fc:1.0 \
    "$(image "$(printf "$kraft" fc)" '"sh.kraftkit.version":"0.9.0"' "$kernel")"
expect it_is_refused_by_name 1 'built for the platform "fc".*--plat qemu' \
    shoal deploy -f <(service fc fc:1.0)

# ---- urunc: one gzip layer, keys in /urunc.json
new_layout
mkdir -p "$work/urunc/unikernel"
cp "$work/tells.elf" "$work/urunc/unikernel/app"
value() { printf '%s' "$1" | base64 -w0; }
printf '{"com.urunc.unikernel.%s":"%s","com.urunc.unikernel.%s":"%s","com.urunc.unikernel.%s":"%s","com.urunc.unikernel.%s":"%s"}' \
    unikernelType "$(value mirage)" hypervisor "$(value qemu)" binary "$(value /unikernel/app)" \
    cmdline "$(value '--name "a b"')" >"$work/urunc/urunc.json"
tar -C "$work/urunc" -czf "$work/urunc.tgz" unikernel urunc.json
packed=$(layer $tar_type+gzip "$work/urunc.tgz")
linux='{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":[]}}'
check uruncs_image_is_pushed publish urunc:1.0 "$(image "$linux" '' "$packed")"
check uruncs_image_deploys shoal deploy -f <(service urunc urunc:1.0)
check urunc_guest_is_told_in_its_form told urunc '--ipv4-gateway='
check urunc_guest_has_its_words told urunc '--name "a b"'

status_says() { shoal status "$1" | grep -qE -- "$2"; }
never_booted() { ! shoal events "$1" | grep -qE ' (running|ready) '; }

# ---- hostile layers: refused on the node, with the reason, and nothing boots
hostile() { # NAME PATTERN TAR
    new_layout
    packed=$(layer $tar_type "$3")
    publish "$1:1.0" "$(image "$linux" '"com.urunc.unikernel.unikernelType":"mirage","com.urunc.unikernel.hypervisor":"qemu","com.urunc.unikernel.binary":"/k"' "$packed")" >"$work/out" 2>&1 ||
        fail "$1_is_pushed" "$(tail -n 3 "$work/out")"
    check "$1_is_deployed" shoal deploy --detach -f <(service "$1" "$1:1.0")
    check "$1_says_why" wait_for 60 status_says "$1" "$2"
    check "$1_does_not_boot" never_booted "$1"
    shoal rm "$1" >/dev/null
}
printf x >"$work/k"
ln -s /etc/shadow "$work/link"
tar -C "$work" --transform 's,link,k,S' -cf "$work/link.tar" link
tar -C "$work" -P --transform 's,^k,../../k,' -cf "$work/climb.tar" k
tar -C "$work" -cf "$work/other.tar" work 2>/dev/null || tar -C "$work" -cf "$work/other.tar" config.json
head -c 4096 /dev/urandom >"$work/noise.tar"
# What boots on no machine is said to be so: a tender's unikernel, Unikraft for Firecracker.
make_unikernel solo5-hvt "$work/k" && tar -C "$work" -cf "$work/tender.tar" k
make_unikernel unikraft-fc "$work/k" && tar -C "$work" -cf "$work/other-family.tar" k
printf x >"$work/k" && tar -C "$work" -cf "$work/no-kernel.tar" k
hostile tender 'for the tender solo5-hvt.*QEMU cannot boot it' "$work/tender.tar"
hostile family 'Unikraft in a 64-bit ELF file.*Firecracker' "$work/other-family.tar"
hostile bytes 'nothing shows that it boots by multiboot' "$work/no-kernel.tar"
hostile link 'is a link' "$work/link.tar"
hostile climb '"\.\." is refused' "$work/climb.tar"
hostile missing 'have no kernel /k' "$work/other.tar"
hostile noise 'tar archive' "$work/noise.tar"

check services_are_removed shoal rm kraft
check cluster_goes_down cluster_down
expect nothing_is_left 0 '^$' echo "$(leftovers "$node")"
