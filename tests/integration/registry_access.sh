#!/bin/bash
# Users, tokens and rules: who is let in, what real clients make of it, what changes while it runs.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"
cd "$work" || exit 1
registry=$BUILD/bin/shoal-registry
export XDG_DATA_HOME=$work/data HOME=$work REGISTRY_AUTH_FILE=$work/auth.json
printf 'hello' >hello

# --- the file of users ---
set_password() { printf '%s\n' "$2" | "$registry" passwd --cost 4 --file users "$1"; } # NAME PASSWORD
expect passwd_makes_the_file 0 'new user ann in users' set_password ann ann-other
expect and_says_when_a_password_changes 0 'password of ann changed in users' set_password ann ann-secret
says_removed() { set_password tmp x && "$registry" passwd --file users --remove tmp; }
expect or_a_user_goes 0 'user tmp removed from users' says_removed
expect and_what_is_to_do_then 0 'kill -HUP' set_password ann ann-secret
expect a_password_is_no_argument 2 'unexpected argument "b"' "$registry" passwd --file users a b
check and_adds_to_it set_password ci ci-secret
private() { [ "$(stat -c %a users)" = 600 ] && [ "$(cut -d: -f1 users | tr '\n' ' ')" = 'ann ci ' ] && ! grep -q secret users; }
check which_is_its_owners_and_has_no_password private
expect a_user_who_is_not_there_cannot_be_removed 1 'no user "bob"' "$registry" passwd --file users --remove bob
expect a_name_with_a_colon_is_none 2 "cannot be a user's name" "$registry" passwd --file users a:b </dev/null
expect an_empty_password_is_none 1 'empty password' "$registry" passwd --file users bob </dev/zero
long_password() { head -c 73 /dev/zero | tr '\0' x | "$registry" passwd --file users bob; }
expect a_password_that_bcrypt_would_cut_is_refused 1 'longer than 72' long_password
printf 'ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n' >weak
expect other_hashes_stop_the_start 1 'weak:1: not a bcrypt hash' \
    timeout 20 "$registry" --port 0 --state "$work/weak.state" --htpasswd weak

expect what_would_leave_it_open_is_refused 2 'would be open to everybody' \
    "$registry" serve --config <(echo '{"access": {"realm": "https://registry.example/token"}}')

# --- one rule a kind ---
cat >settings.json <<JSON
{"access": {"htpasswd": "$work/users", "rules": [
  {"users": ["ann"], "repositories": ["**"], "actions": ["*", "catalog"]},
  {"users": ["ci", "cy"], "repositories": ["team/**"], "actions": ["push"]},
  {"users": ["anonymous"], "repositories": ["public/**"], "actions": ["pull"]}]},
 "log": {"access": "$work/access.log"}}
JSON
start_registry registry "$work/registry" --config settings.json
as_ann=(-u ann:ann-secret)
as_ci=(-u ci:ci-secret)

stranger() { grep -q 'a rule names a user who is not in the file of users.*user=cy' registry.log && ! grep -q 'user=ci' registry.log; }
check a_rules_unknown_user_is_warned_of stranger

challenged() { # SCOPE CURL-ARGUMENTS...: a 401 whose challenge has it
    local scope=$1
    shift
    http 401 "$@" && error_is UNAUTHORIZED && header_is Docker-Distribution-Api-Version registry/2.0 &&
        header_is WWW-Authenticate "Bearer realm=\"$url/token\",service=\"shoal-registry\"$scope"
}
check the_base_asks_who_it_is challenged '' "$url/v2/"
check and_takes_a_password http 200 "${as_ann[@]}" "$url/v2/"
check but_no_wrong_one challenged '' -u ann:wrong "$url/v2/"
check nor_an_unknown_name challenged '' -u nobody:ann-secret "$url/v2/"
check nor_another_scheme challenged '' -H 'Authorization: Digest x' "$url/v2/"
check health_is_for_everybody http 200 "$url/healthz"
check metrics_are_not challenged '' "$url/metrics"
check metrics_are_for_users http 200 "${as_ci[@]}" "$url/metrics"
check what_is_not_everybodys_asks_for_a_token \
    challenged ',scope="repository:team/web:pull"' "$url/v2/team/web/tags/list"
check a_push_asks_for_more \
    challenged ',scope="repository:public/web:pull,push"' -X POST "$url/v2/public/web/blobs/uploads/"
check a_delete_too \
    challenged ',scope="repository:public/web:pull,delete"' -X DELETE "$url/v2/public/web/manifests/1"
check the_catalog_too challenged ',scope="registry:catalog:*"' "$url/v2/_catalog"
not_read() { # an upload is refused before its bytes are sent
    head -c 20000000 /dev/zero | challenged ',scope="repository:team/web:pull,push"' -T - -X POST \
        -H 'Expect: 100-continue' "$url/v2/team/web/blobs/uploads/?digest=$(digest_of hello)"
}
check a_body_is_not_waited_for not_read

# token CURL-ARGUMENTS...: sets $token.
token() { http 200 "$@" && token=$(jq -er .token body); }
with_token() { local wanted=$1; shift; http "$wanted" -H "Authorization: Bearer $token" "$@"; }
grants() { # JSON: what $token has
    local payload=${token#*.}
    payload=$(tr -- '-_' '+/' <<<"${payload%.*}")
    while [ $((${#payload} % 4)) -ne 0 ]; do payload=$payload=; done
    base64 -d <<<"$payload" >claims && jq -e "(.access == $1) and .exp - .iat == 300" claims
}
asked='service=shoal-registry&scope=repository:team/web:pull,push,delete&scope=repository:public/web:pull,push&scope=registry:catalog:*'
ci_token() {
    token "${as_ci[@]}" "$url/token?account=ci&client_id=test&offline_token=true&$asked" &&
        grants '[{"type":"repository","name":"team/web","actions":["pull","push"]},{"type":"repository","name":"public/web","actions":["pull"]}]' &&
        jq -e '.access_token == .token and .expires_in == 300 and (.issued_at | fromdate > 0)' body
}
check a_token_has_what_is_asked_and_allowed ci_token
check it_pushes with_token 202 -X POST "$url/v2/team/web/blobs/uploads/"
check in_its_repository_only with_token 401 -X POST "$url/v2/team/other/blobs/uploads/"
another_would() { header WWW-Authenticate | grep -q 'scope="repository:team/other:pull,push",error="insufficient_scope"'; }
check and_the_answer_says_that_another_would another_would
check a_user_who_may_not_is_told_so with_token 403 -X DELETE "$url/v2/team/web/manifests/1"
check by_the_specs_code error_is DENIED
check which_names_the_missing_action grep -q 'no rule allows \\"delete\\" in team/web' body
check and_so_by_password http 403 "${as_ci[@]}" -X POST "$url/v2/public/web/blobs/uploads/"
check nor_may_it_see_the_catalog with_token 403 "$url/v2/_catalog"
check a_changed_token_is_none http 401 -H "Authorization: Bearer ${token%?}" "$url/v2/"
invalid() { header WWW-Authenticate | grep -q 'error="invalid_token"'; }
check and_is_called_invalid invalid
anonymous_token() {
    token "$url/token?$asked" && grants '[{"type":"repository","name":"public/web","actions":["pull"]}]' &&
        with_token 200 "$url/v2/" && with_token 401 -X POST "$url/v2/public/web/blobs/uploads/"
}
check nobody_gets_a_token_to_pull anonymous_token
check and_an_empty_one_for_nothing token "$url/token?service=shoal-registry"
check a_wrong_password_gets_none http 401 -u ci:wrong "$url/token?$asked"
check and_is_asked_for_by_basic header_is WWW-Authenticate 'Basic realm="shoal-registry"'
check a_token_gets_no_other_token http 401 -H "Authorization: Bearer $token" "$url/token?$asked"
check another_services_token_is_not_given http 400 "${as_ci[@]}" "$url/token?service=other"
check a_scope_without_form_is_refused http 400 "${as_ci[@]}" "$url/token?scope=nonsense"
form() { token -d "grant_type=password&username=ci&password=ci%2Dsecret&client_id=x&$1" "$url/token"; }
form_token() { form 'scope=repository%3Ateam%2Fweb%3Apull%2Cpush&service=shoal-registry' && with_token 404 "$url/v2/team/web/tags/list"; }
check a_form_gets_a_token form_token
check a_form_with_a_wrong_password_does_not http 401 -d 'grant_type=password&username=ci&password=x' "$url/token"
oauth_error() { http "$1" -d "$3" "$url/token" && [ "$(jq -r .error body)" = "$2" ]; }
check refresh_tokens_are_not_offered oauth_error 400 unsupported_grant_type 'grant_type=refresh_token&refresh_token=x'
check a_form_without_a_name_is_refused oauth_error 400 invalid_request 'grant_type=password'

# --- refused logins are counted and logged ---
refused() { http 200 "${as_ann[@]}" "$url/metrics" && sed -n 's/^shoal_registry_logins_refused_total //p' body; }
counts() { # CURL-ARGUMENTS...: a 401 that is counted
    local before
    before=$(refused) && http 401 "$@" && [ "$(refused)" -eq $((before + 1)) ]
}
said() { grep -q "msg=\"login refused\" client=127.0.0.1 name=$1 reason=\"$2" registry.log; }
check a_wrong_password_is_counted counts -u cy:x "$url/v2/"
check and_logged_with_the_name_and_the_reason said cy 'no such user'
check so_at_any_path counts -u ann:bad "$url/v2/team/web/tags/list"
check with_another_reason said ann 'wrong password'
check so_for_a_token counts -u mia:x "$url/token?$asked"
check with_its_name said mia 'no such user'
check so_by_form counts -d 'grant_type=password&username=zoe&password=x' "$url/token"
check with_the_forms_name said zoe 'no such user'
check a_bad_token_is_counted counts -H 'Authorization: Bearer a.b.c' "$url/v2/"
check and_logged said '""' 'the token'
check no_credentials_are_not_refused_ones [ "$(refused)" = "$(http 401 "$url/v2/" && refused)" ]

# --- mounts: another's blob is not there ---
push_secret() {
    local location
    http 202 "${as_ann[@]}" -X POST "$url/v2/private/blobs/uploads/" && location=$(header Location) &&
        http 201 "${as_ann[@]}" -X PUT --data-binary @hello "$url$location?digest=$(digest_of hello)"
}
check ann_pushes_anywhere push_secret
mount="mount=$(digest_of hello)"
check a_mount_from_what_one_may_not_see_is_an_upload http 202 "${as_ci[@]}" -X POST "$url/v2/team/web/blobs/uploads/?$mount&from=private"
check as_from_what_is_not_there http 202 "${as_ci[@]}" -X POST "$url/v2/team/web/blobs/uploads/?$mount&from=nowhere"
check and_from_anywhere_where_nothing_may_be_seen http 202 "${as_ci[@]}" -X POST "$url/v2/team/web/blobs/uploads/?$mount"
check who_may_see_it_mounts_it http 201 "${as_ann[@]}" -X POST "$url/v2/team/web/blobs/uploads/?$mount&from=private"

# --- the log has the user ---
logged() { grep -qE "user=ci method=POST path=/v2/team/web/blobs/uploads/ status=202" access.log && grep -qE 'user="" method=GET path=/v2/ status=401' access.log; }
check the_access_log_has_the_user wait_for 5 logged

# --- real clients ---
target=docker://${url#http://}
layout() {
    local layer image
    mkdir -p image && head -c 30000 /dev/urandom | gzip >layer &&
        printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]}}' \
            "sha256:$(zcat layer | sha256sum | cut -d' ' -f1)" >image.json
    layer=$(digest_of layer) image=$(digest_of image.json)
    cp layer "image/${layer#sha256:}" && cp image.json "image/${image#sha256:}" &&
        echo 'Directory Transport Version: 1.1' >image/version &&
        printf '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%s,"digest":"%s"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%s,"digest":"%s"}]}' \
            "$(size_of image.json)" "$image" "$(size_of layer)" "$layer" >image/manifest.json
}
copy() { skopeo --insecure-policy copy --src-tls-verify=false --dest-tls-verify=false "$@"; }
skopeo_checks() {
    layout
    expect skopeo_is_not_logged_in_with_a_wrong_password 1 'invalid username/password|unauthorized' \
        skopeo login --tls-verify=false -u ann -p wrong "${url#http://}"
    expect skopeo_does_not_push_without_login 1 'unauthorized|token does not allow|authentication required' copy dir:image "$target/public/thing:1"
    check skopeo_pushes_with_credentials copy --dest-creds ann:ann-secret dir:image "$target/public/thing:1"
    expect skopeo_does_not_push_with_wrong_ones 1 'invalid username/password|unauthorized' \
        copy --dest-creds ann:wrong dir:image "$target/public/thing:1"
    expect skopeo_is_told_that_a_user_may_not 1 'denied|DENIED|may not' \
        copy --dest-creds ci:ci-secret dir:image "$target/public/thing:2"
    check everybody_pulls_what_is_public copy "$target/public/thing:1" dir:out
    check which_is_the_same cmp out/manifest.json image/manifest.json
    check skopeo_logs_in skopeo login --tls-verify=false -u ci -p ci-secret "${url#http://}"
    check then_it_pushes copy dir:image "$target/team/thing:1"
    check and_copies_from_one_repository_to_another copy "$target/public/thing:1" "$target/team/other:1"
    expect but_not_where_it_may_not 1 '403 .Forbidden' copy dir:image "$target/private:1"
    expect nor_deletes_it 1 'denied|DENIED|may not|403' skopeo delete --tls-verify=false "$target/team/thing:1"
    check who_may_deletes skopeo delete --tls-verify=false --creds ann:ann-secret "$target/team/thing:1"
    check skopeo_lists_tags skopeo list-tags --tls-verify=false "$target/team/other"
    check skopeo_logs_out skopeo logout "${url#http://}"
}
if command -v skopeo >/dev/null; then skopeo_checks; else skip skopeo "skopeo is not installed"; fi

podman_checks() {
    expect podman_is_not_logged_in_with_a_wrong_password 125 'invalid username/password|unauthorized' \
        podman login --tls-verify=false -u ann -p wrong "${url#http://}"
    check podman_logs_in podman login --tls-verify=false -u ann -p ann-secret "${url#http://}"
    check podman_logs_out podman logout "${url#http://}"
}
if command -v podman >/dev/null; then podman_checks; else skip podman "podman is not installed"; fi

# shoal uses the same file of logins.
auth_file() { # NAME PASSWORD
    printf '{"auths": {"%s": {"auth": "%s"}}}' "${url#http://}" "$(printf '%s:%s' "$1" "$2" | base64)" >auth.json
}
export SHOAL_REGISTRY=${url#http://} XDG_CONFIG_HOME=$work/config
check shoal_builds shoal build "$BUILD/examples/hello/v1" -t hello:1.0
rm -f auth.json
expect shoal_does_not_push_without_login 1 'login|log in|unauthorized' shoal push hello:1.0
auth_file ci ci-secret
expect a_user_who_may_not_does_not_push_with_it 1 'does not allow this to the user' shoal push hello:1.0
auth_file ann ann-secret
check shoal_pushes_with_a_login shoal push hello:1.0
pull_again() { shoal image rm hello:1.0 && shoal image pull hello:1.0; }
check and_pulls pull_again

# --- while it runs ---
reload() { kill -HUP "$registry_pid"; }
set_password bob bob-secret && reload
lets_in() { http 200 -u "$1" "$url/v2/"; }
keeps_out() { http 401 -u "$1" "$url/v2/"; }
check sighup_lets_a_new_user_in wait_for 10 lets_in bob:bob-secret
token "${as_ci[@]}" "$url/token?$asked"
"$registry" passwd --file users --remove ci && reload
check and_keeps_a_removed_one_out wait_for 10 keeps_out ci:ci-secret
check with_its_token with_token 401 "$url/v2/team/web/tags/list"
token -u bob:bob-secret "$url/token?$asked"
check a_token_is_taken with_token 200 "$url/v2/"
set_password bob changed && reload
check a_new_password_counts wait_for 10 lets_in bob:changed
check the_old_one_does_not keeps_out bob:bob-secret
check nor_a_token_made_for_it with_token 401 "$url/v2/"
cp users users.good && echo nonsense >>users && reload
complained() { grep -q 'users and rules stay as they were.*users:[0-9]*: not of the form' registry.log; }
check a_file_with_a_mistake_is_named_in_the_log wait_for 10 complained
check and_changes_nothing lets_in bob:changed
cp users.good users
sed -i 's/"anonymous"\], "repositories": \["public/"anonymous"], "repositories": ["other/' settings.json && reload
no_longer() { http 401 "$url/v2/public/thing/tags/list"; }
check rules_change_too wait_for 10 no_longer

cp settings.json settings.good && jq '.access.rules = []' settings.good >settings.json && reload
stays() { grep -q 'what was in force stays.*rules.* is empty' registry.log; }
check taking_out_the_last_rule_is_refused wait_for 10 stays
check and_does_not_let_every_user_do_everything http 403 -u bob:changed "$url/v2/_catalog"
cp settings.good settings.json

# A flood of logins: each is answered, by bcrypt or by 429, and others are served meanwhile.
printf 'slow-secret\n' | "$registry" passwd --cost 10 --file users slow && reload
wait_for 10 lets_in slow:slow-secret
flood() {
    local i pids=
    for i in $(seq 60); do
        curl -s -o /dev/null -w '%{http_code}\n' --max-time 60 -u "slow:wrong$i" "$url/v2/" >"flood.$i" &
        pids="$pids $!"
    done
    http 200 "$url/healthz" && lets_in slow:slow-secret || return 1
    # shellcheck disable=SC2086 # a list
    wait $pids
    [ "$(cat flood.* | grep -cE '^(401|429)$')" -eq 60 ]
}
check a_flood_of_logins_ends_in_refusals flood
few_lines() { [ "$(refused)" -ge 300 ] && [ "$(grep -c 'login refused' registry.log)" -lt 300 ]; }
for _ in $(seq 300); do echo "url = \"$url/v2/\""; done >floods
curl -s -o /dev/null -H 'Authorization: Bearer x.y.z' -K floods >/dev/null
check and_does_not_fill_the_log few_lines

# --- the key stays ---
token "${as_ann[@]}" "$url/token?service=shoal-registry&scope=repository:x:pull"
kill_registry TERM
start_registry again "$work/registry" --config settings.json
check tokens_live_over_a_restart with_token 404 "$url/v2/x/tags/list"
check the_key_is_the_registrys_own [ "$(stat -c %a registry/token.key)" = 600 ]
kill_registry TERM

# --- the common case: users, no rules ---
start_registry simple "$work/simple" --htpasswd users
check users_may_everything http 202 "${as_ann[@]}" -X POST "$url/v2/x/blobs/uploads/"
check others_nothing http 401 "$url/v2/x/tags/list"
kill_registry TERM

# --- what is dangerous is said ---
: >nobody
start_registry empty "$work/empty" --htpasswd nobody
check an_empty_file_of_users_is_warned_of grep -q 'level=warn.*nobody can log in.*file=nobody' empty.log
quiet() { ! grep -qE 'without TLS|push and delete' empty.log; }
check on_loopback_nothing_is_exposed quiet
kill_registry TERM
# On all addresses of a network of its own, where nobody else is.
exposed() { # LOG OPTION...: leaves the log
    local log=$1
    shift
    unshare -n "$registry" --address 0.0.0.0 --port 0 --state "$work/exposed" "$@" 2>"$log" &
    started_pids="$started_pids $!"
    wait_for 20 grep -q 'registry started' "$log" && kill "$!" && wait "$!"
}
open_to_all() { exposed open.log && grep -q 'level=warn.*without TLS' open.log && grep -q 'level=warn.*may push and delete' open.log; }
with_users() { exposed users.log --htpasswd users && grep -q 'level=warn.*without TLS' users.log && ! grep -q 'may push' users.log; }
if unshare -n true 2>/dev/null; then
    check an_open_registry_for_other_machines_is_warned_of open_to_all
    check with_users_only_the_lack_of_tls with_users
else
    skip exposure "no network namespaces here"
fi

# --- by TLS the challenge leads there by TLS ---
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout tls.key -out tls.crt 2>/dev/null
start_registry secure "$work/secure" --htpasswd users --tls-cert tls.crt --tls-key tls.key
url=https://${url#*://}
check the_challenge_has_https challenged '' --cacert tls.crt "$url/v2/"
login_by_tls() {
    mkdir -p certs && cp tls.crt certs/ca.crt && skopeo login --cert-dir certs -u ann -p ann-secret "${url#https://}"
}
if command -v skopeo >/dev/null; then check skopeo_logs_in_by_tls login_by_tls; fi
