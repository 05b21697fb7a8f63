#!/usr/bin/env bash
# The domains of every family and machine (tests/fixtures/domain, which a unit test compares with
# what is rendered) hold libvirt's own schema. Xen's too, which nothing here can run.
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/domain" && pwd)
if ! command -v virt-xml-validate >/dev/null; then
    skip domains_hold_the_schema "virt-xml-validate is not installed (libvirt-clients)"
    exit 0
fi
for file in "$folder"/*.xml; do
    check "domain_$(basename "$file" .xml)_holds_the_schema" virt-xml-validate "$file" domain
done
sed 's/<vcpu>/<vcpus>/; s/<.vcpu>/<\/vcpus>/' "$folder/shoal-amd64-pvh-microvm.xml" >"$work/wrong.xml"
expect wrong_domain_does_not 3 'fails to validate' virt-xml-validate "$work/wrong.xml" domain
exit 0
