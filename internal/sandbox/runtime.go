// What /run holds in the sandbox: the declaration of a container, and shims for
// the programs that would write to a boot loader, a disk or an EFI variable.

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// shimmed lists them. installkernel is not among them: it copies a kernel to
// /boot of the snapshot, where kernels belong until they are staged.
var shimmed = []string{
	"grub-install", "grub2-install", "grub-mkconfig", "grub2-mkconfig", "update-grub", "update-grub2",
	"grub-bios-setup", "grub2-bios-setup", "grub-set-default", "grub2-set-default", "grub-reboot", "grub2-reboot",
	"grub-editenv", "grub2-editenv", "bootctl", "kernel-install", "efibootmgr", "update-bootloader", "pbl", "sdbootutil",
}

const shim = `#!/bin/sh
name=${0##*/}
printf '%s\n' "$name $*" >>/run/txupd/shims.log
echo "txupd: $name not run in a transaction" >&2
exit 0
`

// Both replace PATH for the scripts of packages.
func aptConfiguration() []byte { return fmt.Appendf(nil, "DPkg::Path \"%s\";\n", searchPath) }
func rpmMacros() []byte        { return fmt.Appendf(nil, "%%_install_script_path %s\n", searchPath) }

// writeRuntime fills the new /run.
func writeRuntime(run int) error {
	for _, dir := range []struct {
		name string
		mode uint32
	}{{"lock", 0o1777}, {"systemd", 0o755}, {"txupd", 0o755}, {"txupd/shims", 0o755}} {
		if err := unix.Mkdirat(run, dir.name, dir.mode); err != nil {
			return fmt.Errorf("cannot make %s: %w", dir.name, err)
		}
	}
	for _, file := range []struct {
		name    string
		content []byte
		mode    uint32
	}{
		{"systemd/container", []byte(containerName + "\n"), 0o644},
		{"txupd/apt.conf", aptConfiguration(), 0o644},
		{"txupd/shim", []byte(shim), 0o755},
		{"txupd/shims.log", nil, 0o666}, // scripts of packages may run as any user
	} {
		if err := writeFile(run, file.name, file.content, file.mode); err != nil {
			return err
		}
	}
	for _, name := range shimmed {
		if err := unix.Symlinkat("../shim", run, "txupd/shims/"+name); err != nil {
			return fmt.Errorf("cannot make the shim of %s: %w", name, err)
		}
	}
	return nil
}
