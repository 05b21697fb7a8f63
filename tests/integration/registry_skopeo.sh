#!/bin/bash
# skopeo copies images of custom types into the registry and out of it again, byte for byte.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

if ! command -v skopeo >/dev/null; then
    skip skopeo "skopeo is not installed"
    exit 0
fi
start_registry registry
cd "$work" || exit 1
target=docker://${url#http://}
policy=(--insecure-policy)
# skopeo keeps what it knows about blobs; not in the user's home.
export XDG_DATA_HOME=$work/data HOME=$work

# layout DIR: an OCI layout of a unikernel for two architectures, under the tag "all"; the amd64
# one alone is "amd64".
add_blob() { # FILE: into the layout
    cp "$1" "layout/blobs/sha256/$(sha256sum "$1" | cut -d' ' -f1)"
}
mkdir -p layout/blobs/sha256
echo '{"imageLayoutVersion": "1.0.0"}' >layout/oci-layout
entries=
for architecture in amd64 arm64; do
    printf '{"schemaVersion": 1, "architecture": "%s", "os": "unikernel"}' $architecture >config.$architecture
    head -c 70001 /dev/urandom >kernel.$architecture
    write_manifest manifest.$architecture config.$architecture kernel.$architecture
    add_blob config.$architecture
    add_blob kernel.$architecture
    add_blob manifest.$architecture
    entries="$entries${entries:+, }{\"mediaType\": \"$manifest_type\", \"digest\": \"$(digest_of manifest.$architecture)\",
        \"size\": $(size_of manifest.$architecture), \"platform\": {\"os\": \"unikernel\", \"architecture\": \"$architecture\"}}"
done
printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [%s]}' "$index_type" "$entries" >all
add_blob all
printf '{"schemaVersion": 2, "manifests": [
  {"mediaType": "%s", "digest": "%s", "size": %s, "annotations": {"org.opencontainers.image.ref.name": "all"}},
  {"mediaType": "%s", "digest": "%s", "size": %s, "annotations": {"org.opencontainers.image.ref.name": "amd64"}}]}' \
    "$index_type" "$(digest_of all)" "$(size_of all)" \
    "$manifest_type" "$(digest_of manifest.amd64)" "$(size_of manifest.amd64)" >layout/index.json

check copy_in skopeo "${policy[@]}" copy --dest-tls-verify=false oci:layout:amd64 "$target/default/hello:1.0"
same_manifest() {
    http 200 "$url/v2/default/hello/manifests/1.0" && body_is manifest.amd64 &&
        header_is Content-Type "$manifest_type" &&
        http 200 "$url/v2/default/hello/blobs/$(digest_of kernel.amd64)" && body_is kernel.amd64
}
check the_manifest_is_the_same_bytes same_manifest

check copy_out skopeo "${policy[@]}" copy --src-tls-verify=false "$target/default/hello:1.0" dir:out
check what_came_out_is_what_went_in cmp out/manifest.json manifest.amd64
check and_the_kernel_too cmp "out/$(sha256sum kernel.amd64 | cut -d' ' -f1)" kernel.amd64

check copy_all_in skopeo "${policy[@]}" copy --all --preserve-digests --dest-tls-verify=false \
    oci:layout:all "$target/default/multi:1.0"
same_index() {
    http 200 "$url/v2/default/multi/manifests/1.0" && body_is all && header_is Content-Type "$index_type" &&
        http 200 "$url/v2/default/multi/manifests/$(digest_of manifest.arm64)" && body_is manifest.arm64
}
check the_index_and_its_manifests_are_the_same_bytes same_index

# From one repository to another: skopeo mounts what is there.
check copy_across skopeo "${policy[@]}" copy --all --src-tls-verify=false --dest-tls-verify=false \
    "$target/default/multi:1.0" "$target/other/deep/name:2"
check copy_all_out skopeo "${policy[@]}" copy --all --preserve-digests --src-tls-verify=false \
    "$target/other/deep/name:2" oci:again:all
same_layout() {
    local file
    for file in all manifest.amd64 manifest.arm64 kernel.amd64 kernel.arm64 config.amd64 config.arm64; do
        cmp "again/blobs/sha256/$(sha256sum $file | cut -d' ' -f1)" $file || return 1
    done
}
check every_blob_of_the_layout_came_back same_layout
check raw_inspect_works bash -c \
    "skopeo ${policy[*]} inspect --raw --tls-verify=false $target/default/multi:1.0 | cmp - all"
list_tags() { skopeo list-tags --tls-verify=false "$target/default/hello" | jq -e '.Tags == ["1.0"]'; }
check list_tags list_tags

# An ordinary container image, in docker's own types.
mkdir -p docker
head -c 5000 /dev/urandom | gzip >layer
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]}}' "$(zcat layer | sha256sum | sed 's/ .*//;s/^/sha256:/')" >image
for file in layer image; do cp $file "docker/$(sha256sum $file | cut -d' ' -f1)"; done
echo 'Directory Transport Version: 1.1' >docker/version
printf '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%s,"digest":"%s"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%s,"digest":"%s"}]}' \
    "$(size_of image)" "$(digest_of image)" "$(size_of layer)" "$(digest_of layer)" >docker/manifest.json
check a_docker_image_in skopeo "${policy[@]}" copy --dest-tls-verify=false dir:docker "$target/library/thing:latest"
check a_docker_image_out skopeo "${policy[@]}" copy --src-tls-verify=false "$target/library/thing:latest" dir:thing
check and_it_is_the_same cmp docker/manifest.json thing/manifest.json
check skopeo_inspects_it skopeo inspect --tls-verify=false "$target/library/thing:latest"
check skopeo_deletes_it skopeo "${policy[@]}" delete --tls-verify=false "$target/library/thing:latest"
gone() { http 404 "$url/v2/library/thing/manifests/latest"; }
check and_it_is_gone gone
