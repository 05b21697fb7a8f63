#!/usr/bin/env bash
# What must never boot or deploy: unsigned, wrong key, altered bytes, bad manifests, no room.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

sha() { printf 'sha256:%s' "$(sha256sum <"$1" | cut -d' ' -f1)"; }
plan_fits() {
    shoal deploy --plan -f "$work/v1.yaml" -o json |
        jq -e '.plans[0] | .changed and .waiting == 0 and (.instances | length) > 0'
}
nothing_deployed() { [ "$(shoal ps -o json | jq '.instances | length')" -eq 0 ]; }
# The bytes of an image's manifest or index in the registry.
fetch_manifest() {
    curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json' \
        "$SHOAL_REGISTRY/v2/default/hello/manifests/$1"
}
# The manifest for amd64 in an image's index.
fetch_amd64() {
    fetch_manifest "$(fetch_manifest "$1" |
        jq -r '.manifests[] | select(.platform.architecture == "amd64").digest')"
}

check cluster_comes_up cluster_up
check build_signed build_and_push 1
check build_unsigned build_and_push 2 unsigned
manifest 1 1 >"$work/v1.yaml"
manifest 2 1 >"$work/v2.yaml"
key_id=$(shoal trust list -o json >/dev/null && shoal image verify hello:1.0 --key "$work/shoal.pub" -o json | jq -r '.key_id')

expect no_trusted_key_gives_the_two_commands 1 'shoal keygen' shoal deploy -f "$work/v1.yaml"
expect no_trusted_key_names_trust_add 1 'shoal trust add' shoal deploy -f "$work/v1.yaml"

(cd "$work" && shoal keygen other) >/dev/null
check trust_another_key shoal trust add "$work/other.pub"
digest=$(sha <(fetch_manifest 1.0))
expect wrong_key_is_refused_with_digest 1 "$digest" shoal deploy -f "$work/v1.yaml"
expect wrong_key_is_refused_with_key_id 1 "$key_id" shoal deploy -f "$work/v1.yaml"

check trust_the_right_key shoal trust add "$work/shoal.pub"
digest2=$(sha <(fetch_manifest 2.0))
expect unsigned_is_refused_with_digest 1 "$digest2" shoal deploy -f "$work/v2.yaml"
expect unsigned_names_the_trusted_key 1 "$key_id" shoal deploy -f "$work/v2.yaml"
expect unsigned_says_so 1 'not signed|unsigned' shoal deploy -f "$work/v2.yaml"
check nothing_of_that_was_deployed nothing_deployed

# A signature moved to another manifest: tag the signature of 1.0 as the one of 2.0.
fetch_manifest "sha256-${digest#sha256:}.sig" >"$work/signature.json"
curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
    --data-binary @"$work/signature.json" \
    "$SHOAL_REGISTRY/v2/default/hello/manifests/sha256-${digest2#sha256:}.sig" >/dev/null
expect anothers_signature_is_refused 1 "$digest2" shoal deploy -f "$work/v2.yaml"
expect anothers_signature_names_the_key 1 "$key_id" shoal deploy -f "$work/v2.yaml"

# An altered manifest: the same signature cannot cover it.
fetch_amd64 1.0 | jq -c '.annotations = {"altered": "yes"}' >"$work/altered.json"
curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
    --data-binary @"$work/altered.json" "$SHOAL_REGISTRY/v2/default/hello/manifests/1.1" >/dev/null
sed 's/hello:1.0/hello:1.1/' "$work/v1.yaml" >"$work/altered.yaml"
expect altered_manifest_is_refused 1 "$(sha "$work/altered.json")" shoal deploy -f "$work/altered.yaml"
expect altered_manifest_names_the_key 1 "$key_id" shoal deploy -f "$work/altered.yaml"

# An altered blob in the registry's store: the node refuses the bytes.
kernel=$(fetch_amd64 1.0 | jq -r '.layers[0].digest')
blob=$(find "$cluster" -type f -path '*registry*' -name "${kernel#sha256:}" | head -n 1)
cp -a "$blob" "$work/kernel.saved"
chmod u+w "$blob"
printf 'X' | dd of="$blob" bs=1 seek=5000 conv=notrunc status=none
sed 's/progress_deadline: 60s/progress_deadline: 15s/; s/^replicas:/arch: amd64\n&/' "$work/v1.yaml" >"$work/blob.yaml"
expect altered_blob_fails_the_rollout 3 'failed|rolled' shoal deploy -f "$work/blob.yaml"
expect altered_blob_names_the_digest 0 "$kernel" shoal status hello
expect altered_blob_names_the_key 0 "signed by key $key_id" shoal status hello
check altered_blob_never_ran ready_count_is 0
cat "$work/kernel.saved" >"$blob"
check remove_it shoal rm hello

# Bad manifests: file, line, column, what is allowed; nothing changes.
printf 'replicsa: 2\n' | cat "$work/v1.yaml" - >"$work/unknown.yaml"
expect unknown_key_has_a_position 1 "unknown.yaml:[0-9]+:[0-9]+: .*replicsa" shoal deploy -f "$work/unknown.yaml"
expect unknown_key_lists_what_is_allowed 1 'replicas' shoal deploy -f "$work/unknown.yaml"
sed 's/^replicas: .*/replicas: many/' "$work/v1.yaml" >"$work/value.yaml"
expect bad_value_has_a_position 1 'value.yaml:3:11: ' shoal validate -f "$work/value.yaml"
printf 'egress: true\n' | cat "$work/v1.yaml" - >"$work/egress.yaml"
expect key_not_built_yet_is_refused 1 'egress.yaml:[0-9]+:[0-9]+: .*not supported yet' shoal deploy -f "$work/egress.yaml"
printf 'placement: {constraints: ["zone == a"]}\n' | cat "$work/v1.yaml" - >"$work/zone.yaml"
expect bad_constraint_has_a_position 1 'zone.yaml:[0-9]+:[0-9]+: .*at character 1: .*label.KEY' shoal deploy -f "$work/zone.yaml"
sed 's/port: 8080, publish/port: 8081, publish/' "$work/v1.yaml" >"$work/private.yaml"
expect private_port_cannot_be_published 1 'private' shoal deploy -f "$work/private.yaml"
sed 's/hello:1.0/hello:9.9/' "$work/v1.yaml" >"$work/absent.yaml"
expect unknown_image_is_named 1 'hello:9.9|default/hello' shoal deploy -f "$work/absent.yaml"
check nothing_was_deployed_by_those nothing_deployed

# No node fits: what was asked, what each node has free, exit 4; goes on once room appears.
sed 's/memory: 16Mi/memory: 900Gi/' "$work/v1.yaml" >"$work/huge.yaml"
expect plan_tells_that_no_node_fits 4 '1 node: memory: .* free of 9216[0-9][0-9]Mi asked' shoal deploy --plan -f "$work/huge.yaml"
check planning_deployed_nothing nothing_deployed
expect no_node_fits_exits_4 4 "900Gi" shoal deploy -f "$work/huge.yaml"
expect no_node_fits_names_the_node 4 "$node" shoal deploy -f "$work/huge.yaml"
expect status_groups_nodes_by_reason 0 '1 node: memory: .* free of 9216[0-9][0-9]Mi asked' shoal status hello
check plan_is_a_document plan_fits
check room_appears_with_a_smaller_spec shoal deploy -f "$work/v1.yaml"
check the_smaller_one_runs wait_for 30 ready_count_is 1
