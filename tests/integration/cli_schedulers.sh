#!/usr/bin/env bash
# Several addresses for one command: the next one is asked where that can do no harm, and where it
# could the error says so.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
port=$(free_port) odd_port=$(free_port)
real=http://127.0.0.1:$port odd=http://127.0.0.1:$odd_port closed=http://127.0.0.1:$(free_port)
shoal-scheduler --port "$port" --state "$work/scheduler" 2>"$work/scheduler.log" &
started_pids=$!

# One that is awake, and hangs up on whatever else it is asked; what that was is in $work/asked.
cat >"$work/odd" <<SCRIPT
#!/bin/bash
read -r method path _
while read -r line && [ -n "\${line%\$'\r'}" ]; do :; done
[ "\$path" = /healthz ] && printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' && exit
echo "\$method \$path" >>"$work/asked"
SCRIPT
chmod +x "$work/odd"
socat "TCP-LISTEN:$odd_port,bind=127.0.0.1,fork,reuseaddr" "EXEC:$work/odd" 2>"$work/socat.log" &
started_pids="$started_pids $!"
check a_scheduler_is_there wait_for 30 curl -fsS "$real/healthz"
check another_one_hangs_up wait_for 10 curl -fsS "$odd/healthz"
asked() { grep -c "$1" "$work/asked"; }

# --- nothing was sent ---
expect one_that_is_not_there_is_passed_over 0 'NAME' shoal node list --address "$closed,$real"
expect for_a_change_too 1 'no service nothing' shoal restart nothing --address "$closed,$real"
expect all_are_named_when_none_is_there 1 "$closed,http://127.0.0.1:1 .*cannot be reached" \
    shoal node list --address "$closed,127.0.0.1:1"

# --- an answer that does not come ---
expect what_is_read_is_asked_for_elsewhere 0 'NAME' shoal node list --address "$odd,$real"
check it_was_asked_first [ "$(asked 'GET /v1/nodes')" = 1 ]
(cd "$work" && shoal keygen one) >/dev/null
expect what_may_be_repeated_is_and_that_is_said 0 "answer of $odd did not come" \
    shoal trust add "$work/one.pub" --address "$odd,$real"
check it_was_done [ "$(curl -fsS "$real/v1/keys" | jq '.keys | length')" = 1 ]
expect what_may_not_is_told_of 1 'may have been done or not' shoal restart nothing --address "$odd,$real"
expect a_removal_neither 1 'may have been done or not' shoal trust rm one --address "$odd,$real"
check it_was_not_repeated [ "$(curl -fsS "$real/v1/keys" | jq '.keys | length')" = 1 ]

# --- who they are ---
expect each_is_told_of 0 "$real .* leads" shoal version --address "$closed,$real"
expect also_as_a_document 0 '"phase": *"leading"' shoal version -o json --address "$closed,$real"
SHOAL_ADDRESS=$closed,$real expect the_environment_takes_a_list 0 'NAME' shoal node list
