#!/usr/bin/env bash
# Keys as others make and read them: OpenSSL's, and cosign's under a password, which TweetNaCl and
# Node.js open and close beside us.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

root=$(cd "$here/../.." && pwd)
tools=$root/build/tools/sigstore
unset COSIGN_PASSWORD
start_registry registry
export SHOAL_REGISTRY=$url SHOAL_IMAGES=$work/images
export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data HOME=$work
cd "$work" || exit 1
shoal build "$BUILD/examples/hello/v1" -t hello:1.0 >/dev/null

# signs_by KEY PUB: an image signed by KEY verifies by PUB.
signs_by() {
    shoal push hello:1.0 >/dev/null 2>&1 && shoal image sign hello:1.0 --key "$1" &&
        shoal verify hello:1.0 --key "$2"
}

# --- plain keys ---
check keygen_makes_a_pair shoal keygen plain
check the_private_key_is_readable_by_its_owner_alone [ "$(stat -c %a plain.key)" = 600 ]
expect a_key_is_never_overwritten 1 'plain.key exists already' shoal keygen plain
check openssl_reads_the_private_key openssl pkey -in plain.key -noout
check a_plain_key_signs signs_by plain.key plain.pub
openssl ecparam -name prime256v1 -genkey -out sec1.key 2>/dev/null
openssl pkey -in sec1.key -pubout -out sec1.pub
expect openssls_older_form_is_what_is_tested 0 'BEGIN EC PRIVATE KEY' cat sec1.key
check openssls_older_form_signs signs_by sec1.key sec1.pub
openssl ecparam -name secp384r1 -genkey -noout -out p384.key 2>/dev/null
expect another_curve_is_refused 1 'p384.key: the private key is not an EC key on P-256' \
    shoal image sign hello:1.0 --key p384.key
openssl pkcs8 -topk8 -in plain.key -passout pass:x -out pkcs8.key
expect openssls_encrypted_form_is_refused_with_a_way_out 1 'not in cosign.s form: take the password off' \
    shoal image sign hello:1.0 --key pkcs8.key

# --- under a password ---
export COSIGN_PASSWORD=correct
check keygen_encrypts_when_a_password_is_set shoal keygen sealed
expect it_is_cosigns_block 0 'BEGIN ENCRYPTED SIGSTORE PRIVATE KEY' cat sealed.key
check an_encrypted_key_signs signs_by sealed.key sealed.pub
COSIGN_PASSWORD=wrong expect a_wrong_password_is_told 1 'sealed.key: the password does not open the key' \
    shoal image sign hello:1.0 --key sealed.key
COSIGN_PASSWORD='' expect an_empty_password_is_one 1 'the password does not open the key' \
    shoal image sign hello:1.0 --key sealed.key
empty_pair() { COSIGN_PASSWORD='' shoal keygen empty && COSIGN_PASSWORD='' signs_by empty.key empty.pub; }
check a_key_under_the_empty_password_signs empty_pair
unset COSIGN_PASSWORD
expect without_password_and_terminal_the_remedy_is_told 1 'sealed.key needs a password.*set COSIGN_PASSWORD' \
    setsid shoal image sign hello:1.0 --key sealed.key

# at_terminal COMMAND ANSWER...: on a terminal of its own, each answer behind a prompt. What was
# shown is in the file shown.
at_terminal() {
    local command=$1 answer status
    shift
    : >shown
    mkfifo keys
    script -qefc "$command" /dev/null <keys >shown 2>&1 &
    local pid=$!
    exec 4>keys
    rm keys
    local prompts=0
    for answer in "$@"; do
        prompts=$((prompts + 1))
        wait_for 20 prompted $prompts || break
        printf '%s\r' "$answer" >&4
    done
    wait "$pid"
    status=$?
    exec 4>&-
    return $status
}
prompted() { [ "$(grep -aoE '(key|again): |Password of [^:]*: ' shown | wc -l)" -ge "$1" ]; }
typed_pair() { at_terminal 'shoal keygen typed --passphrase' 'open sesame' 'open sesame'; }
check keygen_asks_twice typed_pair
check the_password_is_not_shown bash -c '! grep -q sesame shown'
check the_typed_password_opens_the_key env COSIGN_PASSWORD='open sesame' \
    shoal image sign hello:1.0 --key typed.key
check signing_asks_for_it at_terminal 'shoal image sign hello:1.0 --key typed.key' 'open sesame'
typed_twice_differently() { ! at_terminal 'shoal keygen differ --passphrase' one two; }
check two_different_passwords_make_no_key typed_twice_differently
check and_leave_no_file [ ! -e differ.key ]
expect the_reason_is_told 0 'the two passwords differ' cat shown

# --- by somebody else's code ---
if [ ! -e "$tools/fetched" ]; then
    reason="npm was not asked: make check does"
    [ -e "$tools/npm.log" ] && reason=$(grep -m 1 -i 'err' "$tools/npm.log" || tail -n 1 "$tools/npm.log")
    command -v npm >/dev/null || reason="there is no npm"
    skip keys_of_others "TweetNaCl could not be fetched: $reason"
    exit 0
fi
others() { NODE_PATH=$tools/node_modules node "$root/tests/tools/sigstore/sigstore.js" "$@"; }
opened_is_ours() {
    others open sealed.key correct >opened.pem && openssl pkey -in opened.pem -pubout | cmp - sealed.pub
}
check tweetnacl_opens_our_key opened_is_ours
# sealed_by_others N [BLOCK]: a key of OpenSSL's, encrypted by others, signs here.
sealed_by_others() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out raw.key 2>/dev/null &&
        openssl pkey -in raw.key -pubout -out theirs.pub &&
        others seal raw.key 'their password' "$@" >theirs.key &&
        COSIGN_PASSWORD='their password' signs_by theirs.key theirs.pub
}
check a_key_as_cosign_2_writes_it_signs sealed_by_others 65536
check a_key_as_cosign_1_wrote_it_signs sealed_by_others 32768 'ENCRYPTED COSIGN PRIVATE KEY'
check a_key_at_owasps_cost_signs sealed_by_others 131072
