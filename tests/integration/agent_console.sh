#!/usr/bin/env bash
# What guests write, and what is typed to them: logs by time and over restarts of guests and daemons,
# consoles that people attach to.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

type_to() { printf '%s\n' "$2" | shoal console "$1"; }
log_has() { shoal logs "$1" | grep -qE -- "$2"; }
has() { grep -qF -- "$1" "$2"; }
times_of() { shoal logs "$@" -t | cut -d ' ' -f 1; }
is_sorted() { times_of hello --tail 1000 >"$work/times" && sort -c "$work/times" && [ -s "$work/times" ]; }
agent_ended() { ! kill -0 "$1" 2>/dev/null; }

# shellcheck disable=SC2119
cluster_up >"$work/up.log" 2>&1 || { cat "$work/up.log" && fail up "the cluster does not start"; exit 1; }
check build_and_push build_and_push 1
shoal trust add "$work/shoal.pub" >/dev/null
manifest 1 2 | sed 's|^health:|&\n  liveness: {http: {path: /healthz, port: http}, every: 300ms, timeout: 1s, rise: 1, fall: 2}|' >"$work/hello.yaml"
check deploy shoal deploy -f "$work/hello.yaml"
mapfile -t ids < <(instances_in ready)
first=${ids[0]} second=${ids[1]}

# --- logs ---
expect a_boot_is_marked 0 '^-- started --$' shoal logs "$first"
expect lines_have_their_times 0 '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z hello 1.0 listening' shoal logs -t "$first"
expect lines_of_a_service_have_instances 0 "^20[^ ]*Z $second hello 1.0 listening" shoal logs -t hello
check a_service_is_in_the_order_of_time is_sorted
expect since_a_moment_ago_there_is_all 0 listening shoal logs --since 10m hello
check since_later_there_is_nothing test -z "$(shoal logs --since 2099-01-01T00:00Z hello)"
expect since_has_forms 2 '2026-11-26T02:14:50Z' shoal logs --since yesterday hello
expect a_document_has_time_instance_and_line 0 true sh -c \
    "shoal logs hello -o json | jq -e '[.lines[] | select(.line | test(\"listening\"))] | length == 2 and all(.time and .instance)'"
expect the_tail_of_a_service_is_of_all_its_instances 0 '^3$' sh -c 'shoal logs hello --tail 3 | wc -l'
expect a_mark_is_told_from_lines 0 true sh -c "shoal logs $first -o json | jq -e '.lines[0] | .mark and .line == \"started\"'"

# --- attached, by pipes ---
expect what_is_typed_is_answered 0 'hello: requests are logged' type_to "$first" 'log on'
expect who_attaches_is_told_so 0 "Attached to $first on node $node" type_to "$first" 'what now'
shoal console --read-only "$first" >"$work/read" 2>"$work/read.err" &
reader=$!
mkfifo "$work/keys"
shoal console "$first" <"$work/keys" >"$work/written" 2>"$work/written.err" &
writer=$!
started_pids="$started_pids $reader $writer"
exec 4>"$work/keys"
check the_reader_is_attached wait_for 20 has Attached "$work/read.err"
check the_writer_is_attached wait_for 20 has Attached "$work/written.err"
expect one_writes_at_a_time 1 "@.* writes to the console of $first already" type_to "$first" 'log on'
echo 'log off' >&4
check the_writer_sees_the_answer wait_for 20 has 'not logged' "$work/written"
check the_reader_sees_it_too wait_for 20 has 'not logged' "$work/read"
check the_log_has_it wait_for 20 log_has "$first" 'not logged'
exec 4>&-
wait "$writer"
expect the_place_is_free_again 0 'is not known here' type_to "$first" anything
expect only_instances_have_consoles 2 'shoal ps' shoal console hello
expect output_is_a_document_a_line 0 '^\{"output": ?".' sh -c "echo x | shoal console $first -o json"
check without_what_only_terminals_need sh -c "echo x | shoal console $first -o json | grep 'not known' | grep -v '?'"

# --- attached, by a terminal: a carriage return ends a line there, and Ctrl-] detaches ---
{ wait_for 20 has Attached "$work/terminal" && printf 'log on\r' && wait_for 20 has 'are logged' "$work/terminal" && printf '\035'; } |
    script -qfec "shoal console $first; stty -a; echo restored" "$work/terminal" >/dev/null
check the_terminal_shows_the_answer has 'hello: requests are logged' "$work/terminal"
check the_key_detaches has Detached "$work/terminal"
check the_terminal_is_put_right grep -q ' icanon .*' "$work/terminal"

# --- a debugger: the guest stands still, and is not taken for dead ---
export XDG_CACHE_HOME=$work/cache
of_first() { shoal ps hello -o json | jq -re --arg id "$first" ".instances[] | select(.id == \$id) | $1"; }
is_debugged_and_unready() { [ "$(of_first .state)" = running ] && of_first .message | grep -q 'gdb stub is on'; }
ask_first() { ip netns exec "shoal-$node" curl -sS --max-time 60 "http://$(of_first .address):8080$1"; }
expect the_command_for_gdb_is_printed 0 "^gdb -ex 'target remote /.*/g/$first' $work/cache/shoal/debug/" shoal debug "$first"
expect without_gdb_it_says_what_brings_it 0 'gdb is not installed here: .apt-get install gdb' \
    env "PATH=$BUILD/bin" shoal debug "$first"
command=$(shoal debug "$first" 2>/dev/null)
socket=$(shoal debug "$first" -o json 2>/dev/null | jq -r .socket)
check only_root_reaches_the_socket test "$(stat -c '%a %u' "${socket%/*}" "$socket" | tr '\n' ' ')" = "700 0 600 0 "
symbols=$(shoal debug "$first" -o json 2>/dev/null | jq -r .symbols)
check the_symbols_are_the_images cmp "$symbols" "$BUILD/examples/hello/v1/hello-amd64.debug"
hex=$(sha256sum "$symbols" | cut -c1-64)
check the_registry_has_them test -n "$(find "$cluster/registry" -name "*$hex*")"
check the_node_that_boots_has_not test -z "$(find "$cluster/agent" -name "*$hex*")"

# As it is printed, by a person who looks around, waits for a request, and goes.
cat >"$work/look.gdb" <<GDB
info registers rip
backtrace
break answer_public if request->path[1] == 'g'
shell touch $work/looking
continue
backtrace 1
print request->path
delete
detach
GDB
eval "timeout 120 $command -batch -nx -x $work/look.gdb" >"$work/gdb" 2>&1 &
gdb=$!
started_pids="$started_pids $gdb"
check gdb_attaches wait_for 60 test -e "$work/looking"
check a_request_that_was_stopped_in_is_answered test "$(ask_first /gdb)" = 'not found'
check gdb_leaves wait "$gdb"
check registers_are_read grep -q '^rip  *0x' "$work/gdb"
check functions_have_names grep -q 'runtime_start (' "$work/gdb"
check the_breakpoint_was_hit grep -q '^#0 *answer_public (.*at .*hello/hello.c:[0-9]*$' "$work/gdb"
check variables_have_values grep -q '"/gdb"$' "$work/gdb"
check detached_it_answers test "$(ask_first /)" = "hello from hello 1.0 instance $first"
check the_look_cost_no_restart test "$(of_first .restarts)" = 0


# By a gdb that goes without a word, and leaves the guest standing at its breakpoint.
printf 'break answer_public\ncontinue\nshell touch %s\n' "$work/standing" >"$work/stay.gdb"
mkfifo "$work/commands"
eval "exec $command -nx -q -x $work/stay.gdb" <"$work/commands" >"$work/gdb" 2>&1 &
gdb=$!
started_pids="$started_pids $gdb"
exec 5>"$work/commands"
check a_check_of_its_health_meets_the_breakpoint wait_for 60 test -e "$work/standing"
kill -9 "$gdb"
exec 5>&-
check a_stopped_guest_is_out_of_the_endpoints wait_for 20 is_debugged_and_unready
sleep 4 # more than what liveness would have needed
check it_was_not_restarted test "$(of_first .restarts)" = 0
expect others_are_debugged_elsewhere 0 "runs on node $node, and is debugged there" \
    curl -s -X POST "$SHOAL_ADDRESS/v1/instances/$first/debug?boot=another"
check the_stub_goes_off shoal debug --stop "$first"
check it_runs_on wait_for 20 ready_count_is 2
check as_the_same_boot test "$(of_first .restarts)" = 0
check the_socket_is_gone test ! -e "$socket"

# A stub that nobody was told of does not stay: its guest's liveness would not count.
agent=$(daemon_pid agent)
stubs_off() { grep -c 'msg="gdb stub off"' "$cluster/log/agent.log"; }
off=$(stubs_off)
kill -STOP "$agent"
expect who_waits_to_be_attached_is_told 137 "Node $node has not attached to $second yet" timeout -s KILL 5 shoal console "$second"
curl -s --max-time 1 -X POST "$SHOAL_ADDRESS/v1/instances/$first/debug?boot=$(cat /proc/sys/kernel/random/boot_id)"
kill -CONT "$agent"
goes_off_again() { [ "$(stubs_off)" -gt "$off" ] && [ ! -e "$socket" ]; }
check who_asked_is_gone_and_the_stub_goes_off wait_for 20 goes_off_again

# --- nobody reads while no agent runs ---
shoal logs -f -t --tail 10000 hello >"$work/followed" 2>"$work/followed.err" &
follower=$!
started_pids="$started_pids $follower"
check following_begins wait_for 20 has listening "$work/followed"
agent=$(daemon_pid agent)
kill -9 "$agent"
wait_for 20 agent_ended "$agent"
silence="node $node: its agent (does not answer|was last heard)"
expect logs_name_the_node_that_does_not_answer 1 "$silence" shoal logs hello
expect top_names_it_and_is_not_whole 1 "$silence" shoal top
expect volumes_name_it_and_are_not_whole 1 "the volumes of node $node are not known: its agent" shoal volume list
expect its_document_names_it_too 1 '"node": "'"$node"'"' shoal top -o json
check the_agent_comes_back cluster_up_again
gap="no agent read this console from 20.* to 20.*: what it wrote then is missing"
check the_gap_is_said wait_for 30 log_has "$first" "$gap"
check following_survives_it wait_for 30 grep -qE "$first .*no agent read" "$work/followed"

# --- an end, and a boot after it ---
check attached_again wait_for 20 type_to "$second" 'before the end'
kill -9 "$(qemu_of "$second")"
is_back() { [ "$(shoal logs "$second" | grep -c -- '^-- started --')" = 2 ]; }
check it_boots_again wait_for 60 is_back
expect how_it_ended_is_in_the_log 0 '^-- ended: .*(process|killed)' shoal logs "$second"
expect lines_before_the_end_are_there 0 'before the end' shoal logs "$second"
check who_follows_sees_the_second_boot wait_for 30 has "$second -- ended" "$work/followed"

# --- who follows goes on, over the scheduler's end and a rollout, with each line once ---
type_to "$first" 'log off' >/dev/null
kill "$(daemon_pid scheduler)" # which ends what it streams in good order
check who_follows_is_told_of_the_wait wait_for 30 has 'trying again until it answers' "$work/followed.err"
check the_scheduler_comes_back cluster_up_again
check it_knows_both wait_for 60 ready_count_is 2
check typed_after_it wait_for 20 type_to "$first" 'after the scheduler'
every_line_came_once() {
    shoal logs -t --tail 10000 hello | sort >"$work/kept"
    grep -v -- '-- its log breaks off here: ' "$work/followed" | sort >"$work/came"
    [ -s "$work/kept" ] && cmp "$work/kept" "$work/came"
}
check following_survives_the_scheduler wait_for 30 every_line_came_once
check rolled_over shoal restart hello
check the_old_ones_are_followed_to_their_end wait_for 30 grep -qE "$first -- ended: .*" "$work/followed"
is_over() { shoal ps --all -o json | jq -e --arg id "$first" '.instances[] | select(.id == $id) | .state == "stopped"'; }
wait_for 30 is_over >/dev/null
expect no_console_of_what_is_over 1 "instance $first is over \(stopped.*: .shoal logs $first. shows" shoal console "$first"
expect nor_a_debugger 1 "instance $first is over \(stopped" shoal debug "$first"
mapfile -t ids < <(instances_in ready)
for id in "${ids[@]}"; do
    check "the_new_one_is_followed_$id" wait_for 30 grep -qF "$id hello 1.0 listening" "$work/followed"
done
kill "$follower"

name=$node
check cluster_goes_down cluster_down
check nothing_is_left test -z "$(leftovers "$name")"
