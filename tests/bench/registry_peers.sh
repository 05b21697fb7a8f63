#!/bin/sh
# Debian's docker-registry and nginx for `make bench-registry`: fetched by apt, which checks them
# against the archive's signed lists, and unpacked. Neither is installed and none of their services
# starts.
#
#     registry_peers.sh BUILD_DIR     ->  BUILD_DIR/bench/peers/usr/{bin/docker-registry,sbin/nginx}
#
# Runs as root or as a plain user. Exit code 2: they cannot be had here, the message says why.
set -eu

packages='docker-registry nginx'

fail() {
    printf 'registry_peers: %s\n' "$*" >&2
    exit 2
}

[ $# -eq 1 ] || fail 'usage: registry_peers.sh BUILD_DIR'
for tool in apt-get dpkg; do
    command -v "$tool" >/dev/null || fail "$tool is missing: the peers are Debian's packages"
done
mkdir -p "$1/bench"
peers=$(cd "$1/bench" && pwd)/peers
[ ! -e "$peers/.complete" ] || exit 0

work=$(mktemp -d "$peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/packages" "$work/root"
# shellcheck disable=SC2086 # words
(cd "$work/packages" && apt-get -q -o "APT::Sandbox::User=$(id -un)" download $packages) \
    >"$work/download.log" 2>&1 || {
    cat "$work/download.log" >&2
    fail "apt could not fetch $packages (messages above): run apt-get update and try again"
}
for package in "$work"/packages/*.deb; do
    dpkg -x "$package" "$work/root"
done
# A library that is missing shows here, not in the middle of the measurement.
if ! "$work/root/usr/bin/docker-registry" --version >"$work/root/versions" 2>&1 ||
    ! "$work/root/usr/sbin/nginx" -v >>"$work/root/versions" 2>&1; then
    cat "$work/root/versions" >&2
    fail 'a peer does not run here (messages above)'
fi
touch "$work/root/.complete"
rm -rf "$peers"
mv "$work/root" "$peers"
