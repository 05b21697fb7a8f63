# shellcheck shell=bash
# Shared by policy_*.sh: images and signatures for policies. Source it behind lib.sh.

# policy NAME LINE...: a document.
policy() {
    printf 'name: %s\n' "$1"
    shift
    printf '%s\n' "$@"
}

# image VERSION KEY...: hello:VERSION.0 in the cluster's registry, signed by those keys.
image() {
    local version=$1 key
    shift
    shoal build "$BUILD/examples/hello/v$version" -t "hello:$version.0" >/dev/null &&
        shoal push "hello:$version.0" >/dev/null 2>&1 || fail "push_$version" "it failed"
    for key in "$@"; do
        shoal image sign "hello:$version.0" --key "$work/$key.key" >/dev/null || fail "sign_$version" "by $key"
    done
}

deployed_count_is() { [ "$(shoal service list -o json | jq '.services | length')" -eq "$1" ]; }
cause_is() { [ "$(shoal inspect instance "$1" | jq -r .cause)" = "$2" ]; }
instance_state_is() { [ "$(shoal inspect instance "$1" | jq -r .state)" = "$2" ]; }
# Every key named is in what the newest revision says of its signers.
signers_are() {
    local text key
    text=$(shoal history hello -o json | jq -r '.revisions | max_by(.number) | .signed_by')
    for key in "$@"; do grep -q "$key (" <<<"$text" || return 1; done
}
warning_event() { shoal events hello -o json | grep -q policy_warning; }

# The microVM's process of an instance dies.
crash() {
    local pid
    pid=$(qemu_of "$1")
    [ -n "$pid" ] && kill -9 "$pid"
}

# old_signature NAME TAG KEY TIME: a simple signature of the image with that time ("null": none),
# instead of what its tag has.
old_signature() {
    local api=$SHOAL_REGISTRY/v2/default/$1 type=application/vnd.oci.image.manifest.v1+json
    local digest payload signature
    digest=$(curl -fsSI -H "Accept: $type, application/vnd.oci.image.index.v1+json" "$api/manifests/$2" |
        tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p')
    payload=$work/payload.json
    jq -cjn --arg d "$digest" --argjson t "$4" '{critical: {identity: {"docker-reference": "x"},
        image: {"docker-manifest-digest": $d}, type: "cosign container image signature"},
        optional: (if $t == null then null else {timestamp: $t} end)}' >"$payload"
    signature=$(openssl dgst -sha256 -sign "$work/$3.key" "$payload" | base64 -w0)
    printf '{}' >"$work/empty.json"
    put_blob "$api" "$payload"
    put_blob "$api" "$work/empty.json"
    jq -cn --arg s "$signature" --arg p "$(sha "$payload")" --arg c "$(sha "$work/empty.json")" \
        --argjson n "$(stat -c %s "$payload")" --arg t "$type" '{schemaVersion: 2, mediaType: $t,
        config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: 2},
        layers: [{mediaType: "application/vnd.dev.cosign.simplesigning.v1+json", digest: $p, size: $n,
        annotations: {"dev.cosignproject.cosign/signature": $s}}]}' >"$work/signature.json"
    curl -fsS -X PUT -H "Content-Type: $type" --data-binary @"$work/signature.json" \
        "$api/manifests/sha256-${digest#sha256:}.sig" >/dev/null
}

sha() { printf 'sha256:%s' "$(sha256sum <"$1" | cut -d' ' -f1)"; }

put_blob() {
    local place
    place=$(curl -fsSI -X POST "$1/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    case $place in /*) place=$SHOAL_REGISTRY$place ;; esac
    case $place in *\?*) place="$place&" ;; *) place="$place?" ;; esac
    curl -fsS -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$2" \
        "${place}digest=$(sha "$2")" >/dev/null
}
