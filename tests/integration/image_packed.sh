#!/usr/bin/env bash
# A packed image: zstd layers are unpacked on the node, the guest answers; debug symbols stay in
# the registry; what unpacks to something else than it says never boots.
# shellcheck disable=SC2317  # functions are called through check and wait_for
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

folder=$work/hello
mkdir "$folder"
cp "$BUILD/examples/hello/v1/hello-amd64.elf" "$folder/hello.elf"
head -c 300000 /dev/zero >"$folder/hello.debug"
cat >"$folder/Unikernel.yaml" <<YAML
family: shoal
architectures: {amd64: {kernel: hello.elf, debug: hello.debug}}
compress: zstd
ports: [{name: http, port: 8080, mode: http}]
health: {readiness: {http: {path: /healthz, port: http}}}
YAML

layer_of() { # KIND: the layer's descriptor
    curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        "$SHOAL_REGISTRY/v2/default/hello/manifests/1.0" |
        jq -c --arg type "application/vnd.shoal.unikernel.$1.v1+zstd" '.layers[] | select(.mediaType == $type)'
}
answers() { curl -fsS --max-time 2 "http://127.0.0.1:$publish_port/" | grep -q .; }
# Files of a blob below the node's state.
on_the_node() { find "$cluster/agent" -name "${1#sha256:}*" -type f | grep -q .; }

check cluster_comes_up cluster_up
(cd "$work" && shoal keygen shoal) >/dev/null
check key_is_trusted shoal trust add "$work/shoal.pub"
check it_builds shoal build "$folder" -t hello:1.0
check it_is_pushed_and_signed shoal push hello:1.0 --sign "$work/shoal.key"
packed=$(layer_of kernel)
content=$(jq -r '.annotations["dev.shoal.content.digest"]' <<<"$packed")
debug=$(layer_of debug | jq -r .digest)
check config_names_what_it_unpacks_to test "$content" = "sha256:$(sha256sum <"$folder/hello.elf" | cut -d' ' -f1)"
check layer_is_smaller test "$(jq .size <<<"$packed")" -lt "$(stat -c %s "$folder/hello.elf")"
check it_verifies shoal image verify hello:1.0
manifest 1 2 >"$work/v1.yaml"

# The manifest lies about what a layer holds: signed all the same, it does not boot.
other=sha256:$(printf 'something else' | sha256sum | cut -d' ' -f1)
lie() { # TAG JQ-FILTER-OF-THE-MANIFEST
    curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        "$SHOAL_REGISTRY/v2/default/hello/manifests/1.0" >"$work/manifest.json"
    local config
    config=$(jq -r .config.digest "$work/manifest.json")
    curl -fsS "$SHOAL_REGISTRY/v2/default/hello/blobs/$config" | sed "s/$content/${3:-$content}/" >"$work/config.json"
    local digest
    digest=sha256:$(sha256sum <"$work/config.json" | cut -d' ' -f1)
    curl -fsS -X POST --data-binary @"$work/config.json" -H 'Content-Type: application/octet-stream' \
        "$SHOAL_REGISTRY/v2/default/hello/blobs/uploads/?digest=$digest" >/dev/null
    jq -c --arg digest "$digest" --argjson size "$(stat -c %s "$work/config.json")" \
        ".config.digest = \$digest | .config.size = \$size | $2" "$work/manifest.json" |
        tr -d '\n' >"$work/lie.json"
    curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @"$work/lie.json" "$SHOAL_REGISTRY/v2/default/hello/manifests/$1" >/dev/null
    shoal image sign "hello:$1" --key "$work/shoal.key"
}
status_says() { shoal status "$1" | grep -qE -- "$2"; }
never_booted() { ! shoal events "$1" | grep -qE ' (running|ready) '; }
refused_on_the_node() { # NAME TAG PATTERN
    sed "s/hello:1.0/hello:$2/; s/service: hello/service: $1/; s/, publish: [0-9]*//" "$work/v1.yaml" >"$work/lie.yaml"
    check "$1_is_deployed" shoal deploy --detach -f "$work/lie.yaml"
    check "$1_says_why" wait_for 60 status_says "$1" "$3"
    check "$1_does_not_boot" never_booted "$1"
}
kernel_layer='(.layers[] | select(.mediaType | test("kernel")))'
check a_lie_about_the_size_is_signed lie size "$kernel_layer.annotations[\"dev.shoal.content.size\"] = \"100\""
refused_on_the_node size size 'more than the 100 bytes'
check a_lie_about_the_digest_is_signed lie digest "$kernel_layer.annotations[\"dev.shoal.content.digest\"] = \"$other\"" "$other"
refused_on_the_node digest digest 'but the image says it is'

check it_deploys shoal deploy -f "$work/v1.yaml"
check guest_answers wait_for 30 answers
check node_has_what_it_unpacked on_the_node "$content"
check node_did_not_fetch_symbols sh -c "! find '$cluster/agent' -type f | grep -q '${debug#sha256:}'"
check it_restarts shoal restart hello
check guest_answers_again wait_for 30 answers

check cluster_goes_down cluster_down
expect nothing_is_left 0 '^$' echo "$(leftovers "$node")"
