#!/bin/bash
# Recipes with every key, of several families, and with what is refused: recipe.make FOLDER
set -eu
cd "$1"
cat >whole <<'YAML'
family: shoal
architectures:
  amd64: {build: "make hello-amd64", kernel: hello.elf, debug: hello.debug, protocol: pvh, machine: microvm}
  arm64: {kernel: hello-arm64.elf, initrd: init.cpio, disks: [data.img, other.img]}
memory: {min: 8Mi, default: 32Mi}
vcpus: {default: 1, max: 2}
cmdline: ["--ip=${net.address}/${net.prefix}", "--gateway=${net.gateway}"]
args: ["--greeting", "${env.GREETING}"]
ports: [{name: http, port: 8080, mode: http}, {name: admin, port: 8081, private: true}]
health: {readiness: {http: {path: /healthz, port: http}, every: 1s}, liveness: {tcp: {port: http}}}
stop: {method: console}
compress: zstd
YAML
printf 'family: linux\narchitectures: {amd64: {kernel: vmlinuz, initrd: init.cpio.gz, machine: q35}}\n' >linux
printf 'family: nanos\narchitectures:\n  amd64:\n    build: |\n      one\n      two\n    disks: [nanos.img]\n' >nanos
printf 'architectures: {amd64: {kernel: a/b}}\n' >auto
printf 'family: &a osv\narchitectures: *a\n' >anchor
printf 'family: generic\narchitectures: {amd64: {kernel: ../../etc/passwd}}\n' >above
printf 'family: generic\narchitectures: {arm64: {kernel: a, protocol: elf}}\nargs: ["\\x1b[2J"]\n' >control
