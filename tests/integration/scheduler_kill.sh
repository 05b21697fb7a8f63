#!/usr/bin/env bash
# A scheduler that is killed again and again among its commits keeps what it acknowledged, and gives
# no id and no address out twice. ROUNDS=15, SEED=N and STORE=etcd:URL from the environment.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$(dirname "$0")/registry_functions.bash"

rounds=${ROUNDS:-15}
seed=${SEED:-$RANDOM}
services=3
echo "seed $seed, $rounds rounds"
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
start_registry registry
export SHOAL_REGISTRY=$url
port=$(free_port)
export SHOAL_ADDRESS=http://127.0.0.1:$port
command=("$BUILD/bin/shoal-scheduler" --port "$port" --state "$work/scheduler" --registry "$url"
    --keep-events 20000 --log-level warn ${STORE:+--store "$STORE"})

"${command[@]}" 2>"$work/scheduler.log" &
scheduler_pid=$!
started_pids="$started_pids $scheduler_pid"
check starts wait_for 30 curl -fsS "$SHOAL_ADDRESS/healthz"
check an_image_is_there build_and_push 1
check its_key_is_trusted shoal trust add "$work/shoal.pub"
for number in $(seq 0 $((services - 1))); do
    printf 'service: s%s\nimage: hello:1.0\nresources: {memory: 16Mi}\n' "$number" >"$work/s.yaml"
    check "service_s${number}_is_deployed" shoal deploy --detach -f "$work/s.yaml"
done
stop_pid "$scheduler_pid"

check "all_acknowledged_after_${rounds}_kills" \
    "$BUILD/tests/scheduler_kills" "$rounds" "$seed" "$port" "$services" "${command[@]}"
tail -n 3 "$work/check.out"
