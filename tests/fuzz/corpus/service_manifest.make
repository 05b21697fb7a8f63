#!/bin/bash
# Manifests: the examples', those of docs/manifest.md, and bad ones: service_manifest.make FOLDER
set -eu
here=$(cd "$(dirname "$0")/../../.." && pwd)
cd "$1"
for file in "$here"/examples/*/service*.yaml; do
    [ -f "$file" ] && cp "$file" "example-$(basename "$(dirname "$file")")-$(basename "$file")"
done
awk '/^```yaml$/ {n++; take = 1; next} /^```$/ {take = 0} take {print > ("docs-" n)}' "$here/docs/manifest.md"
printf 'service: a\nimage: b\n---\nservice: c\nimage: d\nreplicas: 0\n' >two
printf 'service: &a x\nimage: *a\n' >anchor
printf 'service: a\nimage: b\nservice: c\n' >twice
printf '{service: a, image: b, ports: [{name: p, port: 70000}]}' >range
printf 'service: a\nimage: "b\\0c"\nenv: {A: "\\u0001"}\n' >control
printf '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[' >deep
