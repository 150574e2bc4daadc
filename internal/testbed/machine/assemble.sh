# Makes the disks of a machine from a root. Runs in a mount namespace of its
# own: whatever ends it, no mount and no loop device is left.
# usage: assemble.sh DIR ROOT-TARBALL FILES-DIR SYSTEM-MIB BOOT-MIB(0: none)
# environment: SYSTEM_UUID BOOT_UUID ESP_SERIAL
set -eu
dir=$1 tarball=$2 files=$3 system_mib=$4 boot_mib=$5
cd "$dir"

truncate -s 64M esp.raw
printf 'label: gpt\nstart=2048, size=124928, type=uefi\n' | sfdisk --quiet esp.raw
mformat -i esp.raw@@1M -T 124928 -F -v ESP -N "$ESP_SERIAL" ::

truncate -s "${system_mib}M" system.raw
mkfs.btrfs -q -L system -U "$SYSTEM_UUID" system.raw
mkdir top
mount -t btrfs -o loop,noatime,subvolid=5 system.raw top
btrfs -q subvolume create top/@rootfs
btrfs -q subvolume create top/@snapshots
root=$dir/top/@rootfs
tar --extract --preserve-permissions --numeric-owner --xattrs '--xattrs-include=*' --file="$tarball" --directory="$root"
chmod 0700 top/@snapshots
mkdir -m 0700 "$root/.snapshots"
cp -a "$files/." "$root/"
# The first boot has nothing of its kind to do.
touch "$root/etc/.updated" "$root/var/.updated"
# To boot once without a boot loader, which is installed then.
cp "$root"/boot/vmlinuz-* kernel
cp "$root"/boot/initrd.img-* initrd
if [ "$boot_mib" != 0 ]; then
	truncate -s "${boot_mib}M" boot.raw
	mkfs.ext4 -q -F -L boot -U "$BOOT_UUID" boot.raw
	mkdir boot
	mount -t ext4 -o loop boot.raw boot
	cp -a "$root"/boot/. boot/
	find "$root/boot" -mindepth 1 -delete
	mkdir boot/efi
	umount boot
	rmdir boot
else
	mkdir -p "$root/boot/efi"
fi
umount top
rmdir top
