#!/usr/bin/env bash
# bundle.make FOLDER: bundles as cosign and others write them, and statements behind a '!'.
set -eu
folder=$1
hex=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
type=application/vnd.dev.sigstore.bundle.v0.3+json
statement() { # SUBJECTS TYPE PREDICATE
    printf '{"_type":"https://in-toto.io/Statement/v1","subject":[%s],"predicateType":"%s","predicate":%s}' "$@"
}
subject="{\"digest\":{\"sha256\":\"$hex\"},\"annotations\":{\"timestamp\":1700000000}}"
sign=https://sigstore.dev/cosign/sign/v1
bundle() { # MATERIAL PAYLOAD SIGNATURES
    printf '{"mediaType":"%s","verificationMaterial":{%s},"dsseEnvelope":{"payload":"%s","payloadType":"application/vnd.in-toto+json","signatures":[%s]}}' \
        "$type" "$1" "$(base64 -w0 <<<"$2")" "$3"
}
key='"publicKey":{"hint":"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}'
bundle "$key" "$(statement "$subject" $sign '{}')" '{"sig":"AAAA"}' >"$folder/signature"
bundle "$key,\"tlogEntries\":[]" "$(statement "$subject" https://cyclonedx.org/bom '{"bomFormat":"CycloneDX"}')" \
    '{"sig":"MEUC","keyid":""}' >"$folder/attestation"
bundle '"certificate":{"rawBytes":"AAAA"}' "$(statement "$subject" $sign '{}')" '{"sig":"AAAA"}' >"$folder/keyless"
printf '{"mediaType":"%s","verificationMaterial":{%s},"messageSignature":{"signature":"AAAA"}}' "$type" "$key" >"$folder/message"
printf '!%s' "$(statement "$subject" $sign '{}')" >"$folder/statement"
printf '!%s' "$(statement "$subject,{\"name\":\"b\",\"digest\":{\"sha512\":\"00\"}}" https://slsa.dev/provenance/v1 '{}')" >"$folder/subjects"
printf '!%s' "$(statement "{\"digest\":{\"sha256\":\"$hex\",\"sha256\":\"\"}}" $sign '[{"a":[{}]}]')" >"$folder/twice"
