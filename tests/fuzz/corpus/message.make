#!/bin/bash
# One of each message and each document, and broken ones: message.make FOLDER
set -eu
number=0
seed() { # NAME DOCUMENT
    number=$((number + 1))
    printf '%s\n%s' "$1" "$2" >"$number"
}
cd "$1"
template='{"image_digest":"sha256:00","args":["-v"],"env":{"A":"b"},"resources":{"memory":"32Mi","vcpus":1},"ports":[{"name":"http","port":80}],"boot_timeout":"20s","stop":{"drain":"10s","grace":"5s"}}'
seed join '{"node":"n1","epoch":"0123456789abcdef","cluster":"","address":"127.0.0.1:7001","machines":[{"arch":"amd64","accel":"tcg","families":["shoal"]}],"memory":1073741824,"vcpus":4,"overhead":1048576,"labels":{"zone":"a"},"subnet":""}'
seed join_answer '{"cluster":"00000000000000000000000000000000","term":1,"subnet":"10.64.0.0/24","heartbeat_ms":1000,"lease_ms":10000}'
seed status '{"cluster":"00000000000000000000000000000000","node":"n1","epoch":"0123456789abcdef","sequence":7,"term":1,"assignment_revision":4294967297,"endpoints_revision":0,"trust_revision":0,"instances":[{"id":"000100000001","state":"ready","restarts":0,"state_age_ms":5,"boot_ms":70,"uptime_ms":9,"accel":"tcg","boot_steps":{"create_us":20000}},{"id":"000100000002","state":"failed","cause":"guest_exit","message":"it ended"}],"frontends":[{"publish":80,"bound":false,"message":"taken"}],"draining":[{"id":"000100000001","connections":2}]}'
seed assignment '{"cluster":"00000000000000000000000000000000","term":1,"revision":2,"trust_revision":1,"full":true,"registry":"http://127.0.0.1:5000","prefetch":[{"repository":"default/hello","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","arch":"amd64"}],"instances":[{"id":"000100000001","namespace":"default","service":"hello","slot":0,"revision":1,"wanted":"run","repository":"default/hello","image_digest":"sha256:00","arch":"amd64","address":"10.64.0.2","prefix":24,"gateway":"10.64.0.1","resources":{"memory":"32Mi","vcpus":1},"ports":[{"name":"http","port":80}],"args":[],"env":{},"health":{"readiness":{"tcp":{"port":"http"}}},"boot_timeout":"20s","volumes":[{"name":"data","size":"64Mi","device":"data"}]}],"removed":["000100000000"]}'
seed endpoints '{"cluster":"00000000000000000000000000000000","term":1,"revision":2,"full":true,"frontends":[{"publish":80,"mode":"http","namespace":"default","service":"hello","servers":[{"id":"000100000001","address":"10.64.0.2","port":80,"state":"ready"}]}]}'
seed trust '{"cluster":"00000000000000000000000000000000","term":1,"revision":2,"keys":[{"name":"ci","id":"00","pem":"-"}],"policies":[{"name":"p","match":["**"]}]}'
seed scale '{"replicas":3}'
seed rollback '{"to":2}'
seed change_answer '{"changed":true,"revision":1,"rollout":2,"replicas":3,"message":"m"}'
seed service_view '{"namespace":"default","service":"hello","replicas":3,"rollout":{"number":1,"phase":"progressing"},"spec":{}}'
seed instance_view '{"id":"000100000001","state":"ready","wanted":"run"}'
seed node_view '{"name":"n1","state":"ready","machines":[],"labels":{"a":"b"}}'
seed cluster_stats '{"nodes":[{"node":"n1","host":{"node":"n1","processors":2,"cpu_ppm":5},"figures":[{"id":"000100000001","state":"ready","cpu_ppm":612,"read_rate":1}],"services":[{"service":"hello","instances":2}]}],"failed":[{"node":"n2","message":"silent"}],"left_out":3}'
seed instance_stats '{"id":"000100000001","figures":{"id":"000100000001","state":"ready"},"boot_ms":43,"boot_steps":{"pull_us":1,"first_packet_us":9000}}'
seed node_images '{"node":"n1","bytes":70000,"limit":1073741824,"images":[{"repository":"default/hello","digest":"sha256:00","arch":"amd64","bytes":70000,"age_ms":5,"used":true}]}'
seed verdict_request '{"image":"hello","namespace":"default"}'
seed node_volumes '{"limit":1073741824,"used":67108864,"volumes":[{"namespace":"default","service":"db","slot":0,"name":"data","state":"in_use","size":67108864,"used":4096,"instance":"000100000001","snapshots":[{"name":"before","used":4096,"age_ms":5}]}]}'
seed volumes '{"volumes":[{"namespace":"default","service":"db","slot":0,"name":"data","node":"n1","state":"unused"}],"nodes":[{"node":"n1","limit":1,"used":2},{"node":"n2","reason":"silent"}]}'
seed counters '{"instances":5,"services":1,"starts":2,"term":1}'
seed services/ '{"uid":1,"namespace":"default","service":"hello","spec":{"service":"hello","image":"hello"},"replicas":1}'
seed revisions/ "{\"namespace\":\"default\",\"service\":\"hello\",\"number\":1,\"template\":$template,\"platforms\":[{\"arch\":\"amd64\",\"family\":\"shoal\"}]}"
seed rollouts/ '{"namespace":"default","service":"hello","number":1,"from":0,"to":1,"phase":"progressing","kind":"deploy"}'
seed instances/ '{"id":"000100000001","service_uid":1,"namespace":"default","service":"hello","slot":0,"node":"n1","address":"10.64.0.2","wish":"drain","why":"w"}'
seed observed/ '{"id":"000100000001","state":"failed","cause":"oom","message":"m","since_ms":18446744073709551615}'
seed nodes/ '{"name":"n1","epoch":"00","machines":[{"arch":"amd64","accel":"kvm","families":[]}],"labels":{"a":"b"},"subnet":"10.64.0.0/24"}'
seed keys/ '{"name":"ci","id":"00","pem":"-----BEGIN PUBLIC KEY-----\n"}'
seed policies/ '{"name":"p","match":["default/*"],"require":1}'
seed events/ '{"sequence":1,"time_ms":2,"kind":"service","name":"hello","what":"deployed","message":"m"}'
seed status '{"instances":[{"id":7}]}'
seed status '{"sequence":18446744073709551616,"term":-1}'
seed join '{"node":"\u0000\ud800","labels":{"a":1}}'
