// What the guest consists of: a small Debian whose boot costs little where the
// processor is emulated. What only costs time there and no test looks at is off;
// what decides what boots is as Debian installs it.

package machine

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/txupd/txupd/internal/testbed"
)

// Where things are in the guest.
const (
	// Repository is apt's only source in the guest. It holds Hello, Database, Kernel and Loader.
	Repository = "/srv/repo"
	agentPath  = "/usr/lib/testbed/agent"
)

// The packages of Repository, with all that they need.
const (
	Hello = "hello" // a small program
	// Database brings a user, a group and directories in /var that its scripts give to them, and a service.
	Database = "redis-server"
	// Loader is GRUB, in a newer version than the installed one: the same files, under the version LoaderVersion ends with.
	Loader        = "grub-efi-amd64"
	LoaderVersion = "+testbed1"
	// Kernel is the meta package of a newer kernel than the installed one.
	Kernel = "linux-image-cloud-amd64"
)

// File systems are found by these.
const (
	SystemUUID = "3c1f7a52-6f0e-4d52-9a6f-2b6d1c0a7e10"
	BootUUID   = "b7a0c3de-51a4-4a57-8d0b-94b9f6e3a8c2"
	espSerial  = "5A17C0DE"
	espUUID    = "5A17-C0DE"
)

// commandLine holds what makes a kernel start faster in an emulated processor,
// systemd's patience with one that hardly gets a real one, and nothing of what
// chooses a root.
const commandLine = "console=ttyS0 loglevel=4 lsm=yama mitigations=off cryptomgr.notests " +
	"initcall_blacklist=crypto_kdf108_init,init_encrypted,jent_mod_init " +
	"systemd.default_device_timeout_sec=15min systemd.default_timeout_start_sec=15min"

// rootSpec is the root before there is a disk: the packages, and the repository.
func rootSpec() testbed.RootSpec {
	return testbed.RootSpec{
		Name: "machine-root",
		Include: []string{
			"systemd", "systemd-sysv", "dbus", "udev", "kmod", "btrfs-progs", "zstd", "initramfs-tools",
			"grub-efi-amd64", "grub-efi-amd64-bin", "efibootmgr", "polkitd", "util-linux", "procps",
		},
		Finish: finishRoot,
	}
}

// finishRoot installs the last but one kernel and puts the last one into the
// repository, so that there is a real upgrade to test. The packages are packed
// anew because unpacking xz takes minutes in an emulated processor.
const finishRoot = `set -eu
root=$1
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
for dir in doc info locale man; do echo "path-exclude=/usr/share/$dir/*"; done >"$root/etc/dpkg/dpkg.cfg.d/small"
# Small and quick: no udev, and only the modules that reach the root.
mkdir -p "$root/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nRESUME=none\n' >"$root/etc/initramfs-tools/conf.d/small"
printf 'virtio_blk\nbtrfs\n' >>"$root/etc/initramfs-tools/modules"
for script in hooks/fsck hooks/keymap hooks/resume hooks/thermal hooks/udev scripts/init-top/udev scripts/init-bottom/udev; do
	mkdir -p "$(dirname "$root/etc/initramfs-tools/$script")"
	printf '#!/bin/sh\nexit 0\n' >"$root/etc/initramfs-tools/$script"
	chmod 0755 "$root/etc/initramfs-tools/$script"
done

kernels=$(in_root apt-cache pkgnames linux-image- | grep -E '^linux-image-[0-9].*-cloud-amd64$' | sort -V | tail -n 2)
older=$(echo "$kernels" | head -n 1) newer=$(echo "$kernels" | tail -n 1)
if [ "$older" = "$newer" ]; then
	echo "the mirror has one kernel only, and the suite upgrades from one to the next" >&2
	exit 1
fi
in_root apt-get install -qq --yes --no-install-recommends "$older"
in_root apt-get clean
in_root apt-get install -qq --yes --no-install-recommends --download-only "$newer" linux-image-cloud-amd64 hello redis-server
in_root apt-get install -qq --yes --no-install-recommends --download-only --reinstall grub-efi-amd64
mkdir -p "$root/srv/repo"
for package in "$root"/var/cache/apt/archives/*.deb; do
	rm -rf "$root/tmp/package"
	dpkg-deb --raw-extract "$package" "$root/tmp/package"
	name=$(basename "$package")
	case $name in grub-efi-amd64_*)
		sed -i 's/^Version: .*/&+testbed1/' "$root/tmp/package/DEBIAN/control"
		name=${name%_*}+testbed1_amd64.deb ;;
	esac
	dpkg-deb -Znone --build "$root/tmp/package" "$root/srv/repo/$name" >/dev/null
done
(cd "$root/srv/repo" && dpkg-scanpackages --multiversion . >Packages 2>/dev/null)
rm -rf "$root/tmp/package" "$root"/var/cache/apt/archives/*.deb "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/repo ./' >"$root/etc/apt/sources.list"
in_root apt-get update -qq
`

// units are masked: they cost time, and nothing of txupd depends on them.
var units = strings.Fields(`
apt-daily.timer apt-daily-upgrade.timer dev-hugepages.mount dev-mqueue.mount dpkg-db-backup.timer fstrim.timer
getty.target getty-static.service getty@tty1.service grub-common.service kmod-static-nodes.service ldconfig.service
modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service
modprobe@loop.service proc-sys-fs-binfmt_misc.automount run-lock.mount serial-getty@ttyS0.service
sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
systemd-ask-password-console.path systemd-ask-password-wall.path systemd-binfmt.service systemd-creds.socket
systemd-firstboot.service systemd-hibernate-clear.service systemd-hostnamed.socket systemd-hwdb-update.service
systemd-initctl.socket systemd-journal-catalog-update.service systemd-journal-flush.service
systemd-machine-id-commit.service systemd-modules-load.service systemd-pcrextend.socket systemd-pcrlock.socket
systemd-pcrmachine.service systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-pstore.service
systemd-random-seed.service systemd-sysctl.service systemd-sysext.socket systemd-sysusers.service
systemd-tmpfiles-clean.timer systemd-tmpfiles-setup-dev-early.service systemd-tpm2-setup.service
systemd-tpm2-setup-early.service systemd-udev-load-credentials.service systemd-update-done.service
systemd-user-sessions.service`)

// generators that have nothing to generate here.
var generators = strings.Fields(`debug getty gpt-auto hibernate-resume rc-local run ssh system-update sysv tpm2`)

// rules of udev for devices that are not there.
var rules = strings.Fields(`50-firmware 55-dm 60-autosuspend 60-cdrom_id 60-dmi-id 60-drm 60-evdev 60-fido-id
60-infiniband 60-input-id 60-persistent-alsa 60-persistent-input 60-persistent-storage-dm 60-persistent-storage-mtd
60-persistent-storage-tape 60-persistent-v4l 60-sensor 60-serial 64-btrfs-dm 64-btrfs-zoned 70-camera 70-joystick
70-memory 70-mouse 70-power-switch 70-touchpad 70-uaccess 71-seat 73-seat-late 75-probe_mtd 78-sound-card
80-debian-compat 90-iocost 95-dm-notify`)

// masked are links to /dev/null.
func masked() []string {
	var paths []string
	for _, unit := range units {
		paths = append(paths, filepath.Join("/etc/systemd/system", unit))
	}
	for _, g := range generators {
		paths = append(paths, "/etc/systemd/system-generators/systemd-"+g+"-generator")
	}
	for _, rule := range rules {
		paths = append(paths, "/etc/udev/rules.d/"+rule+".rules")
	}
	return paths
}

// files are what an installer or an administrator would have written.
func files(v Variant) map[string]string {
	fstab := fmt.Sprintf("UUID=%s / btrfs defaults,subvol=@rootfs 0 0\nUUID=%s /.snapshots btrfs defaults,subvol=@snapshots 0 0\n", SystemUUID, SystemUUID)
	if v.BootMiB > 0 {
		fstab += "UUID=" + BootUUID + " /boot ext4 defaults 0 0\n"
	}
	fstab += "UUID=" + espUUID + " /boot/efi vfat umask=0077 0 0\n"
	return map[string]string{
		"/etc/fstab":      fstab,
		"/etc/hostname":   "machine\n",
		"/etc/hosts":      "127.0.0.1 localhost\n127.0.1.1 machine\n",
		"/etc/machine-id": "8f6e0c1d2b3a49588776655443322110\n",
		"/etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=2\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT=\n" +
			"GRUB_CMDLINE_LINUX=\"" + commandLine + "\"\nGRUB_TERMINAL_OUTPUT=serial\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=115200\"\n" +
			"GRUB_TERMINAL_INPUT=console\n" + // the firmware reads the serial line too, so GRUB would miss keys there
			"GRUB_DISABLE_RECOVERY=true\nGRUB_DISABLE_OS_PROBER=true\n",
		"/etc/systemd/system/systemd-udev-trigger.service.d/few.conf": "[Service]\nExecStart=\n" +
			"ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=block --subsystem-match=net\n",
		// It answers in a boot that goes bad, too, and until the very end of a shutdown.
		"/etc/systemd/system/testbed-agent.service": "[Unit]\nDescription=Agent of the test machine\nDefaultDependencies=no\nIgnoreOnIsolate=yes\n" +
			"StartLimitIntervalSec=0\n\n[Service]\nExecStart=" + agentPath + "\nRestart=always\nRestartSec=100ms\nOOMScoreAdjust=-1000\n",
	}
}

// links are where the agent is started from.
var links = map[string]string{
	"/etc/systemd/system/sysinit.target.wants/testbed-agent.service":   "../testbed-agent.service",
	"/etc/systemd/system/emergency.target.wants/testbed-agent.service": "../testbed-agent.service",
	"/etc/systemd/system/rescue.target.wants/testbed-agent.service":    "../testbed-agent.service",
}
