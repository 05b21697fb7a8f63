#!/usr/bin/env bash
# signature_payload.make FOLDER: payloads by cosign, containers/image and us, and a manifest of them.
set -eu
folder=$1
digest=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
payload() { # OPTIONAL
    printf '{"critical":{"identity":{"docker-reference":"r/hello"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":%s}' \
        "$digest" "$1"
}
payload null >"$folder/cosign"
payload '{"creator":"shoal","timestamp":1700000000}' >"$folder/shoal"
payload '{"timestamp":"1700000000","commit":"abc"}' >"$folder/annotated"
layer="{\"mediaType\":\"application/vnd.dev.cosign.simplesigning.v1+json\",\"digest\":\"$digest\",\"size\":9,\"annotations\":{\"dev.cosignproject.cosign/signature\":\"MEUC\",\"dev.shoal.key.id\":\"0123456789abcdef\"}}"
printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},"layers":[%s,%s]}' \
    "$digest" "$layer" "$layer" >"$folder/manifest"
