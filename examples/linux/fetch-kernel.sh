#!/bin/sh
# Fetches Debian's cloud kernel, as a guest's kernel and never installed, and keeps what a microVM
# needs of it:
#
#     fetch-kernel.sh BUILD_DIR   ->  BUILD_DIR/linux/vmlinuz        the kernel, a bzImage
#                                     BUILD_DIR/linux/modules/X.ko   virtio's modules and what they need
#                                     BUILD_DIR/linux/modules/order  their names, each after what it needs
#                                     BUILD_DIR/linux/modules/power  the same of the power button's modules
#                                     BUILD_DIR/linux/.complete      the package's name and version
#
# The package comes from wherever the user's own apt entries say Debian lives, and apt's signatures
# are what vouches for it. Where the user's lists know no such package, or one that is gone from the
# archive, lists of our own are fetched into a private folder; the user's stay as they are. What is
# there already is left alone: remove BUILD_DIR/linux for a newer one. Root or a plain user.
set -eu

PACKAGE=linux-image-cloud-amd64 # depends on the kernel proper, whose name changes
MODULES='virtio_net virtio_blk virtio_pci virtio_mmio pvpanic-mmio'
POWER_MODULES='button evdev'

say() { printf 'fetch-kernel: %s\n' "$*"; }
fail() { printf 'fetch-kernel: %s\n' "$*" >&2; exit 1; }

# Options that keep apt inside our folder; hooks of the user's after an update may need root.
write_configuration() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/files"
    cat >"$work/apt.conf" <<END
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

# download APT_OPTION...: the kernel that $PACKAGE stands for, into $work/files.
download() {
    kernel=$(apt-cache "$@" show --no-all-versions "$PACKAGE" 2>>"$work/log" |
        sed -n 's/^Depends: *\(linux-image-[^ ,]*\).*/\1/p')
    [ -n "$kernel" ] || {
        echo "apt knows no package $PACKAGE" >>"$work/log"
        return 1
    }
    (cd "$work/files" && apt-get "$@" -q -o "APT::Sandbox::User=$(id -un)" download "$kernel") \
        >>"$work/log" 2>&1
}

# take_module NAME LIST: the module, after those that it names as what it depends on.
take_module() {
    [ ! -e "$work/linux/modules/$1.ko" ] || return 0
    file=$(find "$work/root/lib/modules" -name "$1.ko")
    [ -n "$file" ] || fail "$kernel has no module $1"
    cp "$file" "$work/linux/modules/$1.ko"
    # shellcheck disable=SC2013  # words are meant
    for needed in $(grep -aoE 'depends=[A-Za-z0-9_,-]*' "$file" | sed 's/depends=//; s/,/ /g'); do
        take_module "$needed" "$2"
    done
    echo "$1" >>"$work/linux/modules/$2"
}

[ $# -eq 1 ] || fail 'usage: fetch-kernel.sh BUILD_DIR'
for tool in apt-get apt-cache dpkg-deb find sed; do
    command -v "$tool" >/dev/null || fail "$tool is missing; install apt, dpkg, findutils and sed"
done
mkdir -p "$1"
build=$(cd "$1" && pwd)
[ ! -s "$build/linux/.complete" ] || exit 0

work=$(mktemp -d "$build/.linux-fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
write_configuration
say "fetching Debian's cloud kernel by apt"
if ! download; then
    apt-get -c "$work/apt.conf" -q update >>"$work/log" 2>&1 || true
    download -c "$work/apt.conf" || {
        cat "$work/log" >&2
        fail "apt could not fetch $PACKAGE's kernel (messages above)"
    }
fi
mkdir -p "$work/linux/modules" "$work/root"
dpkg-deb --extract "$work"/files/*.deb "$work/root"
cp "$work"/root/boot/vmlinuz-* "$work/linux/vmlinuz"
for module in $MODULES; do
    take_module "$module" order
done
for module in $POWER_MODULES; do
    take_module "$module" power
done
version=$(dpkg-deb --field "$work"/files/*.deb Version)
echo "$kernel $version" >"$work/linux/.complete"
rm -rf "$build/linux"
mv "$work/linux" "$build/linux"
say "$kernel $version is in $build/linux"
