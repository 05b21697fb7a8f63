#!/bin/bash
# What keeps a registry in order over the years: garbage collection, retention, scrub, backup,
# restore; by the registry that runs, and without one.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"
cd "$work" || exit 1
registry=$BUILD/bin/shoal-registry
printf '{}' >config
head -c 100000 /dev/urandom >kernel
write_manifest manifest config kernel

push_image() { # REPOSITORY TAG SEED: an image of its own
    printf '{"n": "%s"}' "$3" >"config.$3" && head -c 20000 /dev/urandom >"kernel.$3" &&
        write_manifest "manifest.$3" "config.$3" "kernel.$3" && push_blob "$1" "config.$3" &&
        push_blob "$1" "kernel.$3" && put_manifest 201 "$1" "$2" "manifest.$3"
}

# --- retention ---
cat >settings.json <<JSON
{"collection": {"grace": "1ms", "every": "0s"},
 "policies": [{"repositories": ["kept/**"], "immutable": ["v*"], "retention": {"keep_last": 1}},
              {"repositories": ["small"], "quota": "50Ki"}]}
JSON
start_registry registry "$work/registry" --config settings.json
tags_of() { http 200 "$url/v2/$1/tags/list" && jq -c .tags body; }
retain() {
    push_image kept/app old 1 && push_image kept/app v1 2 && push_image kept/app mid 3 &&
        push_image kept/app new 4 && push_image other/app old 5 &&
        "$registry" retain --state registry --dry-run | grep -q '  kept/app:old$' && [ "$(tags_of kept/app)" = '["mid","new","old","v1"]' ] &&
        "$registry" retain --state registry -o json >report &&
        jq -e '.tags == 2 and .kept == 2 and .manifests.count == 2 and (.removed | sort) == ["kept/app:mid", "kept/app:old"]' report &&
        [ "$(tags_of kept/app)" = '["new","v1"]' ] && [ "$(tags_of other/app)" = '["old"]' ] &&
        http 404 "$url/v2/kept/app/manifests/$(digest_of manifest.1)"
}
check retention_keeps_the_last_and_the_immutable retain

signed() { # an image with a signature by tag and one by subject, which go with it
    local digest
    digest=$(digest_of manifest.6)
    write_manifest by-subject config.6 kernel.6 \
        "\"subject\": {\"mediaType\": \"$manifest_type\", \"digest\": \"$digest\", \"size\": 1}"
    write_manifest by-tag config.6 kernel.6 '"annotations": {"by": "tag"}'
    put_manifest 201 kept/signed "$(digest_of by-subject)" by-subject &&
        put_manifest 201 kept/signed "${digest/:/-}.sig" by-tag
}
retain_signed() {
    push_image kept/signed one 6 && signed && push_image kept/signed two 7 &&
        "$registry" retain --state registry &&
        [ "$(tags_of kept/signed)" = '["two"]' ] &&
        http 404 "$url/v2/kept/signed/manifests/$(digest_of manifest.6)" &&
        http 404 "$url/v2/kept/signed/manifests/$(digest_of by-subject)" &&
        http 404 "$url/v2/kept/signed/manifests/$(digest_of by-tag)"
}
check signatures_go_with_what_they_sign retain_signed

# --- garbage collection by command ---
collect() {
    sleep 0.1
    "$registry" gc --state registry --dry-run -o json >report &&
        jq -e '.dry_run and .blobs.count >= 6' report &&
        http 200 "$url/v2/kept/app/blobs/$(digest_of kernel.1)" &&
        sleep 0.1 && "$registry" gc --state registry >text && grep -q 'blobs that no manifest' text &&
        http 404 "$url/v2/kept/app/blobs/$(digest_of kernel.1)" &&
        [ ! -e "registry/blobs/sha256/$(sha256sum kernel.1 | cut -c1-2)/$(sha256sum kernel.1 | cut -d' ' -f1)" ] &&
        http 200 "$url/v2/kept/app/blobs/$(digest_of kernel.4)"
}
check garbage_is_collected_when_told collect

waiting() { # what was pushed just now is said to wait
    start_registry waiting && push_blob fresh kernel && "$registry" gc --state waiting -o json >report &&
        jq -e '.blobs.count == 0 and .waiting.count == 1 and .waiting.bytes == 100000' report &&
        "$registry" gc --state waiting | grep -q 'within the grace' && kill_registry TERM
}
running=("$registry_pid" "$url")
check what_the_grace_keeps_is_said waiting
registry_pid=${running[0]} url=${running[1]}

# --- scrub ---
path_of_blob() { # FILE [STATE]
    local hex
    hex=$(sha256sum "$1" | cut -d' ' -f1)
    echo "${2:-registry}/blobs/sha256/${hex:0:2}/$hex"
}
scrub_clean() { "$registry" scrub --state registry --rate 100Mi >text && grep -q 'All is as it should be' text; }
check a_sound_store_is_said_to_be scrub_clean
damage() {
    printf 'X' | dd of="$(path_of_blob kernel.4)" bs=1 seek=100 conv=notrunc 2>/dev/null
    rm "$(path_of_blob kernel.5)"
    expect a_dry_scrub_finds_the_damage 3 'left in place' "$registry" scrub --state registry --dry-run
    expect a_scrub_finds_the_damage 3 "$(digest_of kernel.4)" "$registry" scrub --state registry
    ls registry/quarantine/"sha256-$(sha256sum kernel.4 | cut -d' ' -f1)".*
}
check what_is_damaged_is_put_away damage
names_images() { # in the report before, and what cannot be read ends nothing
    "$registry" scrub --state registry -o json >report
    jq -e '.images | sort == ["kept/app:new", "other/app:old"]' report &&
        mv "$(path_of_blob kernel.2)" kept && mkdir "$(path_of_blob kernel.2)" &&
        ! "$registry" scrub --state registry -o json >report &&
        jq -e ".unreadable == [\"$(digest_of kernel.2)\"] and .blobs > 3 and (.images | index(\"kept/app:v1\"))" report &&
        rmdir "$(path_of_blob kernel.2)" && mv kept "$(path_of_blob kernel.2)"
}
check the_images_that_need_it_are_named names_images
missing() { "$registry" scrub --state registry -o json >report; jq -e ".missing | index(\"$(digest_of kernel.5)\")" report; }
check what_is_missing_is_named missing
mended() {
    http 404 "$url/v2/kept/app/blobs/$(digest_of kernel.4)" && push_blob kept/app kernel.4 &&
        push_blob other/app kernel.5 && http 200 "$url/v2/kept/app/blobs/$(digest_of kernel.4)" &&
        body_is kernel.4 && "$registry" scrub --state registry
}
check pushing_again_mends mended

# --- backup and restore ---
back_up() {
    "$registry" backup --state registry --to copy >text && grep -q '^Backup: ' text &&
        [ -f copy/backup.json ] && push_image other/app second 8 &&
        "$registry" backup --state registry --to copy -o json >report &&
        jq -e '.copied == 2 and (.missing | length) == 0' report
}
check a_backup_of_a_running_registry_grows back_up
push_apart() { # NUMBER: with answers in a folder of its own
    local work=$work/b$1
    mkdir "$work" && cd "$work" && push_image busy "t$1" "$1"
}
# --- what a backup must never do ---
mkdir foreign && touch foreign/file
expect a_backup_into_its_own_state_is_refused 1 "own state" "$registry" backup --state registry --to registry
expect or_below_it 1 "own state" "$registry" backup --state registry --to "$work/registry/blobs/x"
expect over_another_registrys_state_too 1 'state of a registry' "$registry" backup --state registry --to waiting
expect and_into_a_folder_of_something_else 1 'no backup' "$registry" backup --state registry --to foreign
old_one_stays() { # an earlier backup is whole until the next is
    local before
    cp -r copy interrupted && before=$(sha256sum <interrupted/metadata.db) && push_image other/app third 9 &&
        chattr +i interrupted/blobs/sha256/* 2>/dev/null
    "$registry" backup --state registry --to interrupted && chattr -i interrupted/blobs/sha256/* && return 1
    chattr -i interrupted/blobs/sha256/*
    [ "$(sha256sum <interrupted/metadata.db)" = "$before" ] &&
        "$registry" restore --from interrupted --state from-interrupted && "$registry" scrub --state from-interrupted
}
if touch attribute && chattr +i attribute 2>/dev/null; then
    chattr -i attribute
    check a_backup_that_fails_leaves_the_one_before old_one_stays
else
    skip a_backup_that_fails_leaves_the_one_before "no immutable files here"
fi
backup_goes_on() { # past what cannot be read, and takes what an earlier one has
    mv "$(path_of_blob kernel.8)" away && mkdir "$(path_of_blob kernel.8)"
    ! "$registry" backup --state registry --to anew -o json >report &&
        jq -e ".missing == [\"$(digest_of kernel.8)\"]" report && [ -f anew/backup.json ] &&
        "$registry" backup --state registry --to copy -o json >report && jq -e '.missing == []' report
    local status=$?
    rmdir "$(path_of_blob kernel.8)" && mv away "$(path_of_blob kernel.8)"
    return $status
}
check one_blob_that_cannot_be_read_does_not_end_a_backup backup_goes_on
cancels_scrub() { "$registry" cancel --state registry -o json | jq -e '.task == "scrub"'; }
cancelled() {
    "$registry" scrub --state registry --rate 1 >scrub.out 2>&1 &
    local scrub=$!
    wait_for 10 cancels_scrub || return 1
    wait "$scrub" && return 1
    grep -q cancelled scrub.out && "$registry" cancel --state registry | grep -q 'Nothing is under way'
}
check a_scrub_is_cancelled cancelled
backup_during_push() { # pushes that run meanwhile are whole in it, or not there
    local i pids=''
    for i in 20 21 22 23; do
        push_apart "$i" >/dev/null &
        pids="$pids $!"
    done
    "$registry" backup --state registry --to "$work/busy" || return 1
    for i in $pids; do wait "$i" || return 1; done
    "$registry" restore --from busy --state "$work/busy-restored" &&
        "$registry" scrub --state "$work/busy-restored"
}
check a_backup_under_pushes_is_sound backup_during_push
make_blob() { # FIRST: a file named by it, whose digest begins with that digit
    local i=0
    while printf '%s %d' "$1" $((i++)) >"$1" && [[ $(digest_of "$1") != sha256:"$1"* ]]; do :; done
}
push_many() { # more blobs than are listed at once
    local i
    mkdir many && for i in $(seq 600); do printf 'many %d' "$i" >"many/$i"; done
    for i in many/*; do
        [ "$i" = many/1 ] || echo next
        printf 'url = "%s/v2/other/app/blobs/uploads/?digest=%s"\ndata-binary = "@%s"\n' "$url" "$(digest_of "$i")" "$i"
        printf 'header = "Content-Type: application/octet-stream"\noutput = /dev/null\n'
    done >many.curl
    curl -sS --fail-early -f -K many.curl
}
deleted_meanwhile() { # the copying of the first blob waits while the last one goes
    local backup first
    make_blob 0 && make_blob f && push_blob other/app 0 && push_blob other/app f && push_many || return 1
    first=$(path_of_blob 0)
    rm "$first" && mkfifo "$first"
    "$registry" backup --state registry --to "$work/meanwhile" -o json >report &
    backup=$!
    wait_for 20 test -e meanwhile/metadata.db.new && http 202 -X DELETE "$url/v2/other/app/blobs/$(digest_of f)"
    : >"$first"
    wait "$backup"
    rm "$first" && push_blob other/app 0 && jq -e ".missing | index(\"$(digest_of f)\")" report
}
check a_backup_says_what_was_deleted_meanwhile deleted_meanwhile
expect a_restore_into_a_running_registrys_folder_is_refused 1 'in use by another' \
    "$registry" restore --from copy --state registry
kill_registry TERM
lost_metadata() { # never a registry that seems empty, and collects its blobs
    cp -r restored lost && rm lost/metadata.db*
    expect blobs_without_metadata_are_refused 1 'there are blobs and no' \
        timeout 20 "$registry" --port 0 --state lost
}
cp -r copy other-format && echo '{"format": 2}' >other-format/backup.json
expect a_backup_of_another_format_is_refused 1 'format that this version does not know' \
    "$registry" restore --from other-format --state nowhere
echo 'xx' >other-format/backup.json
expect a_mark_that_is_none_is_refused 1 'backup.json' "$registry" restore --from other-format --state nowhere
echo '{"policies": [{"repositories": ["**"], "retention": {"keep_last": 0}}]}' >nothing.json
expect a_retention_that_keeps_nothing_is_refused 2 '/policies/0/retention keeps nothing' \
    "$registry" retain --state registry --config nothing.json
expect a_restore_over_a_registry_is_refused 1 'holds a registry already' \
    "$registry" restore --from copy --state registry
expect a_folder_that_is_no_backup_is_refused 1 'no complete backup' \
    "$registry" restore --from registry --state nowhere
mkdir leftover && : >leftover/metadata.db-wal
expect a_restore_beside_an_old_log_is_refused 1 'metadata.db-wal is left' \
    "$registry" restore --from copy --state leftover
printf 'Y' | dd of="$(path_of_blob config.8 copy)" bs=1 conv=notrunc 2>/dev/null
expect a_damaged_backup_is_said 3 'gone or damaged' "$registry" restore --from copy --state damaged
cp config.8 "$(path_of_blob config.8 copy)"
restore() {
    "$registry" restore --from copy --state restored && start_registry restored &&
        [ "$(tags_of kept/app)" = '["new","v1"]' ] && http 200 "$url/v2/kept/app/manifests/new" &&
        body_is manifest.4 && http 200 "$url/v2/kept/app/blobs/$(digest_of kernel.4)" &&
        body_is kernel.4 && http 200 "$url/v2/other/app/manifests/second" && body_is manifest.8
}
check a_restored_registry_has_it_all restore
kill_registry TERM

lost_metadata

# --- without a registry that runs ---
without() {
    "$registry" gc --state restored --config settings.json -o json >report &&
        "$registry" scrub --state restored && "$registry" retain --state restored --config settings.json &&
        "$registry" backup --state restored --to "$work/offline" && [ -f offline/backup.json ]
}
check all_of_it_works_without_a_running_registry without
expect a_state_that_is_none_is_refused 1 'holds no registry' "$registry" gc --state /tmp/none
expect a_retain_without_policies_says_so 0 'no repository has a policy with retention: give' \
    "$registry" retain --state restored --dry-run
held() { # LONG-STATE: of one that runs
    [ "$(<"$1/lock")" = "$registry_pid" ] && ! "$registry" --port 0 --state "$1" 2>text &&
        grep -q "in use by another shoal-registry, process $registry_pid:" text &&
        ! "$registry" gc --state "$1" 2>text && grep -q 'cannot be asked.*longer than a socket' text &&
        ln -s "$1" short && ! "$registry" gc --state short 2>text && ! grep -q 'cannot be asked' text
}
long=$work/$(printf 'x%.0s' {1..120})
start_registry long "$long"
check who_has_a_state_is_named held "$long"
kill_registry TERM
start_registry restored
echo '{"collection": {"grace": "5m"}}' >other.json
expect settings_given_for_a_running_registry_are_said_not_to_count 0 'other.json told where it is' \
    "$registry" gc --state restored --dry-run --config other.json
kill_registry TERM
as_nobody() { # COMMAND: as a user who may not look into the state
    cp "$registry" "$work/shoal-registry" && chmod 755 "$work" && chmod 700 restored &&
        setpriv --reuid 65534 --regid 65534 --clear-groups "$work/shoal-registry" "$@"
}
[ "$(id -u)" -ne 0 ] || expect who_may_not_look_is_told_so 1 "restored: Permission denied: run it as" \
    as_nobody gc --state "$work/restored"
expect a_file_of_users_that_is_not_there_is_said_to_be_so 1 '^shoal-registry: passwd: .*No such file' \
    "$registry" passwd --remove alice --file nowhere.users
expect a_backup_needs_a_target 2 '\-\-to DIR' "$registry" backup --state restored
expect a_wrong_rate_is_2 2 'no size' "$registry" scrub --rate fast
expect an_unknown_command_is_2 2 'no command "clean"' "$registry" clean
expect an_unknown_option_has_the_same_prefix 2 '^shoal-registry: gc: there is no option --no$' "$registry" gc --no
expect so_has_one_without_its_value 2 '^shoal-registry: scrub: --rate needs a value$' "$registry" scrub --rate
expect so_has_one_of_serve 2 '^shoal-registry: serve: there is no option -x$' "$registry" -x
one_line() { [ "$("$registry" GC 2>&1 | wc -l)" -eq 1 ]; }
check a_wrong_command_takes_one_line one_line
fails_in_json() {
    ! "$registry" gc --state /tmp/none -o json >report && jq -e '.error.code == "not_found"' report &&
        ! "$registry" cancel --state /tmp/none -o json >report && jq -e '.error.code == "unavailable"' report
}
check a_failure_is_json_when_asked fails_in_json
help_of_all() {
    local command
    for command in serve gc retain scrub backup restore cancel passwd; do
        "$registry" $command --help >text && grep -q "^usage: shoal-registry.*$command" text &&
            [ "$("$registry" $command -h)" = "$(<text)" ] &&
            [ "$("$registry" help $command)" = "$(<text)" ] || return 1
    done
    "$registry" -h | grep -q '^Exit codes: '
}
check every_command_explains_itself help_of_all
no_socket_left() { [ ! -e restored/control.sock ] && [ ! -e registry/control.sock ]; }
check no_socket_is_left no_socket_left
