#!/usr/bin/env bash
# A registry with users, and our own clients: who logged in with skopeo is logged in with `shoal`;
# the scheduler is told a file of logins; without one, what is missing is said.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data HOME=$work
unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR
port=$(free_port) scheduler_port=$(free_port)
export SHOAL_REGISTRY=http://127.0.0.1:$port SHOAL_ADDRESS=http://127.0.0.1:$scheduler_port
echo ann-secret | shoal-registry passwd --cost 4 --file users ann >/dev/null || fail passwd "no file of users"
cat >settings.json <<JSON
{"access": {"htpasswd": "$work/users", "token_lifetime": "1m", "rules": [
  {"users": ["ann"], "repositories": ["default/*", "public/**"], "actions": ["*", "catalog"]},
  {"users": ["anonymous"], "repositories": ["public/**"], "actions": ["pull"]}]}}
JSON
shoal-registry --port "$port" --state "$work/registry" --config settings.json >registry.log 2>&1 &
started_pids="$started_pids $!"
answers() { curl -fsS "http://127.0.0.1:$1/healthz"; }
check registry_starts wait_for 20 answers "$port"

shoal keygen shoal >/dev/null
shoal build "$BUILD/examples/hello/v1" -t hello:1.0 >/dev/null
expect without_a_login_the_remedy_is_said 1 "skopeo login 127.0.0.1:$port" shoal push hello:1.0
login() { # PASSWORD: as ann, into the file that clients share
    mkdir -p "$work/.docker" &&
        jq -n --arg host "127.0.0.1:$port" --arg auth "$(printf 'ann:%s' "$1" | base64)" \
            '{auths: {($host): {auth: $auth}}}' >"$work/.docker/config.json"
}
login wrong
expect a_wrong_password_is_said 1 'log in' shoal push hello:1.0
skopeo_login() {
    rm "$work/.docker/config.json"
    echo ann-secret | skopeo login --tls-verify=false --authfile "$work/.docker/config.json" \
        --username ann --password-stdin "127.0.0.1:$port"
}
check skopeo_logs_in skopeo_login
check who_logged_in_with_skopeo_may_push shoal push hello:1.0 --sign shoal.key
expect and_see_what_is_there 0 'default/hello' shoal image list --remote
check and_verify shoal verify hello:1.0 --key shoal.pub
check and_pull bash -c 'shoal image rm hello:1.0 && shoal image pull hello:1.0'

check image_elsewhere shoal build "$BUILD/examples/hello/v1" -t "127.0.0.1:$port/closed/hello:1.0"
expect what_a_user_may_not_push_is_said 1 'does not allow this to the user' \
    shoal push "127.0.0.1:$port/closed/hello:1.0"

# --- what everybody may pull needs no login, and may not be pushed ---
check public_push shoal build "$BUILD/examples/hello/v1" -t "127.0.0.1:$port/public/hello:1.0"
check a_user_pushes_for_everybody shoal push "127.0.0.1:$port/public/hello:1.0"
rm "$work/.docker/config.json"
check everybody_pulls shoal image pull "127.0.0.1:$port/public/hello:1.0"
expect but_pushes_nothing 1 'wants a login' shoal push "127.0.0.1:$port/public/hello:1.0"

# --- the scheduler resolves images with the login it was given ---
start_scheduler() { # OPTION...
    shoal-scheduler --port "$scheduler_port" --state "$work/scheduler" --registry "$SHOAL_REGISTRY" "$@" \
        >scheduler.log 2>&1 &
    scheduler_pid=$!
    started_pids="$started_pids $scheduler_pid"
    wait_for 20 answers "$scheduler_port"
}
cat >service.yaml <<YAML
service: hello
image: hello:1.0
resources: {memory: 16Mi, vcpus: 1}
YAML
check scheduler_without_a_login start_scheduler
check trust shoal trust add shoal.pub
expect it_cannot_resolve_the_image 1 'wants a login' shoal deploy --detach -f service.yaml
stop_pid "$scheduler_pid"
login ann-secret
check scheduler_with_a_login start_scheduler --registry-auth "$work/.docker/config.json"
check it_resolves_the_image shoal deploy --detach -f service.yaml
stop_pid "$scheduler_pid"
start_with_nothing() { timeout 20 shoal-scheduler --port 0 --state "$work/other" --registry-auth /nowhere; }
expect a_file_that_is_not_there_is_named 1 '/nowhere' start_with_nothing
