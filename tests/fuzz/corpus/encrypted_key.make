#!/usr/bin/env bash
# encrypted_key.make FOLDER: what is inside cosign's encrypted keys, cheap ones and dear ones.
set -eu
folder=$1
salt=$(head -c 32 /dev/zero | base64 -w0)
nonce=$(head -c 24 /dev/zero | base64 -w0)
box=$(head -c 154 /dev/zero | base64 -w0)
key() { # N r p
    printf '{"kdf":{"name":"scrypt","params":{"N":%s,"r":%s,"p":%s},"salt":"%s"},"cipher":{"name":"nacl/secretbox","nonce":"%s"},"ciphertext":"%s"}' \
        "$@" "$salt" "$nonce" "$box"
}
key 16 1 1 >"$folder/cheap"
key 65536 8 1 >"$folder/cosign2"
key 32768 8 1 >"$folder/cosign1"
key 1048576 64 64 >"$folder/absurd"
block='ENCRYPTED COSIGN PRIVATE KEY'
printf -- '-----BEGIN %s-----\n%s\n-----END %s-----\n' "$block" "$(key 32768 8 1 | base64)" "$block" >"$folder/pem"
