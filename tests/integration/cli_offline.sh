#!/usr/bin/env bash
# What `shoal` does without any daemon: usage, manifests, keys, images in the local store, and what
# it says when nobody answers.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "$0")/lib.sh"

export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
unset SHOAL_ADDRESS SHOAL_REGISTRY SHOAL_IMAGES
closed=127.0.0.1:$(free_port)
cd "$work" || exit 1

# --- usage: exit 2, with the way out ---
expect unknown_command_exits_2 2 'did you mean "deploy"\?' shoal deplyo
expect unknown_option_exits_2 2 'did you mean --detach\?' shoal deploy -f x --detahc
expect missing_argument_exits_2 2 'push needs REF' shoal push
expect missing_file_option_exits_2 2 'deploy needs --file FILE' shoal deploy
expect bad_number_exits_2 2 'allowed are whole numbers' shoal logs hello --tail many
expect bad_scale_exits_2 2 'expected SERVICE=N' shoal scale hello
expect bad_service_name_exits_2 2 'not the name of a service' shoal status Hello
expect bad_format_exits_2 2 'table, wide, json, yaml' shoal ps -o xml
expect bad_kind_exits_2 2 'service, instance, node, key, policy, image' shoal inspect thing x
expect bad_address_exits_1 1 'is not an address' shoal --address 'http://a b' ps
expect help_at_the_top 0 'Commands:' shoal --help
expect help_of_a_noun 0 'Usage: shoal image COMMAND' shoal image --help
expect help_of_a_verb 0 'Usage: shoal deploy --file FILE' shoal help deploy
expect noun_form_of_a_verb 0 'Usage: shoal scale' shoal service scale --help
expect nothing_asked_shows_help 2 'Usage: shoal' shoal

# --- completion ---
complete_words() {
    bash -c 'eval "$(shoal completion bash)"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shoal; printf "%s\n" "${COMPREPLY[@]}"' _ "$@"
}
check completion_is_bash bash -n <(shoal completion bash)
expect completion_of_a_verb 0 '^rollback$' complete_words shoal rollb
expect completion_of_a_noun_form 0 '^scale$' complete_words shoal service sc
expect completion_of_an_option 0 '^--wait-for-room$' complete_words shoal deploy --wai
: >"$work/some-manifest.yaml"
expect completion_of_a_file 0 'some-manifest.yaml' complete_words shoal deploy -f some

# --- manifests ---
cat >good.yaml <<'YAML'
service: hello
image: hello:1.0
replicas: 3
ports:
  - {name: http, port: 8080, publish: 8080}
YAML
expect valid_manifest 0 '^default/hello: valid$' shoal validate -f good.yaml
expect valid_manifest_in_a_namespace 0 '^team/hello: valid$' shoal validate -n team -f good.yaml
expect manifest_from_standard_input 0 'hello: valid' bash -c 'shoal validate -f - <good.yaml'
printf 'replicsa: 3\n' | cat good.yaml - >bad.yaml
expect unknown_key_has_its_place 1 '^shoal: bad.yaml:6:1: unknown key "replicsa": allowed are ' \
    shoal validate -f bad.yaml
sed 's/replicas: 3/replicas: many/' good.yaml >bad.yaml
expect wrong_type_has_its_place 1 '^shoal: bad.yaml:3:11: expected a whole number, found "many"' \
    shoal validate -f bad.yaml
printf 'secrets: []\n' | cat good.yaml - >bad.yaml
expect key_not_built_yet_has_its_place 1 '^shoal: bad.yaml:6:10: .*not supported yet' \
    shoal validate -f bad.yaml
{ cat good.yaml; echo ---; sed 's/hello/other/; s/port: 8080/port: 0/' good.yaml; } >bad.yaml
expect mistake_in_the_second_service 1 '^shoal: bad.yaml:11:24: 0 is out of range' \
    shoal validate -f bad.yaml
printf 'a: &x 1\n' >bad.yaml
expect anchor_is_refused 1 '^shoal: bad.yaml:1:4: anchors are not allowed' shoal validate -f bad.yaml
expect deploy_refuses_before_it_calls 1 'bad.yaml:1:4' \
    shoal deploy --address "$closed" -f bad.yaml
expect missing_manifest_is_named 1 'no-such.yaml: No such file' shoal validate -f no-such.yaml

# --- keys ---
expect keygen_makes_a_pair 0 'shoal.pub' shoal keygen shoal
check private_key_is_private test "$(stat -c %a shoal.key)" = 600
check public_key_is_public test "$(stat -c %a shoal.pub)" = 644
check key_is_p256 bash -c 'openssl pkey -in shoal.key -noout -text | grep -q prime256v1'
check public_key_belongs_to_it cmp shoal.pub <(openssl pkey -in shoal.key -pubout)
before=$(sha256sum shoal.key shoal.pub)
expect keygen_never_overwrites 1 'exists already: keys are never overwritten' shoal keygen shoal
rm shoal.key
expect keygen_never_overwrites_the_public_half 1 'shoal.pub exists already' shoal keygen shoal
check no_private_key_is_left_then test ! -e shoal.key
check the_public_half_is_unchanged grep -q "$(sha256sum <shoal.pub | cut -d' ' -f1)" <<<"$before"

# --- images in the local store ---
recipe=$BUILD/examples/hello/v1
if [ -f "$recipe/hello-amd64.elf" ]; then
    expect build_puts_an_image_into_the_store 0 'default/hello:1.0: built' \
        shoal build "$recipe" -t hello:1.0
    digest=$(shoal image list -o json | jq -r '.images[0].digest')
    expect image_is_listed 0 'default/hello:1.0 +sha256:[0-9a-f]{12} ' shoal image ls
    expect image_is_an_oci_layout 0 "$digest" cat "$XDG_DATA_HOME/shoal/images/index.json"
    check image_can_be_inspected bash -c \
        'shoal inspect image hello:1.0 | jq -e ".manifests[0].config.digest"'
    shoal build "$recipe" -t again >/dev/null
    check the_same_recipe_gives_the_same_digest test "$digest" = \
        "$(shoal image list -o json | jq -r '.images[] | select(.name == "default/again:latest") | .digest')"
    expect image_is_removed 0 'default/again:latest: removed' shoal image rm again
    expect removed_image_is_gone 1 'again' shoal image rm again
    expect push_names_the_silent_registry 1 "the registry at http://$closed cannot be reached" \
        shoal push hello:1.0 --registry "$closed"
    expect another_store_is_empty 1 'build it with .shoal build DIR -t hello:1.0' \
        env SHOAL_IMAGES="$work/other" shoal push hello:1.0
else
    skip build "no example is built under $BUILD"
fi
expect build_without_a_recipe 1 'Unikernel.yaml' shoal build "$work" -t x
expect bad_image_name 1 'not a repository' shoal build "$work" -t 'Bad Name'
expect push_without_its_key 1 'there is no key nokey.key: make one with `shoal keygen' \
    shoal push hello:1.0 --sign nokey.key

# --- nobody answers ---
expect silent_scheduler_is_named 1 "the scheduler at http://$closed \(--address\) cannot be reached" \
    shoal ps --address "$closed"
expect silent_scheduler_has_a_remedy 1 'shoal up' shoal ps --address "http://$closed/"
expect environment_names_the_scheduler 1 'SHOAL_ADDRESS' env SHOAL_ADDRESS="$closed" shoal ps
mkdir -p "$XDG_CONFIG_HOME/shoal"
printf '{"current": "c", "contexts": [{"name": "c", "scheduler": "http://%s"}]}' "$closed" \
    >"$XDG_CONFIG_HOME/shoal/config.json"
expect context_names_the_scheduler 1 "http://$closed \(context\)" shoal ps
printf '{"current": 1}' >"$XDG_CONFIG_HOME/shoal/config.json"
expect broken_context_is_named 1 'config.json: expected a text' shoal ps
rm "$XDG_CONFIG_HOME/shoal/config.json"
check errors_are_one_json_document bash -c \
    "shoal ps -o json --address $closed 2>/dev/null | jq -e '.error.code == \"unavailable\"'"
expect doctor_says_what_mends_it 1 '^scheduler +failed .*; start it \(shoal up\)' \
    shoal doctor --address "$closed" --registry "$closed"
expect version_without_daemons 0 'scheduler +not reachable' shoal version --address "$closed" \
    --registry "$closed"

# --- a reader that leaves, and a disk that does not take it ---
reader_leaves() {
    exec 3> >(exit 0)
    sleep 0.3
    shoal help >&3 2>"$work/said"
    local status=$?
    exec 3>&-
    [ $status -ne 0 ] && [ ! -s "$work/said" ]
}
check a_reader_that_left_is_not_scolded reader_leaves
full_output() { shoal help >/dev/full; }
expect a_failed_write_is_an_error 1 'cannot write to standard output' full_output

# --- up needs root ---
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    # Where anyone may run it: the build folder may be somebody's own.
    chmod 711 "$work"
    install -m 755 "$(command -v shoal)" "$work/shoal"
    expect up_needs_root 1 'needs root' setpriv --reuid 65534 --clear-groups -- \
        env XDG_CONFIG_HOME=/tmp/nowhere "$work/shoal" up
fi
