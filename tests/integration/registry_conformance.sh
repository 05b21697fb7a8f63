#!/bin/bash
# A walk through the registry in the order, and with the choices of status, of the distribution
# spec's own conformance suite: ways to push a blob, by both algorithms; then for each kind of
# content push, list, head, pull, referrers, delete; then errors.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry conformance
cd "$work" || exit 1
repository=conformance/repo1 other=conformance/repo2
bytes_type='Content-Type: application/octet-stream'

digest_by() { echo "$1:$("${1}sum" "$2" | cut -d' ' -f1)"; } # ALGORITHM FILE

# answers "STATUS..." CURL-ARGUMENTS...: one of them.
answers() {
    local status wanted=$1
    shift
    status=$(curl -sS -o body -D headers -w '%{http_code}' --max-time 60 "$@") || return 1
    [[ " $wanted " == *" $status "* ]] || { echo "status $status, not one of $wanted: $*"; cat body; return 1; }
}
follow() { location=$url$(header Location); [ "$location" != "$url" ]; } # the next request's URL

# --- the ways to push FILE with DIGEST to REPOSITORY; `expected` is 201, or 400 for bad digests ---
expected=201
post_only() { answers $expected -X POST -H "$bytes_type" --data-binary "@$2" "$url/v2/$1/blobs/uploads/?digest=$3"; }
post_put() {
    answers 202 -X POST "$url/v2/$1/blobs/uploads/" && follow &&
        answers $expected -X PUT -H "$bytes_type" --data-binary "@$2" "$location?digest=$3"
}
send_chunk() { # METHOD FILE FIRST LAST STATUS
    tail -c +$(($3 + 1)) "$2" | head -c $(($4 - $3 + 1)) >chunk
    answers "$5" -X "$1" -H "$bytes_type" -H "Content-Range: $3-$4" --data-binary @chunk "$location$6"
}
chunked() { # REPOSITORY FILE DIGEST [ordered|disordered [put]]: three parts
    local size part first=0 last method status query
    size=$(size_of "$2") part=$((size / 3 + 1))
    answers 202 -X POST -H 'Content-Length: 0' "$url/v2/$1/blobs/uploads/" && follow || return 1
    while [ $first -lt "$size" ]; do
        if [ "${4:-}" = disordered ]; then
            local bad=$((first + part))
            [ $bad -lt "$size" ] || bad=0
            last=$((bad + part - 1))
            send_chunk PATCH "$2" $bad $((last < size ? last : size - 1)) 416 "" && follow &&
                answers 204 "$location" && follow && [[ $(header Range) == 0-* ]] || return 1
            [ $first -eq 0 ] || header_is Range 0-$((first - 1)) || return 1
        fi
        last=$((first + part - 1)) method=PATCH status=202 query=
        [ $last -lt "$size" ] || last=$((size - 1))
        [ "${5:-}" = put ] && [ $last -eq $((size - 1)) ] && method=PUT status=$expected query="?digest=$3"
        send_chunk $method "$2" $first $last "$status" "$query" || return 1
        [ "$method" = PUT ] || follow || return 1
        first=$((last + 1))
    done
    [ "${5:-}" = put ] || answers $expected -X PUT -H 'Content-Length: 0' -H "$bytes_type" "$location?digest=$3"
}
stream() {
    answers 202 -X POST -H 'Content-Length: 0' "$url/v2/$1/blobs/uploads/" && follow &&
        answers 202 -X PATCH -H "$bytes_type" -H 'Transfer-Encoding: chunked' --data-binary "@$2" "$location" &&
        follow && answers $expected -X PUT -H 'Content-Length: 0' "$location?digest=$3"
}
mount_from() { answers 201 -X POST "$url/v2/$1/blobs/uploads/?mount=$3${4:+&from=$4}"; }
cancel() { answers 202 -X POST "$url/v2/$1/blobs/uploads/" && follow && answers 204 -X DELETE "$location"; }

location_leads_to() { # FILE DIGEST: after a push
    header_is Docker-Content-Digest "$2" && follow && answers 200 "$location" && cmp body "$1"
}
blob_pulls() { # FILE DIGEST
    answers 200 -I "$url/v2/$repository/blobs/$2" && header_is Content-Length "$(size_of "$1")" &&
        header_is Docker-Content-Digest "$2" && answers 200 "$url/v2/$repository/blobs/$2" && cmp body "$1" &&
        header_is Content-Length "$(size_of "$1")" && header_is Docker-Content-Digest "$2"
}
blob_goes() { # DIGEST [REPOSITORY]
    answers '202 404' -X DELETE "$url/v2/${2:-$repository}/blobs/$1" &&
        answers 404 -I "$url/v2/${2:-$repository}/blobs/$1"
}
push_way() { # ALGORITHM WAY [ARGUMENTS]: a new blob, there and back
    local digest algorithm=$1 way=$2
    shift 2
    head -c 3067 /dev/urandom >blob
    digest=$(digest_by "$algorithm" blob)
    answers 404 "$url/v2/$repository/blobs/$digest" && "$way" "$repository" blob "$digest" "$@" &&
        location_leads_to blob "$digest" && blob_pulls blob "$digest" && blob_goes "$digest"
}
mount_way() { # ALGORITHM [FROM]
    local digest
    head -c 512 /dev/urandom >blob
    digest=$(digest_by "$1" blob)
    post_put "$other" blob "$digest" && mount_from "$repository" blob "$digest" "${2:-}" &&
        location_leads_to blob "$digest" && blob_pulls blob "$digest" && blob_goes "$digest" &&
        blob_goes "$digest" "$other"
}
mount_missing() {
    local digest
    head -c 512 /dev/urandom >blob
    digest=$(digest_by "$1" blob)
    answers 202 -X POST "$url/v2/$repository/blobs/uploads/?mount=$digest&from=$other" && follow &&
        answers 201 -X PUT -H "$bytes_type" --data-binary @blob "$location?digest=$digest" &&
        location_leads_to blob "$digest" && blob_goes "$digest"
}
bad_digest() { # ALGORITHM WAY
    local digest
    head -c 3067 /dev/urandom >blob
    digest=$(digest_by "$1" blob)
    echo 'oh no' >>blob
    expected=400
    "${@:2:1}" "$repository" blob "$digest" "${@:3}" && answers 404 "$url/v2/$repository/blobs/$digest"
    local result=$?
    expected=201
    return $result
}
ranges() {
    local digest range
    head -c 2048 /dev/urandom >blob
    digest=$(digest_by "$1" blob)
    post_put "$repository" blob "$digest" || return 1
    while read -r range first length said; do
        answers 206 -H "Range: bytes=$range" "$url/v2/$repository/blobs/$digest" &&
            cmp body <(tail -c +$((first + 1)) blob | head -c "$length") &&
            header_is Content-Length "$length" && header_is Content-Range "bytes $said/2048" || return 1
    done <<<'500-1499 500 1000 500-1499
500- 500 1548 500-2047
-500 1548 500 1548-2047
2000-5000 2000 48 2000-2047'
    answers 416 -H 'Range: bytes=500-0' "$url/v2/$repository/blobs/$digest" &&
        answers 416 -H 'Range: bytes=5000-10000' "$url/v2/$repository/blobs/$digest" && blob_goes "$digest"
}
known_blob() { # ALGORITHM TEXT
    local digest
    printf '%s' "$2" >blob
    digest=$(digest_by "$1" blob)
    post_put "$repository" blob "$digest" && blob_pulls blob "$digest" && blob_goes "$digest"
}

# --- nothing yet ---
check ping answers 200 "$url/v2/"
check tags_of_an_empty_registry answers '200 404' "$url/v2/$repository/tags/list"
empty_referrers() {
    answers 200 "$url/v2/$repository/referrers/sha256:$(printf '%064d' 7)" && header_is Content-Type "$index_type" &&
        jq -e --arg type "$index_type" '.mediaType == $type and .schemaVersion == 2' body
}
check referrers_in_an_empty_registry empty_referrers

# --- blobs ---
for algorithm in sha256 sha512; do
    check ${algorithm}_post_only push_way $algorithm post_only
    check ${algorithm}_post_put push_way $algorithm post_put
    check ${algorithm}_chunked push_way $algorithm chunked
    check ${algorithm}_chunked_and_put push_way $algorithm chunked ordered put
    check ${algorithm}_chunked_out_of_order push_way $algorithm chunked disordered
    check ${algorithm}_chunked_out_of_order_and_put push_way $algorithm chunked disordered put
    check ${algorithm}_stream push_way $algorithm stream
    check ${algorithm}_mount mount_way $algorithm $other
    check ${algorithm}_mount_anonymous mount_way $algorithm
    check ${algorithm}_mount_missing mount_missing $algorithm
    check ${algorithm}_post_cancel cancel $repository
    check ${algorithm}_ranges ranges $algorithm
    check ${algorithm}_empty_blob known_blob $algorithm ''
    check ${algorithm}_empty_json known_blob $algorithm '{}'
    for way in post_only post_put chunked stream; do
        check ${algorithm}_bad_digest_$way bad_digest $algorithm $way
    done
    check ${algorithm}_bad_digest_chunked_and_put bad_digest $algorithm chunked ordered put
done

# --- content: files in the order they are pushed; `blobs` and `manifests` are "DIGEST FILE" lines ---
begin() { blobs=() manifests=() tags=() algorithm=${1:-sha256} serial=0; }
descriptor() { # TYPE FILE [MEMBERS]
    printf '{"mediaType": "%s", "digest": "%s", "size": %s%s}' "$1" "$(digest_by "$algorithm" "$2")" \
        "$(size_of "$2")" "${3:+, $3}"
}
new_blob() { # TYPE [MEMBERS]: prints nothing, sets `made`
    serial=$((serial + 1))
    head -c 700 /dev/urandom >"blob-$serial"
    blobs+=("$(digest_by "$algorithm" "blob-$serial") blob-$serial")
    made=$(descriptor "$1" "blob-$serial" "${2:-}")
}
keep_manifest() { # FILE [TAG...]
    local tag
    manifests+=("$(digest_by "$algorithm" "$1") $1")
    for tag in "${@:2}"; do tags+=("$tag $(digest_by "$algorithm" "$1") $1"); done
}
new_image() { # NAME LAYERS MEMBERS [TAG...]: of so many layers
    local layers='' config i
    new_blob application/vnd.oci.image.config.v1+json
    config=$made
    for ((i = 0; i < $2; i++)); do
        new_blob application/vnd.oci.image.layer.v1.tar+gzip
        layers="$layers${layers:+, }$made"
    done
    printf '{"schemaVersion": 2, "mediaType": "%s", "config": %s, "layers": [%s]%s}' "$manifest_type" \
        "$config" "$layers" "${3:+, $3}" >"$1"
    keep_manifest "$1" "${@:4}"
}
new_index() { # NAME CHILDREN MEMBERS [TAG...]: of files
    local list='' child type
    for child in $2; do
        type=$(jq -r .mediaType "$child")
        list="$list${list:+, }$(descriptor "$type" "$child")"
    done
    printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [%s]%s}' "$index_type" "$list" "${3:+, $3}" >"$1"
    keep_manifest "$1" "${@:4}"
}

put_one() { # REFERENCE FILE [QUERY]
    local subject
    answers 201 -X PUT -H "Content-Type: $(jq -r .mediaType "$2")" --data-binary "@$2" \
        "$url/v2/$repository/manifests/$1${3:-}" || return 1
    subject=$(jq -r '.subject.digest // empty' "$2")
    header_is OCI-Subject "$subject" && cp headers put-headers && follow &&
        answers 200 -H "Accept: $index_type" -H "Accept: $manifest_type" "$location" && cmp body "$2"
}
push_all() {
    local digest file tag ways=(post_put post_only stream chunked) i=0
    for one in "${blobs[@]}"; do
        read -r digest file <<<"$one"
        "${ways[$((i++ % 4))]}" "$repository" "$file" "$digest" || return 1
    done
    for one in "${manifests[@]}"; do
        read -r digest file <<<"$one"
        put_one "$digest" "$file" && grep -qi "^Docker-Content-Digest: $digest" put-headers || return 1
    done
    for one in "${tags[@]}"; do
        read -r tag digest file <<<"$one"
        put_one "$tag" "$file" || return 1
    done
}
list_all() {
    local tag rest half last
    answers 200 "$url/v2/$repository/tags/list" && cp body all || return 1
    for one in "${tags[@]}"; do
        read -r tag rest <<<"$one"
        jq -e --arg tag "$tag" '.tags | index($tag) != null' all || return 1
    done
    half=$(jq '.tags | length / 2 | floor' all)
    [ "$half" -gt 0 ] || return 0
    last=$(jq -r ".tags | sort | .[$half - 1]" all)
    answers 200 "$url/v2/$repository/tags/list?last=$last" &&
        [ "$(jq -c '.tags' body)" = "$(jq -c ".tags | sort | .[$half:]" all)" ]
}
manifest_pulls() { # REFERENCE DIGEST FILE
    local head
    for head in -I ''; do
        answers 200 ${head:+"$head"} -H "Accept: $index_type" -H "Accept: $manifest_type" \
            "$url/v2/$repository/manifests/$1" && header_is Content-Type "$(jq -r .mediaType "$3")" &&
            header_is Content-Length "$(size_of "$3")" && header_is Docker-Content-Digest "$2" || return 1
    done
    cmp body "$3"
}
pull_all() {
    local digest file tag
    for one in "${tags[@]}"; do
        read -r tag digest file <<<"$one"
        manifest_pulls "$tag" "$digest" "$file" || return 1
    done
    for one in "${manifests[@]}"; do
        read -r digest file <<<"$one"
        manifest_pulls "$digest" "$digest" "$file" || return 1
    done
    for one in "${blobs[@]}"; do
        read -r digest file <<<"$one"
        blob_pulls "$file" "$digest" || return 1
    done
}
referrers_all() { # what each manifest with a subject must look like in its list
    local digest file subject type wanted
    for one in "${manifests[@]}"; do
        read -r digest file <<<"$one"
        subject=$(jq -r '.subject.digest // empty' "$file")
        [ -n "$subject" ] || continue
        type=$(jq -r '.artifactType // .config.mediaType // empty' "$file")
        wanted=$(jq -c --arg digest "$digest" --argjson size "$(size_of "$file")" --arg type "$type" \
            '{mediaType, digest: $digest, size: $size} + (if $type != "" then {artifactType: $type} else {} end)
             + (if .annotations then {annotations} else {} end)' "$file")
        answers 200 "$url/v2/$repository/referrers/$subject" && header_is Content-Type "$index_type" &&
            jq -e --argjson wanted "$wanted" '.manifests | index($wanted) != null' body || return 1
        [ -z "$type" ] || { answers 200 -G --data-urlencode "artifactType=$type" "$url/v2/$repository/referrers/$subject" &&
            header_is OCI-Filters-Applied artifactType && jq -e --argjson wanted "$wanted" --arg type "$type" \
            '(.manifests | index($wanted) != null) and all(.manifests[]; .artifactType == $type)' body; } || return 1
    done
}
delete_all() {
    local i digest rest tag
    for one in "${tags[@]}"; do
        read -r tag rest <<<"$one"
        answers '202 404' -X DELETE "$url/v2/$repository/manifests/$tag" &&
            answers 404 -I "$url/v2/$repository/manifests/$tag" || return 1
    done
    for ((i = ${#manifests[@]} - 1; i >= 0; i--)); do
        read -r digest rest <<<"${manifests[$i]}"
        answers '202 404' -X DELETE "$url/v2/$repository/manifests/$digest" &&
            answers 404 -I "$url/v2/$repository/manifests/$digest" || return 1
    done
    for one in "${blobs[@]}"; do
        read -r digest rest <<<"$one"
        blob_goes "$digest" || return 1
    done
}
walk() { # NAME
    check "$1_push" push_all
    check "$1_list" list_all
    check "$1_head_and_pull" pull_all
    check "$1_referrers" referrers_all
    check "$1_delete" delete_all
}

begin && new_image image 2 '' image && walk image
begin && new_image large 1 "$(printf '"annotations": {'
    for i in {1..390}; do printf '"large-%s": "%s", ' "$i" "$(printf 'A%.0s' {1..10000})"; done
    printf '"z": ""}')" large && walk large_manifest
begin && new_image one 1 '' && new_image two 1 '' && new_index index 'one two' '' index && walk index
begin && new_image one 1 '' && new_index inner one '' && new_index inner2 '' '' && new_index outer 'inner inner2' '' nested &&
    walk nested_index
begin && new_index index '' '' empty && walk empty_index
begin && new_image artifact 1 '"artifactType": "application/vnd.example+type"' artifact && walk artifact
begin && new_image one 1 '"artifactType": "application/vnd.example+type"' &&
    new_index index one '"artifactType": "application/vnd.example+type"' artifacts && walk artifact_index
begin && new_image image 1 '' image && subject="\"subject\": $(descriptor "$manifest_type" image)" &&
    new_image plain 1 "$subject" &&
    new_image first 1 "$subject, \"artifactType\": \"a/one\", \"annotations\": {\"k\": \"v\", \"l\": \"w\"}" tagged1 &&
    new_image second 1 "$subject, \"artifactType\": \"a/two\", \"annotations\": {\"k\": \"x\"}" tagged2 &&
    walk artifacts_with_subject
begin && new_index index '' '' index && subject="\"subject\": $(descriptor "$index_type" index)" &&
    new_index set '' "$subject, \"artifactType\": \"a/one\", \"annotations\": {\"k\": \"v\"}" tagged && walk index_with_subject
begin && echo missing >missing && new_image image 1 "\"subject\": $(descriptor "$manifest_type" missing), \"artifactType\": \"a/b\"" t &&
    walk missing_subject
begin && new_image image 1 '"org.example.custom": {"deep": [1, 2, {"data": "e30="}]}' custom && walk custom_fields
begin && new_image image 0 '' none && walk no_layers
begin && new_blob a/b '"data": "aGVsbG8="' && printf '{"schemaVersion": 2, "mediaType": "%s", "config": %s, "layers": []}' \
    "$manifest_type" "$made" >data && keep_manifest data data && walk data_field
begin && new_blob application/vnd.oci.image.config.v1+json && printf \
    '{"schemaVersion": 2, "mediaType": "%s", "config": %s, "layers": [{"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "digest": "sha256:%064d", "size": 123456, "urls": ["https://store.example.com/x"]}]}' \
    "$manifest_type" "$made" 5 >foreign && keep_manifest foreign foreign && walk nondistributable
begin sha512 && new_image one 1 '' && new_image two 1 '' && new_index index 'one two' '' && walk sha512

tag_parameters() { # ALGORITHM
    local digest file
    begin "$1"
    new_image one 1 '' && new_index index one '' || return 1
    push_all || return 1
    for one in "${manifests[@]}"; do
        read -r digest file <<<"$one"
        put_one "$digest" "$file" "?tag=$file-a&tag=$file-b" && grep -qi "^OCI-Tag: $file-a" put-headers &&
            grep -qi "^OCI-Tag: $file-b" put-headers && manifest_pulls "$file-a" "$digest" "$file" &&
            manifest_pulls "$file-b" "$digest" "$file" || return 1
    done
    delete_all && answers 404 -I "$url/v2/$repository/manifests/index-a"
}
check tag_parameters_sha256 tag_parameters sha256
check tag_parameters_sha512 tag_parameters sha512

# --- errors ---
bad_manifest() {
    local digest
    begin
    new_image image 1 '' || return 1
    push_all || return 1
    digest=$(digest_by sha256 image)
    printf '  ' >>image
    answers 400 -X PUT -H "Content-Type: $manifest_type" --data-binary @image "$url/v2/$repository/manifests/$digest" &&
        answers 400 -X PUT -H "Content-Type: $manifest_type" --data-binary @image \
            "$url/v2/$repository/manifests/sha256:baddigeststring" &&
        answers '400 404' "$url/v2/$repository/manifests/sha256:baddigeststring" && delete_all
}
check a_manifest_of_another_digest_is_400 bad_manifest
check a_missing_manifest_by_digest answers 404 "$url/v2/$repository/manifests/sha256:$(printf '%064d' 9)"
check a_missing_manifest_by_tag answers 404 "$url/v2/$repository/manifests/missing-tag"
