// What is looked at before a transaction begins: refusing early is better than
// undoing late, and each refusal says the way out.

package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/bus"
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
	p, err := u.databaseOutside()
	if err == nil && p != nil {
		err = fmt.Errorf("%w: %s; %s", fault.ErrNotSupported, p.What, p.Remedy)
	}
	return err
}

// databaseOutside is the problem of a package database on a shared tree, nil
// where there is none.
func (u *Updater) databaseOutside() (*bus.Problem, error) {
	m, err := u.manager()
	if err != nil {
		return nil, nil // no package manager: run and shell work all the same
	}
	root, err := inroot.Open(u.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	top, err := deviceIn(root, "/")
	if err != nil {
		return nil, err
	}
	for _, d := range m.Database() {
		device, err := deviceIn(root, d)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || err == nil && device == top {
			continue
		}
		if err != nil {
			return nil, err
		}
		return u.databaseProblem("/" + strings.Trim(d, "/"))
	}
	return nil, nil
}

// deviceIn is the device number of what a path leads to in a root: each subvolume has its own.
func deviceIn(root *inroot.Root, path string) (uint64, error) {
	info, err := root.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Dev, nil
}

// databaseProblem says where it lies, and what to do.
func (u *Updater) databaseProblem(database string) (*bus.Problem, error) {
	mounts, err := u.hiddenTrees()
	if err != nil {
		return nil, err
	}
	p := &bus.Problem{What: fmt.Sprintf("the package database %s is not part of the root subvolume", database), Blocks: true}
	tree := ""
	for _, m := range mounts { // in order: the innermost comes last
		if below(database, m) {
			tree = m
		}
	}
	if tree == "" { // a subvolume in the root
		p.Remedy = fmt.Sprintf("make it a directory of the root: copy it aside, remove the subvolume, and move the copy to %s", database)
		return p, nil
	}
	p.What += fmt.Sprintf(": it lies on the shared tree %s", tree)
	if strings.Contains(database, "rpm") {
		p.Remedy = fmt.Sprintf("move it to /usr/lib/sysimage/rpm, where current distributions have it, and leave a symbolic link at %s", database)
		return p, nil
	}
	p.Remedy = fmt.Sprintf("make %[1]s part of the root: from a rescue system copy it to the directory %[1]s of the root subvolume and take its line out of /etc/fstab; "+
		"what is to stay apart, such as %[2]s/log or the data of a service, can be mounted there by itself", tree, strings.TrimSuffix(tree, "/"))
	return p, nil
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
