#!/bin/bash
# Policies, good and bad, about repositories that somebody signed: policy.make FOLDER
set -eu
number=0
seed() { # WHO-SIGNED REPOSITORY DOCUMENT
    number=$((number + 1))
    printf '%b%s\n%s' "$1" "$2" "$3" >"$number"
}
cd "$1"
seed '\01' default/hello '{"name":"p","match":["default/*"]}'
seed '\03' default/hello '{"name":"p","match":["**"],"keys":["ci","release"],"require":2}'
seed '\05' default/hello '{"name":"p","match":["default/hello"],"keys":["ci","twin"],"require":2}'
seed '\011' team/a/b '{"name":"p","match":["team/**","x?"],"max_age":"30d"}'
seed '\021' default/hello '{"name":"p","match":["**"],"attestations":["slsa",{"type":"https://spdx.dev/Document","keys":["ci"]}]}'
seed '\02' default/hello '{"name":"p","match":["**"],"families":["shoal"],"registries":["127.*:5000"],"mode":"warn","on_revoke":"stop"}'
seed '\01' x '{"name":"","match":[],"require":0,"mode":"off"}'
seed '\01' x '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]'
