// How GRUB was installed, and so how it is installed again.

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"github.com/txupd/txupd/internal/fault"
)

// planInstall is the commands that lead GRUB to where its files will be.
func (s *site) planInstall(ctx context.Context) ([][]string, error) {
	tool, err := s.tool(ctx, "grub-install", "grub2-install")
	if err != nil {
		return nil, err
	}
	if !s.firmwareIsEFI() {
		return s.planBIOS(ctx, tool)
	}
	if s.esp == nil {
		return nil, fmt.Errorf("%w: the EFI system partition is not mounted; mount it at /boot/efi", fault.ErrNotSupported)
	}
	target, err := s.efiTarget()
	if err != nil {
		return nil, err
	}
	base := []string{
		tool, "--target=" + target, "--boot-directory=/" + path.Dir(s.grub.dir), "--efi-directory=" + s.seen(s.esp.Mountpoint), "--no-nvram",
	}
	places, err := s.efiPlaces()
	if err != nil {
		return nil, err
	}
	var installs [][]string
	for _, place := range places {
		option := "--bootloader-id=" + place
		if strings.EqualFold(place, removableDir) {
			option = "--removable"
		}
		installs = append(installs, append(slices.Clone(base), option))
	}
	return installs, nil
}

// firmwareIsEFI reports whether the machine was started by UEFI.
func (s *site) firmwareIsEFI() bool {
	if s.host.EFIVariables == "" {
		return false
	}
	info, err := os.Stat(s.host.EFIVariables)
	return err == nil && info.IsDir()
}

// efiTarget is GRUB's name of the platform: that of the modules that are
// there, else of the processor.
func (s *site) efiTarget() (string, error) {
	names, err := s.tree.names(s.grub.dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range names {
		if strings.HasSuffix(name, "-efi") && s.tree.isFile(path.Join(s.grub.dir, name, "normal.mod")) {
			found = append(found, name)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	targets := map[string]string{"amd64": "x86_64-efi", "386": "i386-efi", "arm64": "arm64-efi", "arm": "arm-efi", "riscv64": "riscv64-efi", "loong64": "loongarch64-efi"}
	if target := targets[runtime.GOARCH]; target != "" {
		return target, nil
	}
	return "", fmt.Errorf("%w: no GRUB for UEFI is known for %s", fault.ErrNotSupported, runtime.GOARCH)
}

// removableDir is where firmware looks for a loader that nobody told it of.
const removableDir = "BOOT"

// efiPlaces are the directories of the EFI partition that GRUB starts from: that
// of the system, and the one for removable media if it leads to this GRUB or
// there is no other.
func (s *site) efiPlaces() ([]string, error) {
	base := path.Join(s.rel(s.esp.Mountpoint), "EFI")
	vendors, err := s.tree.names(base)
	if err != nil {
		return nil, err
	}
	stubs, err := s.stubs()
	if err != nil {
		return nil, err
	}
	want := path.Join(inside(s.grub.mount, s.abs(s.grub.dir)), "grub.cfg")
	var with, ours []string
	removable := ""
	for _, vendor := range vendors {
		files, err := s.tree.names(path.Join(base, vendor))
		if isNotDir(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		leads := slices.ContainsFunc(stubs, func(f stubFile) bool {
			return f.dir == path.Join(base, vendor) && f.next != nil && (f.next.Path == want || strings.Contains(f.next.Path, "/"+grubSubvolume+"/"))
		})
		grub := slices.ContainsFunc(files, func(name string) bool { return isEFI(name, "grub") })
		switch {
		case strings.EqualFold(vendor, removableDir):
			if slices.ContainsFunc(files, func(name string) bool { return isEFI(name, "boot") }) {
				removable = vendor
			}
			if removable != "" && leads {
				ours = append(ours, vendor)
			}
		case grub && leads:
			ours = append(ours, vendor)
		case grub:
			with = append(with, vendor)
		}
	}
	system := s.systemID()
	switch i := slices.IndexFunc(with, func(v string) bool { return strings.EqualFold(v, system) }); {
	case slices.ContainsFunc(ours, func(v string) bool { return !strings.EqualFold(v, removableDir) }):
	case len(with) == 1:
		ours = append(ours, with[0])
	case i >= 0:
		ours = append(ours, with[i])
	case len(with) > 1:
		return nil, fmt.Errorf("%w: GRUB is installed on the EFI system partition as %s, and none of them is called %q", fault.ErrNotSupported, strings.Join(with, ", "), system)
	case len(ours) == 0 && removable != "":
		ours = append(ours, removable)
	}
	if len(ours) == 0 {
		return nil, fmt.Errorf("%w: no GRUB is installed on the EFI system partition (no EFI/*/grub*.efi, no EFI/BOOT/BOOT*.EFI)", fault.ErrNotSupported)
	}
	return ours, nil
}

// isEFI reports whether a file is an EFI program whose name begins so.
func isEFI(name, prefix string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, prefix) && strings.HasSuffix(name, ".efi")
}

// systemID is the ID of os-release(5).
func (s *site) systemID() string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		text, err := s.tree.read(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "ID="); ok {
				return strings.Trim(id, `"'`)
			}
		}
	}
	return ""
}

// planBIOS needs to be told the disk: the one that the firmware starts from
// cannot be known.
func (s *site) planBIOS(ctx context.Context, tool string) ([][]string, error) {
	devices, err := s.biosDevices(ctx)
	if err != nil {
		return nil, err
	}
	if len(devices) == 0 {
		return nil, fmt.Errorf("%w: this machine starts by BIOS, and nothing says which disk GRUB is installed on; "+
			`say so with "dpkg-reconfigure grub-pc", or write the disk into /etc/default/grub_installdevice`, fault.ErrNotSupported)
	}
	var installs [][]string
	for _, device := range devices {
		installs = append(installs, []string{tool, "--target=i386-pc", "--boot-directory=/" + path.Dir(s.grub.dir), device})
	}
	return installs, nil
}

// biosDevices are the disks that the distribution's own upgrades install GRUB on.
func (s *site) biosDevices(ctx context.Context) ([]string, error) {
	out, err := s.host.Run(ctx, "debconf-show", "grub-pc")
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("cannot ask which disk GRUB is installed on: %w", err)
	}
	devices := answeredDevices(string(out))
	if len(devices) > 0 {
		return devices, nil
	}
	text, err := s.tree.read("etc/default/grub_installdevice")
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return listedDevices(string(text)), nil
}

// answeredDevices are those of debconf's answer to what GRUB is installed on.
func answeredDevices(answer string) []string {
	var devices []string
	for line := range strings.Lines(answer) {
		_, list, _ := strings.Cut(line, "grub-pc/install_devices:")
		for device := range strings.SplitSeq(list, ",") {
			if device = strings.TrimSpace(device); isDevice(device) {
				devices = append(devices, device)
			}
		}
	}
	return devices
}

// listedDevices are the lines of openSUSE's grub_installdevice that are devices,
// and not words such as "generic_mbr".
func listedDevices(text string) []string {
	var devices []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); isDevice(line) {
			devices = append(devices, line)
		}
	}
	return devices
}

// isDevice: in names below /dev udev writes white space and control characters as "\x20".
func isDevice(file string) bool {
	return strings.HasPrefix(file, "/dev/") && path.Clean(file) == file &&
		!strings.ContainsFunc(file, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}
