#!/usr/bin/env bash
# SBOMs and provenance beside an image: attached, signed as attestations, shown as a tree.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

root=$(cd "$here/../.." && pwd)
tools=$root/build/tools/sigstore
unset COSIGN_PASSWORD
start_registry registry
export SHOAL_REGISTRY=$url SHOAL_IMAGES=$work/images
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data HOME=$work
cd "$work" || exit 1
for name in shoal ci; do shoal keygen $name >/dev/null; done
key_id() { openssl pkey -pubin -in "$1" -outform DER | sha256sum | cut -c1-16; }
digest=$(shoal build "$BUILD/examples/hello/v1" -t hello:1.0 --arch amd64 -o json | jq -r .digest)
shoal push hello:1.0 --sign shoal.key >/dev/null 2>&1
api=$url/v2/default/hello

printf '{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"hello","packages":[]}' >sbom.spdx.json
printf '{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library","name":"lwip"}]}' >bom.json
printf '{"buildDefinition":{"buildType":"https://example.org/build/v1","externalParameters":{}},"runDetails":{"builder":{"id":"https://example.org/ci"}}}' >provenance.json
statement() { # DIGEST
    printf '{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"hello","digest":{"sha256":"%s"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":%s}' \
        "${1#sha256:}" "$(cat provenance.json)"
}
statement "$digest" >statement.json
statement "sha256:$(printf '%064d' 0)" >other.json

# --- what is what ---
expect a_file_of_another_type_is_refused 1 'bom.json: no SPDX document in JSON' \
    shoal attach hello:1.0 --type spdx bom.json
expect an_sbom_is_no_provenance 1 'no SLSA v1 provenance' shoal attach hello:1.0 --type slsa sbom.spdx.json
expect a_statement_about_another_image_is_refused 1 "the statement is for sha256:0000.*, not for $digest" \
    shoal attach hello:1.0 --type slsa other.json
echo 'SPDXVersion: SPDX-2.3' >tag-value
expect what_is_no_json_is_refused 1 'tag-value: not valid JSON' shoal attach hello:1.0 --type spdx tag-value
printf '{"spdxVersion":"SPDX-2.3","spdxVersion":"SPDX-2.2"}' >twice.json
expect a_key_twice_is_refused 1 'has a key twice' shoal attach hello:1.0 --type spdx twice.json
expect an_unknown_type_is_wrong_usage 2 'spdx, cyclonedx, slsa' shoal attach hello:1.0 --type swid bom.json
expect an_absent_image_is_named 1 'default/hello:9' shoal attach hello:9 --type spdx sbom.spdx.json
check nothing_was_attached_by_these [ "$(curl -fsS "$api/referrers/$digest" | jq '.manifests | length')" -eq 1 ]

# --- not signed ---
referrers() { curl -fsS "$api/referrers/$digest?artifactType=$1" | jq -r '.manifests[].digest'; }
content() { # REFERRER
    curl -fsS "$api/blobs/$(curl -fsS -H "Accept: $manifest_type" "$api/manifests/$1" | jq -r '.layers[0].digest')"
}
expect an_sbom_is_attached 0 'SBOM \(SPDX\) attached, not signed' shoal attach hello:1.0 --type spdx sbom.spdx.json
check its_bytes_are_the_files [ "$(content "$(referrers application/spdx%2Bjson)")" = "$(cat sbom.spdx.json)" ]
attached_again() {
    shoal attach hello:1.0 --type spdx sbom.spdx.json && [ "$(referrers application/spdx%2Bjson | wc -l)" -eq 1 ]
}
check attaching_it_again_adds_nothing attached_again
check provenance_is_attached shoal attach hello:1.0 --type slsa provenance.json
check it_is_a_statement_about_the_image [ "$(content "$(referrers application/vnd.in-toto%2Bjson)" |
    jq -r '.subject[0].digest.sha256')" = "${digest#sha256:}" ]

# --- signed ---
bundle_type=application/vnd.dev.sigstore.bundle.v0.3%2Bjson
expect a_signed_sbom_names_its_key 0 "SBOM \(CycloneDX\) attached, signed by key $(key_id ci.pub)" \
    shoal attach hello:1.0 --type cyclonedx bom.json --sign ci.key
expect signing_the_same_again_says_so 0 'was attached already' \
    shoal attach hello:1.0 --type cyclonedx bom.json --sign ci.key
check a_statement_is_signed_as_it_is shoal attach hello:1.0 --type slsa statement.json --sign ci.key
attestations() { shoal verify hello:1.0 --key "$1" -o json 2>/dev/null | jq -c '[.attestations[] | select(.holds) | .predicate_type] | sort'; }
check both_hold_by_the_key [ "$(attestations ci.pub)" = '["https://cyclonedx.org/bom","https://slsa.dev/provenance/v1"]' ]
check and_by_no_other [ "$(attestations shoal.pub)" = '[]' ]
check the_image_verifies_as_before shoal verify hello:1.0 --key shoal.pub
expect an_attestation_signs_no_image 1 'not signed by a trusted key' shoal verify hello:1.0 --key ci.pub
signed_bytes() {
    local referrer
    for referrer in $(referrers $bundle_type); do
        content "$referrer" >bundle.json
        jq -r .dsseEnvelope.payload bundle.json | base64 -d >payload.json
        [ "$(jq -r .predicateType payload.json)" != https://slsa.dev/provenance/v1 ] || cmp payload.json statement.json && return
    done
    return 1
}
check the_signed_bytes_are_the_statements signed_bytes

# --- the tree ---
shoal tree hello:1.0 >shown
expect the_tree_begins_with_the_image 0 "^default/hello:1.0  manifest  ${digest:0:19}" cat shown
expect it_has_the_kernel 0 '─ kernel  [0-9.]+Ki  sha256:' cat shown
expect it_has_both_forms_of_the_signature 0 "^2\$" grep -c "signature (.*) by key $(key_id shoal.pub)" shown
expect it_has_the_signed_sbom 0 "SBOM \(CycloneDX\), signed by key $(key_id ci.pub)" cat shown
expect it_has_the_unsigned_sbom 0 'SBOM \(SPDX\), not signed' cat shown
expect it_has_the_provenance 0 "provenance \(SLSA\), signed by key $(key_id ci.pub)" cat shown
expect the_tree_as_json 0 '^\["simple","bundle"\] 2 2 2$' bash -c \
    'shoal tree hello:1.0 -o json | jq -r "\"\([.signatures[].form] | tostring) \(.attestations | length) \(.attachments | length) \(.layers | length)\""'
index_of_two() {
    fetch() { curl -fsS -H "Accept: $manifest_type" "$api/manifests/$1"; }
    fetch 1.0 >manifest.json
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"%s","size":%s,"platform":{"os":"unikernel","architecture":"amd64"}},{"mediaType":"%s","digest":"sha256:%064d","size":9,"platform":{"os":"unikernel","architecture":"arm64"}}]}' \
        "$index_type" "$manifest_type" "$digest" "$(size_of manifest.json)" "$manifest_type" 0 >index.json
    # The registry takes no index of what it has not: one of amd64 alone.
    jq -c 'del(.manifests[1])' index.json >one.json
    put_manifest 201 default/hello two one.json "$index_type" && shoal tree hello:two >shown
}
check an_index_is_shown_with_what_it_lists index_of_two
expect its_manifest_hangs_below_it 0 "^└─ manifest amd64  ${digest:0:19}" cat shown
expect and_the_kernel_below_that 0 '^   ├─ kernel' cat shown
check an_sbom_of_one_architecture shoal attach hello:two --arch amd64 --type cyclonedx bom.json
expect an_architecture_that_is_not_there_is_told 1 'lists nothing for arm64' \
    shoal attach hello:two --arch arm64 --type cyclonedx bom.json

# --- by somebody else's code ---
if [ ! -e "$tools/fetched" ]; then
    skip attestations_of_others "Sigstore's code was not fetched: see image_signatures"
    exit 0
fi
others_verify() {
    NODE_PATH=$tools/node_modules node "$root/tests/tools/sigstore/sigstore.js" verify bundle.json ci.pub
}
content "$(curl -fsS "$api/referrers/$digest" | jq -r '.manifests[] |
    select(.annotations["dev.sigstore.bundle.predicateType"] == "https://cyclonedx.org/bom") | .digest')" >bundle.json
expect sigstores_code_verifies_our_attestation 0 '"name":"lwip"' others_verify
