#!/usr/bin/env bash
# Images between stores as they are: those of other tools, with Docker's types, several
# architectures, and what is about them (SBOMs, signatures).
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data SHOAL_IMAGES=$work/images
cd "$work" || exit 1
port=$(free_port)
export SHOAL_REGISTRY=127.0.0.1:$port
api=http://127.0.0.1:$port/v2/default
shoal-registry --port "$port" --state "$work/registry" >"$work/registry.log" 2>&1 &
started_pids="$started_pids $!"
answers() { curl -fsS "http://127.0.0.1:$port/healthz"; }
check registry_starts wait_for 20 answers

# put NAME TYPE FILE: a manifest into the registry under a tag.
put() {
    curl -fsS -o /dev/null -X PUT -H "Content-Type: $2" --data-binary "@$3" "$api/${1%:*}/manifests/${1#*:}"
}
# upload NAME FILE: a blob.
upload() {
    local digest
    digest=$(sha256sum <"$2" | cut -d' ' -f1)
    curl -fsS -o /dev/null -X POST --data-binary "@$2" -H 'Content-Type: application/octet-stream' \
        "$api/$1/blobs/uploads/?digest=sha256:$digest"
    printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$2")"
}
tar -cf layer.tar -C "$BUILD/examples/hello/v1" hello-amd64.elf
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' >config.json
oci=application/vnd.oci.image docker=application/vnd.docker
# foreign NAME MANIFEST-TYPE CONFIG-TYPE LAYER-TYPE: an image such as other tools make.
foreign() {
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[{"mediaType":"%s",%s}]}' \
        "$2" "$3" "$(upload "${1%:*}" config.json)" "$4" "$(upload "${1%:*}" layer.tar)" >manifest.json
    put "$1" "$2" manifest.json
}
digest_of() { curl -fsSI -H "Accept: $1" "$api/$2/manifests/$3" | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip'; }

# --- images of other tools ---
foreign kraft:1 $oci.manifest.v1+json $oci.config.v1+json $oci.layer.v1.tar
kraft=$(digest_of $oci.manifest.v1+json kraft 1)
expect an_image_of_another_tool_is_pulled 0 "$kraft" shoal image pull kraft:1
expect its_layers_are_kept 0 '' cmp layer.tar "images/blobs/sha256/$(sha256sum <layer.tar | cut -d' ' -f1)"
foreign old:1 $docker.distribution.manifest.v2+json $docker.container.image.v1+json $docker.image.rootfs.diff.tar
old=$(digest_of $docker.distribution.manifest.v2+json old 1)
expect one_with_dockers_types_too 0 "$old" shoal image pull old:1
push_elsewhere() {
    local port2 pid
    port2=$(free_port)
    shoal-registry --port "$port2" --state "$work/registry2" >registry2.log 2>&1 &
    started_pids="$started_pids $!"
    wait_for 20 curl -fsS "http://127.0.0.1:$port2/healthz" &&
        other=127.0.0.1:$port2
}
check another_registry_starts push_elsewhere
expect pushed_elsewhere_it_is_the_same 0 "$old" shoal --registry "$other" push old:1
expect and_keeps_its_type 0 "$docker.distribution.manifest.v2" \
    curl -fsSI -H "Accept: $docker.distribution.manifest.v2+json" "http://$other/v2/default/old/manifests/1"

# --- several architectures, with one that nobody here knows ---
mkdir two
cp "$BUILD/examples/hello/v1/hello-amd64.elf" two/
printf 'family: shoal\narchitectures: {amd64: {kernel: hello-amd64.elf}}\n' >two/Unikernel.yaml
ours=$(shoal build two -t two:amd64 --push -o json 2>/dev/null | jq -r .digest)
foreign two:other $oci.manifest.v1+json $oci.config.v1+json $oci.layer.v1.tar
listed() { # DIGEST ARCHITECTURE
    printf '{"mediaType":"%s","digest":"%s","size":%s,"platform":{"os":"unikernel","architecture":"%s"}}' \
        $oci.manifest.v1+json "$1" "$(curl -fsS -H "Accept: $oci.manifest.v1+json" "$api/two/manifests/$1" | wc -c)" "$2"
}
printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s,%s]}' $oci.index.v1+json \
    "$(listed "$ours" amd64)" "$(listed "$(digest_of $oci.manifest.v1+json two other)" riscv64)" >index.json
put two:1 $oci.index.v1+json index.json
index=sha256:$(sha256sum <index.json | cut -d' ' -f1)
expect an_index_is_pulled_with_all_it_lists 0 "$index" shoal image pull two:1
expect and_pushed_again_as_it_is 0 "$index" shoal --registry "$other" push two:1
printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"%s","size":%s}]}' \
    $oci.index.v1+json $oci.index.v1+json "$index" "$(wc -c <index.json)" >nested.json
put two:nested $oci.index.v1+json nested.json
expect an_index_in_an_index_is_refused 1 'indexes in indexes are not kept locally' shoal image pull two:nested

# --- what is about an image goes with it ---
shoal keygen shoal >/dev/null
printf '{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"hello","packages":[]}' >sbom.json
check signed shoal sign two:1 --key shoal.key
check an_sbom_is_attached shoal attach two:1 --type spdx sbom.json
referrers() { curl -fsS "http://$1/v2/default/two/referrers/$2" | jq -S '[.manifests[] | {digest, artifactType, annotations}] | sort_by(.digest)'; }
expect it_is_pulled_with_them 0 "$index" shoal image pull two:1
check the_sbom_is_here cmp sbom.json "images/blobs/sha256/$(sha256sum <sbom.json | cut -d' ' -f1)"
check pushed_elsewhere shoal --registry "$other" push two:1
same_referrers() {
    diff <(referrers "127.0.0.1:$port" "$1") <(referrers "$other" "$1") &&
        [ "$(referrers "$other" "$1" | jq length)" -ge 1 ]
}
check they_went_along_with_the_index same_referrers "$index"
check and_with_its_manifests same_referrers "$ours"
expect so_it_verifies_there 0 'signed by shoal.pub' \
    shoal --registry "$other" image verify two:1 --key shoal.pub --arch amd64
expect the_list_has_images_only 0 '^4$' bash -c 'shoal image list -o json | jq ".images | length"'
check removed shoal image rm two:1
expect what_was_about_it_goes_with_it 1 '' \
    test -e "images/blobs/sha256/$(sha256sum <sbom.json | cut -d' ' -f1)"
expect and_the_others_stay 0 '^3$' bash -c 'shoal image list -o json | jq ".images | length"'

# --- a manifest that lies about a size that is known here ---
jq -c '.layers[0].size += 1' manifest.json >lie.json
check the_registry_takes_it put kraft:lie $oci.manifest.v1+json lie.json
expect a_lie_about_a_size_is_refused 1 "pull default/kraft:lie: .*altered bytes" shoal image pull kraft:lie

# --- what is here already is not fetched again ---
find registry -type f -name "$(sha256sum <layer.tar | cut -d' ' -f1)" -delete
expect a_layer_that_is_here_is_not_fetched 0 "$kraft" shoal image pull kraft:1
printf x >>"images/blobs/sha256/$(sha256sum <layer.tar | cut -d' ' -f1)"
expect an_altered_one_is 1 'pull default/kraft:1: ' shoal image pull kraft:1
