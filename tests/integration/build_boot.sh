#!/usr/bin/env bash
# What `shoal build` makes boots: compressed, of a family told from the kernel's mark, with
# provenance beside it; debug symbols stay where they are.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

check cluster_starts cluster_up
cd "$work" || exit 1
shoal keygen shoal >/dev/null
check key_is_trusted shoal trust add shoal.pub
mkdir recipe
cp "$BUILD"/examples/hello/v1/*.elf recipe/
head -c 100000 /dev/urandom >recipe/symbols
cat >recipe/Unikernel.yaml <<'YAML'
architectures:
  amd64: {build: "cp hello-amd64.elf made.elf", kernel: made.elf, debug: symbols}
  arm64: {kernel: hello-arm64.elf}
cmdline: ["--ip=${net.address}/${net.prefix}", "--gateway=${net.gateway}", "--instance=${instance.id}"]
ports: [{name: http, port: 8080, mode: http}]
compress: zstd
YAML
expect built_pushed_and_signed_in_one_go 0 'built for amd64 and arm64, pushed, signed by key' \
    shoal build recipe -t hello:1.0 --push --sign shoal.key --provenance
expect the_tree_tells_all 0 'provenance \(SLSA\), signed by key' shoal tree hello:1.0
manifest 1 1 "arch: amd64" >service.yaml
check it_boots timeout 120 shoal deploy -f service.yaml
expect it_answers 0 'hello from hello 1.0' curl -fsS "http://127.0.0.1:$publish_port/"
on_the_node() { find "$cluster/agent" -type f -exec sha256sum {} + | grep -q "^$(sha256sum <"$1" | cut -d' ' -f1)"; }
check the_node_has_the_unpacked_kernel on_the_node recipe/made.elf
expect the_node_has_no_symbols 1 '' on_the_node recipe/symbols
# Their layer's bytes, packed: in the registry, and not on the node.
debug=$(shoal image inspect hello:1.0 -o json | jq -r '.. | objects | select((.mediaType? // "") | contains("debug")) | .digest' | head -n 1)
held_by() { [ -n "$debug" ] && find "$cluster/$1" -type f -exec sha256sum {} + | grep -q "^${debug#sha256:}"; }
check the_registry_has_them held_by registry
expect and_the_node_does_not_fetch_them 1 '' held_by agent
