#!/usr/bin/env bash
# Who may include what (docs/architecture.md, "Who may use whom"): prints every breach.
set -u
cd "$(dirname "$0")/../.." || exit 1
breaches=0

breach() {
    echo "layers: $1"
    breaches=$((breaches + 1))
}

# sources FOLDER...: the C files git knows or will know below the folders.
sources() { git ls-files -co --exclude-standard -- "$@" | grep -E '\.[ch]$'; }

# door HEADER-PATTERN WHAT ALLOWED-PATTERN: only files that match may include such a header.
door() {
    local pattern=$1 what=$2 allowed=$3 file
    while IFS= read -r file; do
        [[ $file =~ $allowed ]] || breach "$file includes $what, whose door is $allowed"
    done < <(sources lib image-format registry scheduler agent cli |
        xargs grep -lE "^#include [<\"]($pattern)" 2>/dev/null)
}

door 'libvirt/' libvirt '^agent/host/hypervisor_libvirt(_link|_debug|_internal|_adopt|_disks)?\.[ch]$'
door 'gnutls/' GnuTLS '^lib/http_server[a-z_]*\.[ch]$'
door 'microhttpd' libmicrohttpd '^lib/http_server[a-z_]*\.[ch]$'
door 'curl/' libcurl '^lib/http_client[a-z_]*\.[ch]$'
door 'sqlite3' SQLite '^lib/database\.c$'
door 'openssl/' OpenSSL '^lib/(crypto|tls)[a-z_]*\.[ch]$'
door 'expat' libexpat '^registry/storage/s3_xml\.c$'
door 'archive(_entry)?\.h>' libarchive '^image-format/packing\.c$'
door 'sodium' libsodium '^lib/crypto[a-z_]*\.c$'
door 'yaml\.h>' libyaml '^lib/yaml\.c$'
door 'netlink/|nftables/|linux/rtnetlink' 'netlink or nftables' '^agent/host/'
door 'crypt\.h>' libcrypt '^registry/access/'
door 'seccomp' libseccomp '^agent/'

rooms='registry scheduler agent cli'
for room in $rooms; do
    for other in $rooms; do
        [ "$room" = "$other" ] && continue
        while IFS= read -r file; do
            breach "$file includes a header of $other/: rooms meet over HTTP and lib/api/"
        done < <(sources "$room" | xargs grep -lE "^#include \"$other/" 2>/dev/null)
    done
done

while IFS= read -r file; do
    breach "$file: the library includes a daemon's header"
done < <(sources lib image-format | xargs grep -lE '^#include "(registry|scheduler|agent|cli)/' 2>/dev/null)

while IFS= read -r file; do
    breach "$file: image-format knows no network and no daemon"
done < <(sources image-format | xargs grep -lE '^#include ("lib/(http_|oci_client|image_client|database)|<uv)' 2>/dev/null)

while IFS= read -r file; do
    breach "$file: only the CLI's side reads YAML"
done < <(sources registry scheduler agent | xargs grep -lE '^#include "lib/(yaml|manifest)\.h"' 2>/dev/null)

[ "$breaches" -eq 0 ] && echo "layers: every dependency goes through its door"
[ "$breaches" -eq 0 ]
