#!/bin/bash
# podman builds ordinary container images, pushes them, and pulls the same ones again.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

if ! command -v podman >/dev/null; then
    skip podman "podman is not installed"
    exit 0
fi
start_registry registry
cd "$work" || exit 1
host=${url#http://}
# Nothing of podman's outside of $work, and nothing of the user's own settings.
export HOME=$work XDG_DATA_HOME=$work/data XDG_RUNTIME_DIR=$work/run XDG_CONFIG_HOME=$work/config
pod() {
    podman --root "$work/root" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend file "$@"
}
push() { pod push -q --tls-verify=false "$@"; }
pull() { pod pull -q --tls-verify=false "$@"; }
forget_all() { pod rmi --all --force >/dev/null && [ -z "$(pod images -q)" ]; }
# The digest that the registry has under a tag.
served() { http 200 -I "$url/v2/$1/manifests/$2" >&2 && header Docker-Content-Digest; }

# --- an image of two layers goes in ---
mkdir tree
head -c 300000 /dev/urandom >tree/data
echo 'Welcome.' >tree/motd
printf 'FROM scratch\nCOPY data /data\nCOPY motd /etc/motd\nLABEL title=thing\n' >tree/Containerfile
check podman_builds pod build -q --layers --network host -t "$host/default/thing:1.0" tree
check podman_pushes push --digestfile pushed "$host/default/thing:1.0"
has_what_was_pushed() {
    [ "$(served default/thing 1.0)" = "$(cat pushed)" ] &&
        http 200 "$url/v2/default/thing/manifests/1.0" && [ "$(digest_of body)" = "$(cat pushed)" ] &&
        jq -e '.layers | length == 2' body
}
check the_registry_has_the_digest_that_podman_tells has_what_was_pushed
push_again() { push --digestfile again "$host/default/thing:1.0" && cmp pushed again; }
check pushing_it_again_changes_nothing push_again

# --- and comes out, after podman forgot it ---
image=$(pod images -q --no-trunc "$host/default/thing:1.0")
# same_image NAME: by the digests of its manifest and config, with the files it had.
same_image() {
    local files
    [ "$(pod image inspect --format '{{.Digest}}' "$1")" = "$(cat pushed)" ] &&
        [ "sha256:$(pod image inspect --format '{{.Id}}' "$1")" = "$image" ] || return 1
    files=$(pod image mount "$1") && cmp "$files/data" tree/data && cmp "$files/etc/motd" tree/motd &&
        pod image umount "$1"
}
pull_same() { forget_all && pull "$1" && same_image "$1"; }
check pull_by_tag_is_the_same_image pull_same "$host/default/thing:1.0"
check pull_by_digest_is_the_same_image pull_same "$host/default/thing@$(cat pushed)"
expect an_unknown_tag_is_said_to_be_unknown 125 'manifest unknown' pull "$host/default/thing:2.0"

# --- docker's own format, and zstd ---
docker_format() {
    push --format v2s2 "$host/default/thing@$(cat pushed)" "docker://$host/default/thing:docker" &&
        http 200 "$url/v2/default/thing/manifests/docker" &&
        header_is Content-Type application/vnd.docker.distribution.manifest.v2+json &&
        forget_all && pull "$host/default/thing:docker"
}
check dockers_format_in_and_out docker_format
zstd_layers() {
    local layer
    head -c 200000 /dev/urandom >tree/data && tar -C tree -cf tree.tar data &&
        pod import -q tree.tar "$host/default/zstd:1" &&
        push --compression-format zstd "$host/default/zstd:1" &&
        http 200 "$url/v2/default/zstd/manifests/1" &&
        jq -e '.layers[0].mediaType == "application/vnd.oci.image.layer.v1.tar+zstd"' body &&
        layer=$(jq -r '.layers[0].digest' body) &&
        http 200 "$url/v2/default/zstd/blobs/$layer" && [ "$(digest_of body)" = "$layer" ] &&
        forget_all && pull "$host/default/zstd:1"
}
check layers_by_zstd_in_and_out zstd_layers

# --- an image for two architectures ---
push_list() {
    local arch
    pod manifest create "$host/default/multi:1" || return 1
    for arch in amd64 arm64; do
        echo "$arch" >tree/arch && tar -C tree -cf tree.tar arch &&
            pod import -q --arch "$arch" tree.tar "$host/default/multi:$arch" &&
            pod manifest add "$host/default/multi:1" "containers-storage:$host/default/multi:$arch" ||
            return 1
    done
    pod manifest push -q --all --tls-verify=false "$host/default/multi:1" "docker://$host/default/multi:1" &&
        http 200 "$url/v2/default/multi/manifests/1" && header_is Content-Type "$index_type" &&
        jq -e '[.manifests[].platform.architecture] == ["amd64", "arm64"]' body
}
check a_list_of_two_architectures push_list
pull_arch() {
    local files
    forget_all && pull --arch "$1" "$host/default/multi:1" &&
        files=$(pod image mount "$host/default/multi:1") && [ "$(cat "$files/arch")" = "$1" ] &&
        pod image umount --all
}
check one_of_the_list_is_pulled pull_arch arm64
check and_the_other_one pull_arch amd64

# --- what podman lists ---
listed_tags() {
    pod search --tls-verify=false --list-tags "$host/default/thing" >list &&
        [ "$(awk 'NR > 1 {print $2}' list | xargs)" = "1.0 docker" ]
}
check podman_lists_the_tags listed_tags
found() { pod search --tls-verify=false --format '{{.Name}}' "$host/mul" | grep -x "$host/default/multi"; }
check podman_finds_a_repository found

# --- a registry that asks who is there, over TLS ---
kill_registry TERM
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem \
    -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null
printf 'secret' | "$BUILD/bin/shoal-registry" passwd --file users --cost 4 alice >passwd.out 2>&1
start_registry closed "$work/closed" --htpasswd "$work/users" --tls-cert "$work/cert.pem" --tls-key "$work/key.pem"
host=${url#https://}
mkdir -p "trusted/$host" && cp cert.pem "trusted/$host/ca.crt"
echo '{}' >auth.json
auth=(--cert-dir "$work/trusted/$host" --authfile "$work/auth.json")
log_in() { printf '%s' "$1" | pod login "${auth[@]}" --username alice --password-stdin "$host"; }
pod tag "$(pod images -q --no-trunc | head -n 1)" "$host/default/secret:1"
expect a_push_without_a_login_is_refused 125 'denied|unauthorized|authentication required' \
    pod push -q "${auth[@]}" "$host/default/secret:1"
expect a_wrong_password_is_no_login 125 'invalid username/password|unauthorized' log_in wrong
expect the_right_one_is 0 'Login Succeeded' log_in secret
check a_push_after_the_login pod push -q "${auth[@]}" "$host/default/secret:1"
pull_logged_in() { forget_all && pod pull -q "${auth[@]}" "$host/default/secret:1"; }
check a_pull_after_the_login pull_logged_in
check logout pod logout --authfile "$work/auth.json" "$host"
forget_all
expect a_pull_after_the_logout_is_refused 125 'unauthorized|authentication required' \
    pod pull -q "${auth[@]}" "$host/default/secret:1"
