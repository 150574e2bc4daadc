// Package boot is what touches a disk or a boot loader so that a snapshot
// boots: it finds out how the machine boots, puts kernels where the loader reads
// them, and replaces the menu, which is the commit point wherever there is one.
// What the files say is pkg/grubcfg's; which snapshots there are is the caller's.
package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
)

// Host is the machine as the package sees it.
type Host struct {
	// Root is where the running system is mounted, "/" on a machine.
	Root string
	// CommandLine is the running kernel's, "" where Root is not what it booted:
	// then nothing there can pin a root.
	CommandLine string
	// GrubDir is the configured directory of grub.cfg below Root, "" to find it.
	GrubDir string
	// EFIVariables is the directory of the firmware's variables; "" is the
	// kernel's where Root is "/", and none elsewhere.
	EFIVariables string
	// Self is the executable that is started to thaw a file system if we die
	// (see IsThaw), /proc/self/exe where empty.
	Self string
	// Run runs a command and returns its standard output. Nil runs it.
	Run func(ctx context.Context, argv ...string) ([]byte, error)
	// Mounts lists what is mounted. Nil asks the kernel.
	Mounts func() ([]*mountinfo.Info, error)
	Log    *slog.Logger
}

// Boot is how one machine boots. It keeps nothing between calls but uuids of
// mounted file systems, which take a process to find out.
type Boot struct {
	host  Host
	uuids sync.Map // knownUUID by mounted
}

// New fills in what h leaves out.
func New(h Host) *Boot {
	h.Root = filepath.Clean(h.Root)
	if h.EFIVariables == "" && h.Root == "/" {
		h.EFIVariables = "/sys/firmware/efi/efivars"
	}
	if h.Self == "" {
		h.Self = "/proc/self/exe"
	}
	if h.Run == nil {
		h.Run = run
	}
	if h.Mounts == nil {
		h.Mounts = func() ([]*mountinfo.Info, error) { return mountinfo.GetMounts(nil) }
	}
	if h.Log == nil {
		h.Log = slog.New(slog.DiscardHandler)
	}
	return &Boot{host: h}
}

func run(ctx context.Context, argv ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) && len(failed.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	return out, err
}

// absent reports whether a file is not there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
