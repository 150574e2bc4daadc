// What is looked at before a transaction begins: refusing early is better than
// undoing late, and each refusal says the way out.

package update

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/inroot"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/pkg/snapshot"
)

// check refuses what cannot end well.
func (u *Updater) check(ctx context.Context, f boot.Facts, parent view) error {
	if err := f.Err(); err != nil {
		return err
	}
	if err := selinux(); err != nil {
		return err
	}
	dir, err := u.Store.Locate(parent.subvolume.Identity())
	if err != nil {
		return fmt.Errorf("%w: %w; \"--from booted\" starts from what runs", fault.ErrNotSupported, err)
	}
	if err := u.Store.Refusals(parent.subvolume.Identity()); err != nil {
		return classify(err)
	}
	if err := u.databaseInside(); err != nil {
		return err
	}
	if err := u.space(); err != nil {
		return err
	}
	if f.Mode == boot.FollowsMenu {
		if err := u.Boot.Room(ctx, dir); err != nil {
			return err
		}
	}
	return u.awaitQuiet(ctx, parent)
}

// selinux refuses where labels are enforced: a transaction would leave files without them.
func selinux() error {
	enforcing, err := os.ReadFile("/sys/fs/selinux/enforce")
	if err == nil && strings.TrimSpace(string(enforcing)) == "1" {
		return fmt.Errorf("%w: SELinux is enforcing, and labels inside a transaction are not handled; \"setenforce 0\" first", fault.ErrNotSupported)
	}
	return nil
}

// databaseInside refuses where the package database lies on a shared tree: it
// would not go along with the files that it speaks of.
func (u *Updater) databaseInside() error {
	m, err := u.manager()
	if err != nil {
		return nil // no package manager: run and shell work all the same
	}
	var root, dir unix.Stat_t
	if err := unix.Stat(u.Root, &root); err != nil {
		return err
	}
	for _, d := range m.Database() {
		path := filepath.Join(u.Root, d)
		if unix.Stat(path, &dir) != nil {
			continue
		}
		if dir.Dev != root.Dev {
			return fmt.Errorf("%w: the package database %s is not part of the root subvolume (it lies on a shared tree); "+
				"move it into the root, for rpm to /usr/lib/sysimage/rpm, for dpkg by making /var part of the root", fault.ErrNotSupported, "/"+strings.Trim(d, "/"))
		}
	}
	return nil
}

// apiTrees are mounted anew in every sandbox; .snapshots and the boot loader's files are nobody's data.
var apiTrees = []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/.snapshots", "/boot", "/efi", "/root", "/home"}

// hiddenTrees lists what is mounted in the root: what a snapshot has there stays
// hidden below the mount after the boot.
func (u *Updater) hiddenTrees() ([]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(u.Root))
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts below %s: %w", u.Root, err)
	}
	var hidden []string
	for _, m := range mounts {
		rel := "/" + strings.Trim(strings.TrimPrefix(m.Mountpoint, u.Root), "/")
		if rel == "/" || slices.ContainsFunc(apiTrees, func(a string) bool { return below(rel, a) }) {
			continue
		}
		hidden = append(hidden, rel)
	}
	slices.Sort(hidden)
	return slices.Compact(hidden), nil
}

// below reports whether path is dir or lies in it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// kernelIn is the newest kernel version whose modules are in root, "" where there is none.
func kernelIn(root string) string {
	r, err := inroot.Open(root)
	if err != nil {
		return ""
	}
	defer r.Close()
	newest := ""
	for _, dir := range []string{"usr/lib/modules", "lib/modules"} {
		names, _ := r.Names(dir) // what cannot be read is no kernel
		for _, n := range names {
			// Kernel versions order alike in every distribution.
			if newest == "" || pkgmgr.CompareVersions(n, newest) > 0 {
				newest = n
			}
		}
	}
	return newest
}

// rootOf lets a package manager look into a root: by reading its files, or by
// running a query in a sandbox in which nothing can be written.
func (u *Updater) rootOf(dir string, n snapshot.Number) pkgmgr.Root {
	return pkgmgr.Root{Dir: dir, Run: func(ctx context.Context, argv []string) ([]byte, int, error) {
		box, err := u.startSandbox(ctx, sandbox.Config{Root: dir, Number: uint64(n), ReadOnly: true})
		if err != nil {
			return nil, -1, err
		}
		defer box.Close()
		return ask(ctx, box, sandbox.Command{Argv: argv})
	}}
}
