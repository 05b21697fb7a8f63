#!/usr/bin/env bash
# The host half by itself, as host_microvm.sh, with libvirt in the place of the default hypervisor.
SHOAL_HYPERVISOR=libvirt exec bash "$(dirname "${BASH_SOURCE[0]}")/host_microvm.sh"
