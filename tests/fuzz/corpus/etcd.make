#!/bin/bash
# What etcd answers, as it does and not quite so: etcd.make FOLDER
set -eu
number=0
seed() { # KIND TEXT
    number=$((number + 1))
    printf '%s\n%s' "$1" "$2" >"$number"
}
cd "$1"
header='"header":{"cluster_id":"3249","member_id":"3319","revision":"3","raft_term":"2"}'
pair='{"key":"bGVhZA==","create_revision":"2","mod_revision":"2","version":"1","value":"eA==","lease":"2324035618478201608"}'
seed answer "{$header,\"kvs\":[$pair],\"more\":true,\"count\":\"9\"}"
seed answer "{$header,\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":{\"revision\":\"2\"}}}]}"
seed answer "{$header,\"responses\":[{\"response_range\":{\"kvs\":[$pair],\"count\":\"1\"}},{\"response_range\":{}}]}"
seed answer "{$header,\"ID\":\"2324035618478201606\",\"TTL\":\"3\"}"
seed answer "{\"result\":{$header,\"ID\":\"2324035618478201608\",\"TTL\":\"3\"}}"
seed answer "{$header,\"kvs\":[{\"key\":\"AA==\",\"value\":7,\"lease\":\"-1\"}]}"
seed answer "{$header,\"kvs\":[null,1,\"a\"],\"responses\":[null]}"
seed watch "{\"result\":{$header,\"created\":true}}"
seed watch "{\"result\":{$header,\"fragment\":true,\"events\":[{\"kv\":$pair},{\"type\":\"DELETE\",\"kv\":{\"key\":\"bGVhZA==\",\"mod_revision\":\"3\"}}]}}"
seed watch "{\"result\":{$header,\"canceled\":true,\"compact_revision\":\"3\"}}"
seed watch '{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}'
seed error '{"error":"etcdserver: mvcc: database space exceeded","message":"etcdserver: mvcc: database space exceeded","code":8}'
seed error '{"error":"etcdserver: request timed out","code":14}'
seed error 'no page here'
