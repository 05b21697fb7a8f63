#!/bin/bash
# Requests that are cut off behind any of their bytes leave nothing half done; slow ones are
# answered as fast ones are.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

cd "$work" || exit 1
# Thousands of small pushes: not on the disk, where every one waits for it.
mkdir registry
trap 'status=$?; before_end; umount -l "$work/registry" 2>/dev/null; (exit $status); finish' EXIT
mount -t tmpfs -o size=256m tmpfs registry 2>/dev/null
start_registry registry
port=${url##*:}
driver=$BUILD/tests/registry_cut

# Its lines are this script's: cut EXCHANGE...
cut_off() {
    "$driver" "$port" "$@" >driver.out 2>&1 || failures=$((failures + 1))
    cat driver.out
}
cut_off whole_blob patch patch_expecting patch_chunked patch_ranged put_with_bytes put_at_the_end
# Each of these uploads went on and became a blob, and a cut-off POST of a whole blob has none.
no_uploads() { [ -z "$(find registry/uploads -type f)" ] || { find registry/uploads | head; return 1; }; }
check nothing_is_left_of_them wait_for 10 no_uploads
cut_off manifest mount range reads manifest_delete blob_delete upload_delete upload_start

# --- readers that go away ---
head -c 3000000 /dev/urandom >large
check a_large_blob push_blob readers large
readers_vanish() {
    local bytes
    for bytes in 0 1 100 4000 70000 1000000 2999999; do
        curl -sS "$url/v2/readers/blobs/$(digest_of large)" | head -c "$bytes" >/dev/null
    done 2>/dev/null
    http 200 "$url/v2/readers/blobs/$(digest_of large)" && body_is large
}
check readers_that_go_away_hurt_nobody readers_vanish

# --- after all that ---
check the_registry_answers http 200 "$url/v2/"
check every_blob_on_disk_is_whole blobs_are_whole registry
