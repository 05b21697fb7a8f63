#!/bin/sh
# Fetches lwIP, the TCP/IP stack of the example runtime, as Debian's source package, checks every
# file against the digests below and unpacks it:
#
#     fetch-lwip.sh BUILD_DIR        ->  BUILD_DIR/lwip/src/..., stamp BUILD_DIR/lwip/.complete
#
# The sources come from wherever the user's own apt entries say Debian lives: the entries are
# copied, turned into source entries, into a private folder, so neither the user's apt lists nor
# the package cache changes, and no host name is written here. Runs as root or as a plain user.
set -eu

VERSION='2.1.3+dfsg1-2'
DSC=lwip_2.1.3+dfsg1-2.dsc
DIGESTS='
8d8f944db8e6d542fc2d6f01559078fb1b5dda71651c67ee5fa3571ed1342c50  lwip_2.1.3+dfsg1-2.dsc
0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24  lwip_2.1.3+dfsg1.orig.tar.xz
c5a48413d362cc757032cdd58f528f75eb64ee781ca46ca24f010b49b0e62a90  lwip_2.1.3+dfsg1-2.debian.tar.xz
'

say() { printf 'fetch-lwip: %s\n' "$*"; }
fail() { printf 'fetch-lwip: %s\n' "$*" >&2; exit 1; }

# What counts as Debian's main archive: component main of one of these suites, at an address with a
# part "debian" (or a mirror list debian.list). Anything else is a third party's.
SUITES='bookworm trixie forky sid stable oldstable oldoldstable testing unstable'

# One-line entries: "deb [options] uri suite component...", printed as "deb-src".
convert_list() {
    awk -v suites="$SUITES" '
        BEGIN {
            count = split(suites, names, " "); for (i = 1; i <= count; i++) known[names[i]] = 1
        }
        { sub(/#.*/, "") }
        $1 != "deb" && $1 != "deb-src" { next }
        {
            options = ""; rest = $0
            sub(/^[ \t]*deb(-src)?[ \t]+/, "", rest)
            if (match(rest, /^\[[^]]*\][ \t]*/)) {
                options = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1)
                gsub(/(arch|lang|target)[+-]?=[^] \t]*/, "", options)
            }
            count = split(rest, field, /[ \t]+/)
            main = 0
            for (i = 3; i <= count; i++) if (field[i] == "main") main = 1
            if (!main || !(field[2] in known) || (field[1] " ") !~ /\/debian[\/. ]/) next
            print "deb-src " options field[1] " " field[2] " main"
        }' "$1"
}

# deb822 stanzas: kept whole (a key may be written inside), with Types, Suites and Components
# replaced by what is needed.
convert_sources() {
    awk -v suites="$SUITES" '
        function finish_stanza(   i, count, part, wanted) {
            if (enabled && is_main && archive) {
                wanted = ""
                count = split(suite_list, part, /[ \t]+/)
                for (i = 1; i <= count; i++) if (part[i] in known) wanted = wanted " " part[i]
                if (wanted != "")
                    printf "Types: deb-src\nSuites:%s\nComponents: main\n%s\n", wanted, kept
            }
            enabled = 1; is_main = 0; archive = 0; suite_list = ""; kept = ""; name = ""
        }
        function take_value(value) {
            if (name == "suites") suite_list = suite_list " " value
            else if (name == "components") { if ((" " value " ") ~ /[ \t]main[ \t]/) is_main = 1 }
            else if (name == "enabled") {
                if (tolower(value) ~ /^(no|false|off|0|without|disable)/) enabled = 0
            }
            else if (name == "uris") { if ((value " ") ~ /\/debian[\/. ]/) archive = 1 }
        }
        function keeps_field() {
            return name != "types" && name != "suites" && name != "components" && \
                   name != "enabled" && name != "architectures" && name != "languages"
        }
        BEGIN {
            total = split(suites, names, " "); for (i = 1; i <= total; i++) known[names[i]] = 1
            finish_stanza()
        }
        /^#/ { next }
        /^[ \t]*$/ { finish_stanza(); next }
        /^[ \t]/ { value = $0; sub(/^[ \t]+/, "", value); take_value(value)
                   if (keeps_field()) kept = kept $0 "\n"; next }
        { colon = index($0, ":"); name = tolower(substr($0, 1, colon - 1))
          value = substr($0, colon + 1); sub(/^[ \t]+/, "", value); take_value(value)
          if (keeps_field()) kept = kept $0 "\n" }
        END { finish_stanza() }' "$1"
}

# Writes the private source entries and the apt configuration that uses nothing else. The user's
# hooks after an update are cleared: they may need root, and nothing of theirs was updated.
prepare_apt() {
    mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/files"
    eval "$(apt-config shell main_list Dir::Etc::sourcelist/f list_parts Dir::Etc::sourceparts/d)"
    number=0
    # shellcheck disable=SC2154  # both are set by the eval above
    for file in "$main_list" "$list_parts"/*.list "$list_parts"/*.sources; do
        [ -r "$file" ] || continue
        number=$((number + 1))
        case $file in
        *.sources) convert_sources "$file" > "$work/parts/$number.sources" ;;
        *) convert_list "$file" > "$work/parts/$number.list" ;;
        esac
    done
    find "$work/parts" -type f -empty -delete
    [ -n "$(ls -A "$work/parts")" ] ||
        fail "no entry of a Debian archive in $main_list or $list_parts; add one for this release"
    cat > "$work/apt.conf" <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/parts";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
}

# One suite that does not answer is no failure as long as the package is found in another.
download_package() {
    updated=yes
    apt-get -c "$work/apt.conf" -q update > "$work/update.log" 2>&1 || updated=no
    if ! (cd "$work/files" && apt-get -c "$work/apt.conf" -q source --download-only \
            "lwip=$VERSION") > "$work/source.log" 2>&1; then
        [ "$updated" = yes ] || cat "$work/update.log" >&2
        cat "$work/source.log" >&2
        fail "apt could not fetch the source package lwip $VERSION (messages above)"
    fi
}

verify_files() {
    printf '%s\n' "$DIGESTS" | sed '/^$/d' > "$work/digests"
    (cd "$work/files" && sha256sum --check --strict --quiet "$work/digests") >&2 ||
        fail "a file of lwip $VERSION has another digest than this script pins; nothing unpacked"
}

[ $# -eq 1 ] || fail 'usage: fetch-lwip.sh BUILD_DIR'
for tool in apt-get apt-config dpkg-source sha256sum awk; do
    command -v "$tool" > /dev/null || fail "$tool is missing; install apt, dpkg-dev and coreutils"
done
mkdir -p "$1"
build=$(cd "$1" && pwd)
[ "$(cat "$build/lwip/.complete" 2> /dev/null || true)" != "$VERSION" ] || exit 0

work=$(mktemp -d "$build/.lwip-fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
say "fetching lwIP $VERSION by apt"
prepare_apt
download_package
verify_files
dpkg-source --no-check -q -x "$work/files/$DSC" "$work/lwip" > "$work/unpack.log" 2>&1 || {
    cat "$work/unpack.log" >&2
    fail "dpkg-source could not unpack $DSC"
}
printf '%s\n' "$VERSION" > "$work/lwip/.complete"
rm -rf "$build/lwip"
mv "$work/lwip" "$build/lwip"
say "lwIP $VERSION is in $build/lwip"
