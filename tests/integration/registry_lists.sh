#!/bin/bash
# Lists as the OCI distribution spec has them: tags, and the catalog.
here=$(dirname "$0")
# shellcheck source=tests/integration/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/integration/registry_functions.bash
. "$here/registry_functions.bash"

start_registry lists
cd "$work" || exit 1
make_pieces
check the_blob_is_pushed push_blob a/b kernel

tags() {
    local tag
    push_blob paged config && push_blob paged kernel || return 1
    for tag in c a B d10 d2; do put_manifest 201 paged $tag manifest || return 1; done
    http 200 "$url/v2/paged/tags/list" &&
        jq -e '. == {"name": "paged", "tags": ["B", "a", "c", "d10", "d2"]}' body &&
        http 200 "$url/v2/paged/tags/list?n=2" && jq -e '.tags == ["B", "a"]' body &&
        header_is Link '</v2/paged/tags/list?n=2&last=a>; rel="next"' &&
        http 200 "$url/v2/paged/tags/list?n=2&last=a" && jq -e '.tags == ["c", "d10"]' body &&
        http 200 "$url/v2/paged/tags/list?n=2&last=d10" && jq -e '.tags == ["d2"]' body &&
        header_is Link '' && http 200 "$url/v2/paged/tags/list?n=0" && jq -e '.tags == []' body &&
        http 400 "$url/v2/paged/tags/list?n=x" &&
        http 404 "$url/v2/nowhere/tags/list" && error_is NAME_UNKNOWN
}
check tags_are_sorted_and_paged tags

no_tags() {
    http 200 "$url/v2/paged/tags/list?n=0" && jq -e '.name == "paged" and .tags == []' body && header_is Link '' &&
        http 200 "$url/v2/paged/tags/list?n=0&last=B" && jq -e '.tags == []' body && header_is Link '' &&
        http 200 "$url/v2/_catalog?n=0" && jq -e '.repositories == []' body && header_is Link ''
}
check a_page_of_nothing_leads_nowhere no_tags

behind() {
    http 200 "$url/v2/paged/tags/list?last=a" && jq -e '.tags == ["c", "d10", "d2"]' body &&
        http 200 "$url/v2/paged/tags/list?last=b" && jq -e '.tags == ["c", "d10", "d2"]' body &&
        http 200 "$url/v2/paged/tags/list?last=z" && jq -e '.tags == []' body &&
        http 200 "$url/v2/paged/tags/list?n=5" && header_is Link '' &&
        http 200 "$url/v2/paged/tags/list?n=100000" && jq -e '.tags | length == 5' body &&
        http 400 "$url/v2/paged/tags/list?n=-1"
}
check a_page_begins_behind_last behind

walked_tags() { # the whole list by its links
    local next="/v2/paged/tags/list?n=2" all=
    while [ -n "$next" ]; do
        http 200 "$url$next" || return 1
        all="$all $(jq -r '.tags | join(" ")' body)"
        next=$(header Link) && next=${next#<} && next=${next%%>*}
    done
    [ "$all" = ' B a c d10 d2' ] || { echo "$all"; return 1; }
}
check links_lead_through_all_tags walked_tags

untagged() {
    push_blob untagged hello && http 200 "$url/v2/untagged/tags/list" &&
        jq -e '. == {"name": "untagged", "tags": []}' body
}
check a_repository_without_tags_has_an_empty_list untagged

unknown_list() {
    http 404 "$url/v2/nowhere/tags/list" && error_is NAME_UNKNOWN &&
        http 400 "$url/v2/NO/tags/list" && error_is NAME_INVALID
}
check an_unknown_repository_has_none unknown_list

catalog() {
    http 200 "$url/v2/_catalog?n=1" && jq -e '.repositories == ["a/b"]' body &&
        header_is Link '</v2/_catalog?n=1&last=a%2Fb>; rel="next"' &&
        http 200 "$url/v2/_catalog?last=a%2Fb" && jq -e '.repositories | index("paged")' body
}
check the_catalog_is_paged catalog
