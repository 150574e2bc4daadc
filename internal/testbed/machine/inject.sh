# Copies a tree over the root of a machine that is off. Runs in a mount namespace of its own.
# usage: inject.sh SYSTEM-IMAGE TREE
set -eu
image=$1 tree=$2
target=$(mktemp -d "$(dirname "$image")/root.XXXXXX")
mount -t btrfs -o loop,noatime,subvol=@rootfs "$image" "$target"
cp -a "$tree/." "$target/"
umount "$target"
rmdir "$target"
