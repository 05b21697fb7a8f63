#!/usr/bin/env bash
# An image whose only signature is a sigstore bundle, by an encrypted key, from push to a guest that
# answers: scheduler and node fetch and check it as they do cosign's older form.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

check up cluster_up
cd "$work" || exit 1
export COSIGN_PASSWORD='a password'
check keygen shoal keygen sealed
check trust shoal trust add sealed.pub
check build shoal build "$BUILD/examples/hello/v1" -t hello:1.0
check push_unsigned shoal push hello:1.0
manifest 1 1 >service.yaml
expect unsigned_is_refused_at_deploy 1 'is unsigned' shoal deploy -f service.yaml
check sign_by_bundle_alone shoal image sign hello:1.0 --key sealed.key --format bundle
digest=$(shoal image verify hello:1.0 -o json | jq -r .digest)
expect there_is_no_older_signature 22 404 curl -fsS \
    "$SHOAL_REGISTRY/v2/default/hello/manifests/sha256-${digest#sha256:}.sig"
printf '{"bomFormat":"CycloneDX","specVersion":"1.5"}' >bom.json
check attest shoal attach hello:1.0 --type cyclonedx bom.json --sign sealed.key
check deploy shoal deploy -f service.yaml --timeout 120s
answers() { curl -fsS "http://127.0.0.1:$publish_port/healthz"; }
check it_answers wait_for 30 answers
kept() { # what the node checked is on its disk
    local file
    file=$(find "$cluster/agent" -path '*chains*' -name signatures.json | head -n 1)
    [ "$(jq -c '[.signatures[].kind] | unique' "$file")" = '["bundle"]' ] &&
        jq -r '.signatures[].payload | @base64d | fromjson | .dsseEnvelope.payload | @base64d | fromjson | .predicateType' \
            "$file" | sort -u | tr '\n' ' ' | grep -qx 'https://cyclonedx.org/bom https://sigstore.dev/cosign/sign/v1 '
}
check the_node_has_signature_and_attestation kept
check down cluster_down
