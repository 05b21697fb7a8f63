#!/usr/bin/env bash
# content.make FOLDER: images of Shoal's own form, of KraftKit's and of urunc's.
# shellcheck disable=SC2016,SC2094
set -eu
cd "$1"
digest() { printf 'sha256:%064d' "$1"; }
layer() { printf '{"mediaType":"%s","digest":"%s","size":9%s}' "$1" "$(digest "$2")" "${3:-}"; }
manifest() { # CONFIG-TYPE MORE LAYERS
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"%s","digest":"%s","size":2},"layers":[%s]%s}\n' \
        "$1" "$(digest 9)" "$3" "$2"
}
own=application/vnd.shoal.unikernel tar=application/vnd.oci.image.layer.v1.tar
ordinary=application/vnd.oci.image.config.v1+json
config() { # FAMILY PROTOCOL MACHINE MORE
    printf '{"schemaVersion":1,"architecture":"amd64","os":"unikernel","family":"%s","boot":{"protocol":"%s","machine":"%s",%s},"memory":{"min":67108864,"default":67108864},"vcpus":{"default":1,"max":1},"cmdline":["a ${net.address}"],"env":{"A":"b"}}' "$@"
}
{
    manifest $own.config.v1+json ",\"artifactType\":\"$own.v1\"" "$(layer $own.kernel.v1 1)"
    config shoal pvh microvm "\"kernel\":\"$(digest 1)\""
} >own
{
    manifest $own.config.v1+json ",\"artifactType\":\"$own.v1\"" "$(layer $own.kernel.v1+zstd 1 \
        ",\"annotations\":{\"dev.shoal.content.digest\":\"$(digest 5)\",\"dev.shoal.content.size\":\"100\"}"),$(layer $own.initrd.v1 2),$(layer $own.disk.v1 3)"
    config linux linux pc "\"kernel\":\"$(digest 5)\",\"initrd\":\"$(digest 2)\",\"disks\":[\"$(digest 3)\"]"
} >packed
{
    manifest $own.config.v1+json ",\"artifactType\":\"$own.v1\"" "$(layer $own.disk.v1 3)"
    config nanos disk pc "\"disks\":[\"$(digest 3)\"]"
} >disk
{
    manifest $ordinary ',"annotations":{"sh.kraftkit.version":"0.9"}' \
        "$(layer $tar 1 ',"annotations":{"org.unikraft.kernel.image":"/unikraft/bin/kernel"}'),$(layer $tar 2 ',"annotations":{"org.unikraft.kernel.initrd":"/unikraft/bin/initrd"}')"
    printf '{"architecture":"x86_64","os":"qemu","config":{"Cmd":["-c","x y"],"Env":["PATH=/bin"]}}'
} >kraftkit
{
    manifest $ordinary '' "$(layer $tar+gzip 1)"
    printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"]}}\n'
    printf '{"com.urunc.unikernel.unikernelType":"dW5pa3JhZnQ=","com.urunc.unikernel.hypervisor":"cWVtdQ==","com.urunc.unikernel.binary":"L2s=","com.urunc.unikernel.cmdline":"L2FwcCB4"}'
} >urunc
{
    manifest $ordinary ',"annotations":{"com.urunc.unikernel.unikernelType":"linux","com.urunc.unikernel.hypervisor":"qemu","com.urunc.unikernel.binary":"/k","com.urunc.unikernel.block":"/d","com.urunc.unikernel.cmdline":"/app \"a b\""}' "$(layer $tar 1)"
    printf '{"architecture":"arm64","os":"linux","config":{}}'
} >urunc-linux
