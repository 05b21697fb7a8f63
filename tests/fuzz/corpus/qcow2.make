#!/bin/bash
# Disks as qemu-img makes them: qcow2.make FOLDER
set -eu
folder=$1
qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=512 "$folder/version2" 1M
qemu-img create -q -f qcow2 -o cluster_size=512 "$folder/version3" 1M
qemu-img create -q -f qcow2 -o cluster_size=16k,extended_l2=on,compression_type=zstd \
    "$folder/subclusters" 1M
qemu-img create -q -f qcow2 -F raw -u -b /etc/passwd -o cluster_size=512 "$folder/backing" 1M
truncate -s 1M "$folder/data"
qemu-img create -q -f qcow2 -o cluster_size=512,data_file="$folder/data" "$folder/data_file" 1M
rm "$folder/data"
qemu-img create -q -f qcow2 --object secret,id=key,data=x \
    -o cluster_size=512,encrypt.format=aes,encrypt.key-secret=key "$folder/encrypted" 1M
