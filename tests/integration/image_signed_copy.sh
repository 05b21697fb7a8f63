#!/bin/bash
# An image built here is an ordinary OCI image with cosign's simple signature: skopeo copies it,
# OpenSSL verifies what we signed, and we verify what OpenSSL signed.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry registry
export SHOAL_REGISTRY=$url SHOAL_IMAGES=$work/images
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data HOME=$work
hello=$BUILD/examples/hello/v1
cd "$work" || exit 1

# --- building ---
# One architecture: a manifest by itself, without an index.
build() { shoal build "$1" -t "$2" --arch amd64 -o json | jq -r .digest; }
digest=$(build "$hello" hello:1.0)
check build_gives_a_digest [ "${#digest}" -eq 71 ]
check the_same_inputs_give_the_same_digest [ "$(build "$hello" again:1.0)" = "$digest" ]
mkdir broken
printf 'family: shoal\narchitectures: {amd64: {kernel: a.elf}}\nmemory: {min: lots}\n' >broken/Unikernel.yaml
expect a_recipes_mistake_has_line_and_column 1 'broken/Unikernel.yaml:3:15: ' shoal build broken -t x:1
printf 'family: shoal\narchitectures: {amd64: {kernel: a.elf}}\n' >broken/Unikernel.yaml
cp /bin/true broken/a.elf
expect a_program_is_no_kernel 1 'a.elf: .*it is no kernel' shoal build broken -t x:1
ln -sf /etc/hostname broken/a.elf
expect a_link_out_of_the_folder_is_refused 1 'leads out of the folder' shoal build broken -t x:1

# --- other tools on the local store ---
same_digest() { [ "$(digest_of "$1/manifest.json")" = "$digest" ]; }
if command -v skopeo >/dev/null; then
    check skopeo_copies_the_local_store skopeo --insecure-policy copy "oci:images:default/hello:1.0" dir:copied
    check the_copy_has_the_same_digest same_digest copied
    both=$(shoal build "$hello" -t both:1.0 -o json | jq -r .digest)
    check skopeo_copies_both_architectures skopeo --insecure-policy copy --all \
        "oci:images:default/both:1.0" dir:copied-both
    check the_copy_of_both_has_the_same_digest [ "$(digest_of copied-both/manifest.json)" = "$both" ]
else
    skip skopeo_copies_the_local_store "skopeo is not installed"
fi

# --- signing ---
verify() { shoal verify hello:1.0 --key "$1"; }
check push_unsigned shoal push hello:1.0
(shoal keygen shoal && shoal keygen other && shoal keygen third) >/dev/null
expect an_unsigned_image_is_refused 1 "image $digest is unsigned" verify shoal.pub
check push_signed shoal push hello:1.0 --sign shoal.key --format simple
check our_signature_verifies verify shoal.pub
key_id() { openssl pkey -pubin -in "$1" -outform DER | sha256sum | cut -c1-16; }
expect a_strangers_key_is_refused_with_both_ids 1 \
    "image $digest is not signed by a trusted key \(signed by key $(key_id shoal.pub); trusted: $(key_id other.pub)\)" \
    verify other.pub

tag=sha256-${digest#sha256:}.sig
api=$url/v2/default/hello
openssl_verifies() { # KEY INDEX: the INDEX-th signature under the tag
    curl -fsS -H "Accept: $manifest_type" "$api/manifests/$tag" >sig.json &&
        jq -r ".layers[$2].annotations[\"dev.cosignproject.cosign/signature\"]" sig.json |
        base64 -d >sig.der &&
        curl -fsS "$api/blobs/$(jq -r ".layers[$2].digest" sig.json)" >payload &&
        [ "$(jq -r '.critical.image["docker-manifest-digest"]' payload)" = "$digest" ] &&
        openssl dgst -sha256 -verify "$1" -signature sig.der payload
}
check openssl_verifies_our_signature openssl_verifies shoal.pub 0
check a_second_signature_is_added shoal sign hello:1.0 --key other.key --format simple
check the_second_verifies verify other.pub
check the_first_is_kept verify shoal.pub
check openssl_verifies_the_second openssl_verifies other.pub 1
if command -v skopeo >/dev/null; then
    check skopeo_copies_the_signature skopeo --insecure-policy copy --src-tls-verify=false \
        "docker://${url#http://}/default/hello:$tag" dir:copied-signature
    check skopeo_copies_out_of_the_registry skopeo --insecure-policy copy --src-tls-verify=false \
        "docker://${url#http://}/default/hello:1.0" dir:pulled
    check what_was_copied_out_has_the_same_digest same_digest pulled
fi

# --- a signature in cosign's form made without us ---
sign_by_openssl() { # KEY
    printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}' \
        "${url#http://}/default/hello" "$digest" >by-hand.payload
    printf '{}' >by-hand.config
    openssl dgst -sha256 -sign "$1" -out by-hand.der by-hand.payload &&
        push_blob default/hello by-hand.payload && push_blob default/hello by-hand.config || return 1
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"%s","size":%s,"annotations":{"dev.cosignproject.cosign/signature":"%s"}}]}' \
        "$manifest_type" "$(digest_of by-hand.config)" "$(digest_of by-hand.payload)" \
        "$(size_of by-hand.payload)" "$(base64 -w0 by-hand.der)" >by-hand.json
    put_manifest 201 default/hello "$tag" by-hand.json
}
check openssl_signs sign_by_openssl third.key
check we_verify_what_openssl_signed verify third.pub
expect only_what_is_under_the_tag_counts 1 'signed by an unknown key; trusted: ' verify shoal.pub

# --- altered bytes ---
config=$(jq -r .config.digest "images/blobs/sha256/${digest#sha256:}")
stored=$(find "$work/registry" -type f -name "${config#sha256:}")
check the_config_is_a_file_of_the_registry [ -f "$stored" ]
chmod u+w "$stored" && sed -i 's/8388608/8388609/' "$stored"
expect an_altered_config_is_refused_with_its_digest 1 "expected $config, got sha256:" verify third.pub
