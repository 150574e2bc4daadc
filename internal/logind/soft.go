// A soft-reboot: user space is begun anew in another root, and the kernel stays.
//
// How is described in systemd-soft-reboot.service(8).

package logind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	systemd     = "org.freedesktop.systemd1"
	systemdPath = "/org/freedesktop/systemd1"
	// softReboot is SD_LOGIND_SOFT_REBOOT of RebootWithFlags.
	softReboot = uint64(1 << 2)
	// softVersion is the first systemd that has it.
	softVersion = 254
)

// nextRoot is where the next root is mounted. crash lets a systemd that dies, or
// cannot be started in the next root, reboot the machine, and panicTimeout a
// kernel that has lost its init: the boot loader then counts the tries of a
// snapshot that does not come up. All are gone with the next full reboot.
const (
	nextRoot     = "/run/nextroot"
	crash        = "/run/systemd/system.conf.d/50-txupd-soft-reboot.conf"
	panicTimeout = "/proc/sys/kernel/panic"
)

// Soft says why this machine cannot begin another root without a new kernel, nil where it can.
func (Machine) Soft(ctx context.Context) error {
	if mounted, err := mountinfo.Mounted(nextRoot); err == nil && mounted {
		return fmt.Errorf("something else is mounted at %s", nextRoot)
	}
	return with(ctx, func(conn *dbus.Conn) error {
		v, err := conn.Object(systemd, systemdPath).GetProperty(systemd + ".Manager.Version")
		if err != nil {
			return fmt.Errorf("cannot ask systemd for its version: %w", err)
		}
		text, _ := v.Value().(string)
		if n := major(text); n < softVersion {
			return fmt.Errorf("systemd is %q, and it takes %d or newer", text, softVersion)
		}
		return nil
	})
}

// major is the number that a version of systemd, "257.8-1~deb13u2", begins with.
func major(version string) int {
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(version)
	}
	n, err := strconv.Atoi(version[:end])
	if err != nil {
		return 0
	}
	return n
}

// SoftReboot begins a soft-reboot into a subvolume of the file system that is mounted at /.
func (m Machine) SoftReboot(ctx context.Context, subvolume uint64) (err error) {
	if err := mountNext(subvolume); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Unmount(nextRoot, unix.MNT_DETACH), os.Remove(crash))
		}
	}()
	if err := m.rebootOnPanic(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(crash), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(crash, []byte("[Manager]\nCrashReboot=yes\n"), 0o644); err != nil {
		return err
	}
	return with(ctx, func(conn *dbus.Conn) error {
		if err := conn.Object(systemd, systemdPath).CallWithContext(ctx, systemd+".Manager.Reload", 0).Err; err != nil {
			return fmt.Errorf("systemd does not read its configuration: %w", err)
		}
		if err := conn.Object(name, path).CallWithContext(ctx, login+".RebootWithFlags", 0, softReboot).Err; err != nil {
			return fmt.Errorf("logind does not begin a soft-reboot: %w", err)
		}
		return nil
	})
}

// rebootOnPanic sees to it that a panic is not the end. What the administrator said stays.
func (m Machine) rebootOnPanic() error {
	now, err := os.ReadFile(panicTimeout)
	if err != nil {
		return fmt.Errorf("cannot find out what a kernel panic does: %w", err)
	}
	if strings.TrimSpace(string(now)) != "0" {
		return nil
	}
	seconds := max(1, int(m.Panic.Seconds()))
	if err := os.WriteFile(panicTimeout, []byte(strconv.Itoa(seconds)), 0); err != nil {
		return fmt.Errorf("a kernel panic cannot be made to reboot: %w", err)
	}
	return nil
}

// mountNext mounts the next root as / is mounted.
func mountNext(subvolume uint64) error {
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter("/"))
	if err != nil {
		return fmt.Errorf("cannot find out how / is mounted: %w", err)
	}
	if len(infos) == 0 {
		return errors.New("cannot find out how / is mounted: mountinfo does not say")
	}
	root := infos[len(infos)-1]
	var flags uintptr
	for _, option := range strings.Split(root.Options, ",") {
		switch option {
		case "ro":
			flags |= unix.MS_RDONLY
		case "noatime":
			flags |= unix.MS_NOATIME
		}
	}
	if err := os.MkdirAll(nextRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(root.Source, nextRoot, root.FSType, flags, fmt.Sprintf("subvolid=%d", subvolume)); err != nil {
		return fmt.Errorf("cannot mount subvolume %d of %s at %s: %w", subvolume, root.Source, nextRoot, err)
	}
	return nil
}
