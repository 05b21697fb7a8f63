#!/usr/bin/env bash
# Images between the local store and a registry, by `shoal`: push, sign, verify, pull, remove.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
port=$(free_port)
export SHOAL_REGISTRY=127.0.0.1:$port
cd "$work" || exit 1
shoal-registry --port "$port" --state "$work/registry" >"$work/registry.log" 2>&1 &
registry_pid=$!
started_pids="$started_pids $registry_pid"
answers() { curl -fsS "http://127.0.0.1:$port/healthz"; }
check registry_starts wait_for 20 answers

shoal keygen shoal >/dev/null
shoal keygen other >/dev/null
recipe=$BUILD/examples/hello/v1
check build shoal build "$recipe" -t hello:1.0
digest=$(shoal image list -o json | jq -r '.images[0].digest')
expect push_tells_the_digest 0 "$digest" shoal push hello:1.0
check registry_has_that_digest bash -c \
    "curl -fsS http://127.0.0.1:$port/v2/default/hello/manifests/1.0 | sha256sum | grep -q ${digest#sha256:}"
expect unsigned_is_refused_with_its_digest 1 "$digest.*unsigned" \
    shoal verify hello:1.0 --key shoal.pub
expect push_again_signs_it 0 'signed by key [0-9a-f]{16}' shoal push hello:1.0 --sign shoal.key
expect signed_verifies 0 'signed by shoal.pub' shoal verify hello:1.0 --key shoal.pub
expect by_digest_too 0 'signed by shoal.pub' shoal verify "hello@$digest" --key shoal.pub
expect wrong_key_is_refused_with_the_signers_id 1 \
    "$(shoal verify hello:1.0 --key shoal.pub -o json | jq -r .key_id)" \
    shoal verify hello:1.0 --key other.pub
check second_signature shoal sign hello:1.0 --key other.key
expect second_signature_counts 0 'other.pub' shoal verify hello:1.0 --key other.pub
expect first_signature_still_counts 0 'shoal.pub' shoal verify hello:1.0 --key shoal.pub
expect registry_lists_it_without_signatures 0 '^default/hello:1.0$' \
    bash -c 'shoal image list --remote -o json | jq -r ".images[].name"'
expect namespaces_are_apart 1 'team/hello' shoal verify -n team hello:1.0 --key shoal.pub

check remove_locally shoal image rm hello:1.0
expect removed_locally 0 '^0$' bash -c 'shoal image list -o json | jq ".images | length"'
expect pull_brings_it_back 0 "$digest" shoal image pull hello:1.0
expect pulled_is_the_same 0 "$digest" bash -c 'shoal image list -o json | jq -r ".images[0].digest"'
expect absent_image_is_named 1 'default/hello:9.9' shoal image pull hello:9.9

# An altered kernel in the registry's own folder: the bytes do not match their digest.
kernel=$(shoal verify hello:1.0 --key shoal.pub -o json | jq -r .kernel_digest)
blob=$(find "$work/registry" -type f -name "${kernel#sha256:}" | head -n 1)
chmod u+w "$blob"
printf 'X' | dd of="$blob" bs=1 seek=5000 conv=notrunc status=none
expect altered_kernel_is_refused_with_its_digest 1 "$kernel" shoal verify hello:1.0 --key shoal.pub

check remove_from_the_registry shoal image rm --remote hello:1.0
expect removed_from_the_registry 1 'default/hello:1.0|1.0' shoal verify hello:1.0 --key shoal.pub
stop_pid "$registry_pid"
expect silent_registry_has_a_remedy 1 'shoal up' shoal push hello:1.0
