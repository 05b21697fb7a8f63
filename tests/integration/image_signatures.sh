#!/usr/bin/env bash
# Signatures in cosign's two forms, of an image with all that it lists, in real registries: made,
# appended, copied, altered; checked by OpenSSL and by Sigstore's own code.
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
bundle_type=application/vnd.dev.sigstore.bundle.v0.3+json
sign_type=https://sigstore.dev/cosign/sign/v1
for name in shoal other third; do shoal keygen $name >/dev/null; done
key_id() { openssl pkey -pubin -in "$1" -outform DER | sha256sum | cut -c1-16; }

# An index by hand: a manifest that boots, and an index of another one inside.
for version in 1 2; do
    shoal build "$BUILD/examples/hello/v$version" -t "part:$version" --arch amd64 >/dev/null
done
for version in 1 2; do shoal push "part:$version" >/dev/null 2>&1; done
api=$url/v2/default/part
fetch() { curl -fsS -H "Accept: $manifest_type, $index_type" "$api/manifests/$1"; } # REFERENCE
describe() { # FILE TYPE ARCHITECTURE
    printf '{"mediaType":"%s","digest":"%s","size":%s,"platform":{"os":"unikernel","architecture":"%s"}}' \
        "$2" "$(digest_of "$1")" "$(size_of "$1")" "$3"
}
index_of() { printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$index_type" "$1"; }
fetch 1 >first.json
fetch 2 >second.json
index_of "$(describe second.json "$manifest_type" amd64)" >inner.json
index_of "$(describe first.json "$manifest_type" amd64),$(describe inner.json "$index_type" other)" >top.json
put_indexes() {
    put_manifest 201 default/part "$(digest_of inner.json)" inner.json "$index_type" &&
        put_manifest 201 default/part all top.json "$index_type"
}
check an_index_with_an_index_inside_is_pushed put_indexes
top=$(digest_of top.json)

# --- signing ---
referrers() { curl -fsS "$api/referrers/$1"; }
bundles_of() { referrers "$1" | jq -r --arg type "$bundle_type" '.manifests[] | select(.artifactType == $type) | .digest'; }
payloads_of() { fetch "sha256-${1#sha256:}.sig" | jq -r '.layers | length'; }
signed_in_both_forms() { # COUNT FILE...
    local count=$1 file
    shift
    for file in "$@"; do
        if [ "$(bundles_of "$(digest_of "$file")" | wc -l)" -ne "$count" ] ||
            [ "$(payloads_of "$(digest_of "$file")")" -ne "$count" ]; then
            echo "$file"
            return 1
        fi
    done
}
expect an_unsigned_image_is_refused 1 "image $top is unsigned" shoal image verify part:all --key shoal.pub
expect signing_tells_the_key_and_the_digest 0 "signed by key $(key_id shoal.pub)" \
    shoal image sign part:all --key shoal.key
check the_index_and_all_below_are_signed_in_both_forms \
    signed_in_both_forms 1 top.json first.json inner.json second.json
check it_verifies shoal image verify part:all --key shoal.pub
state_of_signatures() {
    local file
    for file in top.json first.json inner.json second.json; do
        bundles_of "$(digest_of "$file")"
        fetch "sha256-$(digest_of "$file" | cut -c8-).sig" | sha256sum
    done
}
before=$(state_of_signatures)
expect signing_again_says_so 0 'already signed by key' shoal image sign part:all --key shoal.key
check signing_again_changes_nothing [ "$(state_of_signatures)" = "$before" ]
check a_second_key_is_added shoal image sign part:all --key other.key
check both_keys_signed_everything signed_in_both_forms 2 top.json first.json inner.json second.json
check the_second_key_verifies shoal image verify part:all --key other.pub
check the_first_key_verifies_still shoal image verify part:all --key shoal.pub
renewed() {
    shoal image sign part:all --key other.key --renew && [ "$(payloads_of "$top")" -eq 2 ] &&
        shoal image verify part:all --key other.pub && shoal image verify part:all --key shoal.pub
}
check renewing_replaces_the_keys_own_payload renewed
expect a_third_key_is_refused_with_the_ids 1 \
    "not signed by a trusted key \(signed by key $(key_id shoal.pub), key $(key_id other.pub); trusted: $(key_id third.pub)\)" \
    shoal image verify part:all --key third.pub
listed() {
    shoal image verify part:all --key shoal.pub -o json >verified.json &&
        [ "$(jq -c '[.signatures[] | select(.holds) | .form] | unique' verified.json)" = '["bundle","simple"]' ] &&
        [ "$(jq -r '.signatures[] | select(.holds) | .key_id' verified.json | sort -u)" = "$(key_id shoal.pub)" ] &&
        [ "$(jq -r '.signatures[] | select(.holds | not) | .key_id' verified.json | sort -u)" = "$(key_id other.pub)" ] &&
        jq -e '[.signatures[] | select(.holds) | .signed_at > 1700000000] | all' verified.json
}
check json_lists_each_signature_with_key_and_form listed
refused_document() {
    ! shoal image verify part:all --key third.pub -o json >refused.json 2>/dev/null &&
        jq -e '(.verified | not) and .error.code == "signature_rejected" and (.signatures | length) == 10' refused.json
}
check json_lists_them_when_none_counts refused_document

too_deep() {
    local inner=first.json type=$manifest_type level
    for level in 1 2 3 4 5; do
        index_of "$(describe "$inner" "$type" other)" >"level$level.json"
        inner=level$level.json type=$index_type
        put_manifest 201 default/part "deep$level" "$inner" "$index_type" || return 1
    done
}
check indexes_five_deep_are_pushed too_deep
expect and_not_walked 1 'more than 4' shoal image sign part:deep5 --key shoal.key
check four_deep_are shoal image sign part:deep4 --key shoal.key

# --- a bundle as others see it ---
bundle=$(bundles_of "$top" | head -n 1)
fetch "$bundle" >referrer.json
blob_of() { curl -fsS "$api/blobs/$(jq -r '.layers[0].digest' "$1")"; }
blob_of referrer.json >bundle.json
annotated() {
    [ "$(jq -r .artifactType referrer.json)" = "$bundle_type" ] &&
        [ "$(jq -r '.annotations["dev.sigstore.bundle.content"]' referrer.json)" = dsse-envelope ] &&
        [ "$(jq -r '.annotations["dev.sigstore.bundle.predicateType"]' referrer.json)" = "$sign_type" ] &&
        [ "$(jq -r .subject.digest referrer.json)" = "$top" ]
}
check the_referrer_is_annotated_as_cosigns annotated
# pae FILE: what a DSSE envelope signs.
pae() { printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$(size_of "$1")"; cat "$1"; }
openssl_verifies() { # BUNDLE PUB
    jq -r .dsseEnvelope.payload "$1" | base64 -d >payload.json &&
        jq -r '.dsseEnvelope.signatures[0].sig' "$1" | base64 -d >signature.der &&
        pae payload.json | openssl dgst -sha256 -verify "$2" -signature signature.der
}
signer=$([ "$(jq -r .verificationMaterial.publicKey.hint bundle.json)" = \
    "$(openssl pkey -pubin -in shoal.pub -outform DER | openssl dgst -sha256 -binary | base64)" ] &&
    echo shoal.pub || echo other.pub)
check openssl_verifies_the_envelope openssl_verifies bundle.json "$signer"
check its_subject_is_the_index [ "$(jq -r '.subject[0].digest.sha256' payload.json)" = "${top#sha256:}" ]

# --- bundles by others ---
# push_bundle FILE SUBJECT-FILE SUBJECT-TYPE [ANNOTATED-PREDICATE]: as a referrer, by hand.
push_bundle() {
    printf '{}' >empty
    printf '{"schemaVersion":2,"mediaType":"%s","artifactType":"%s","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[{"mediaType":"%s","digest":"%s","size":%s}],"subject":{"mediaType":"%s","digest":"%s","size":%s}}' \
        "$manifest_type" "$bundle_type" "$(digest_of empty)" "$bundle_type" "$(digest_of "$1")" "$(size_of "$1")" \
        "$3" "$(digest_of "$2")" "$(size_of "$2")" >by-hand.json
    push_blob default/part empty && push_blob default/part "$1" &&
        put_manifest 201 default/part "$(digest_of by-hand.json)" by-hand.json
}
statement() { # DIGEST-HEX TYPE
    printf '{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%s"}}],"predicateType":"%s","predicate":{}}' "$1" "$2"
}
bundle_by_openssl() { # KEY STATEMENT-FILE
    pae "$2" | openssl dgst -sha256 -sign "$1" -out by-hand.der &&
        printf '{"mediaType":"%s","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":"%s","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"%s","keyid":""}]}}' \
            "$bundle_type" "$(base64 -w0 "$2")" "$(base64 -w0 by-hand.der)"
}
first=$(digest_of first.json)
signed_by_openssl() {
    statement "${first#sha256:}" "$sign_type" >statement.json
    bundle_by_openssl third.key statement.json >third.json && push_bundle third.json first.json "$manifest_type" &&
        shoal image verify part:1 --key third.pub
}
check a_bundle_by_openssl_counts signed_by_openssl
second=$(digest_of second.json)
for_another_image() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out fourth.key 2>/dev/null
    openssl pkey -in fourth.key -pubout -out fourth.pub
    statement "${first#sha256:}" "$sign_type" >statement.json
    bundle_by_openssl fourth.key statement.json >fourth.json && push_bundle fourth.json second.json "$manifest_type"
}
check a_bundle_about_another_image_is_pushed for_another_image
expect and_does_not_count 1 "a trusted key, but the signature is for $first, not for $second" \
    shoal image verify part:2 --key fourth.pub
attested_only() {
    statement "${second#sha256:}" https://slsa.dev/provenance/v1 >statement.json
    bundle_by_openssl third.key statement.json >third.json && push_bundle third.json second.json "$manifest_type"
}
check an_attestation_is_pushed attested_only
expect an_attestation_is_no_signature 1 'not signed by a trusted key' shoal image verify part:2 --key third.pub
expect it_is_listed 0 'slsa.dev/provenance/v1 true' bash -c \
    'shoal image verify part:2 --key third.pub -o json 2>/dev/null | jq -r ".attestations[] | \"\(.predicate_type) \(.holds)\""'
hostile_bundles() {
    printf '{"mediaType":%10000s' '' | tr ' ' '[' >deep.json
    head -c 200000 /dev/zero | base64 -w0 >giant
    printf '{"mediaType":"%s","verificationMaterial":{},"dsseEnvelope":{"payload":"%s","payloadType":"x","signatures":[]}}' \
        "$bundle_type" "$(cat giant)" >giant.json
    printf '{"mediaType":7,"mediaType":"%s"}' "$bundle_type" >twice.json
    local file
    for file in deep giant twice; do push_bundle $file.json second.json "$manifest_type" || return 1; done
    shoal image verify part:2 --key shoal.pub
}
check hostile_bundles_beside_a_good_signature_change_nothing hostile_bundles
expect and_are_told_where_nothing_else_is 0 'a bundle that cannot be read' \
    bash -c 'shoal image verify part:2 --key fourth.pub 2>&1 || true'

# --- copies --- (skopeo copies no index in an index)
registry_name=${url#http://}
copied() { # NAME
    skopeo --insecure-policy copy -q --all --src-tls-verify=false --dest-tls-verify=false \
        "docker://$registry_name/default/part:$1" "docker://$registry_name/copy/part:$1"
}
inner=$(digest_of inner.json)
put_manifest 201 default/part flat inner.json "$index_type"
if command -v skopeo >/dev/null; then
    check skopeo_copies_the_index_and_all_below copied flat
    check the_copy_has_the_same_digest [ "$(curl -fsS -H "Accept: $index_type" "$url/v2/copy/part/manifests/flat" | sha256sum | cut -c1-64)" = "${inner#sha256:}" ]
    expect a_copy_without_its_signatures_is_unsigned 1 'is unsigned' shoal image verify copy/part:flat --key shoal.pub
    check the_payloads_tag_is_copied copied "sha256-${inner#sha256:}.sig"
    check the_copy_verifies_by_its_simple_signature shoal image verify copy/part:flat --key shoal.pub
    expect only_that_form_is_there 0 '^\["simple"\]$' bash -c \
        'shoal image verify copy/part:flat --key shoal.pub -o json | jq -c "[.signatures[] | select(.holds) | .form] | unique"'
else
    skip skopeo_copies_the_index_and_all_below "skopeo is not installed"
fi

# --- a registry without the list of referrers ---
if tests=$("$root/tests/bench/registry_peers.sh" "$BUILD" 2>&1); then
    port=$(free_port)
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:%s}\n' \
        "$work/peer" "$port" >peer.yml
    "$BUILD/bench/peers/usr/bin/docker-registry" serve peer.yml >peer.log 2>&1 &
    started_pids="$started_pids $!"
    answers() { curl -fsS "http://127.0.0.1:$port/v2/"; }
    check another_registry_starts wait_for 20 answers
    export SHOAL_REGISTRY=http://127.0.0.1:$port
    api=$SHOAL_REGISTRY/v2/default/part
    expect it_has_no_list_of_referrers 22 404 curl -fsS "$api/referrers/$first"
    check an_image_is_signed_there shoal push part:1 --sign shoal.key --format bundle
    check and_verifies shoal image verify part:1 --key shoal.pub
    check a_second_key_signs_there shoal image sign part:1 --key other.key --format bundle
    check the_second_verifies_there shoal image verify part:1 --key other.pub
    check the_first_is_kept_there shoal image verify part:1 --key shoal.pub
    expect both_are_under_the_tag_with_their_annotations 0 "^$sign_type $sign_type\$" bash -c \
        "curl -fsS -H 'Accept: $index_type' $api/manifests/sha256-${first#sha256:} |
            jq -r '[.manifests[].annotations[\"dev.sigstore.bundle.predicateType\"]] | join(\" \")'"
    export SHOAL_REGISTRY=$url
    api=$url/v2/default/part
else
    skip a_registry_without_referrers "${tests##*: }"
fi

# --- altered in the registry's own store ---
altered_payload() {
    local payload file
    payload=$(fetch "sha256-${first#sha256:}.sig" | jq -r '.layers[0].digest')
    file=$(find "$work/registry" -type f -name "${payload#sha256:}")
    chmod u+w "$file" && sed -i 's/container image/container_image/' "$file"
}
check a_payload_is_altered_on_the_registrys_disk altered_payload
expect altered_bytes_are_found 1 'altered bytes: expected sha256:' shoal image verify part:1 --key shoal.pub

# --- by somebody else's code ---
if [ ! -e "$tools/fetched" ]; then
    reason="npm was not asked: make check does"
    [ -e "$tools/npm.log" ] && reason=$(grep -m 1 -i 'err' "$tools/npm.log" || tail -n 1 "$tools/npm.log")
    command -v npm >/dev/null || reason="there is no npm"
    skip bundles_of_others "Sigstore's code could not be fetched: $reason"
    exit 0
fi
others() { NODE_PATH=$tools/node_modules node "$root/tests/tools/sigstore/sigstore.js" "$@"; }
expect sigstores_code_verifies_our_bundle 0 "${top#sha256:}" others verify bundle.json "$signer"
expect and_not_by_another_key 1 'signature' others verify bundle.json third.pub
inner=$(digest_of inner.json)
signed_by_others() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out fifth.key 2>/dev/null
    openssl pkey -in fifth.key -pubout -out fifth.pub
    others sign fifth.key "${inner#sha256:}" "$sign_type" >fifth.json &&
        push_bundle fifth.json inner.json "$index_type" && shoal image verify "part@$inner" --key fifth.pub
}
check we_verify_a_bundle_of_sigstores_code signed_by_others
