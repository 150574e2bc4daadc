// What a change of packages would write, looked at before it writes anything.

package update

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Asking the package manager for sizes makes it work everything out once more,
// which takes half as long as installing a small package. Where so much is free it
// is not asked: a change that is larger all the same is told no by the file system.
// An update, which takes its time anyhow, may be larger.
const (
	roomy          = 2 << 30
	roomyForUpdate = 8 << 30
)

// afford refuses a command of the package manager that would not fit. What the
// package manager does not tell, it has to find out.
func (t *Transaction) afford(ctx context.Context, m pkgmgr.Manager, c pkgmgr.Command) error {
	estimate, ok := m.Estimate(c)
	if !ok {
		return nil
	}
	var enough uint64 = roomy
	if t.rec.Kind == KindUpdate {
		enough = roomyForUpdate
	}
	disks, err := t.u.disks(m)
	if err != nil {
		return err
	}
	if disks.root >= enough && disks.cache >= enough {
		return nil
	}
	box, err := t.enterSandbox(ctx)
	if err != nil {
		return err
	}
	t.progress("packages", "asking how much space it takes")
	answer, status, err := ask(ctx, box, sandbox.Command{Argv: estimate.Argv, Env: estimate.Env})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if status != 0 {
		return nil // the command itself will say why, to whom it concerns
	}
	dir := t.u.Store.Path(t.number, snapshot.RoleSnapshot)
	need, err := m.Need(ctx, pkgmgr.Root{Dir: dir}, answer)
	if err != nil {
		t.u.Log.Warn("cannot tell how much space a change of packages takes", "error", err)
		return nil
	}
	return disks.fit(need)
}

// disks is what is free where packages go, in bytes.
type disks struct {
	root, cache uint64
	shared      bool   // the cache is on the root's file system
	cacheDir    string // as the system sees it
}

func (u *Updater) disks(m pkgmgr.Manager) (disks, error) {
	usage, err := u.Driver.Usage(u.Root)
	if err != nil {
		return disks{}, err
	}
	d := disks{root: usage.Data(), cache: usage.Data(), shared: true}
	for _, dir := range m.Caches() {
		path := filepath.Join(u.Root, dir)
		at, err := mountOver(path)
		if err != nil {
			continue // it is made in the snapshot
		}
		root, err := mountOver(u.Root)
		if err != nil {
			return disks{}, err
		}
		d.cacheDir = dir
		// Mounts of one file system have one device, whichever their subvolume.
		if at.Major == root.Major && at.Minor == root.Minor {
			return d, nil
		}
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			return disks{}, fmt.Errorf("cannot see how much space %s has: %w", dir, err)
		}
		d.shared, d.cache = false, st.Bavail*uint64(st.Bsize)
		return d, nil
	}
	return d, nil
}

// mountOver is the mount that a path lies on.
func mountOver(path string) (*mountinfo.Info, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(real))
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts over %s: %w", path, err)
	}
	var over *mountinfo.Info
	for _, m := range mounts { // a later one covers an earlier one
		if over == nil || len(m.Mountpoint) >= len(over.Mountpoint) {
			over = m
		}
	}
	if over == nil {
		return nil, fmt.Errorf("nothing is mounted at %s", path)
	}
	return over, nil
}

// fit refuses what there is no room for.
func (d disks) fit(need pkgmgr.Need) error {
	written, download := uint64(max(0, need.Written)), uint64(max(0, need.Download))
	if d.shared {
		written += download
	} else if download > d.cache {
		return fmt.Errorf("%w: %d MiB are to be downloaded, and %d MiB are free at %s", fault.ErrNoSpace, mebibytes(download), d.cache/mib, d.cacheDir)
	}
	// What stays free is for what packages write that is not counted: databases, ramdisks.
	if written > 0 && written+leastData > d.root {
		return fmt.Errorf("%w: the packages need %d MiB and %d MiB beside them, and %d MiB are free", fault.ErrNoSpace, mebibytes(written), leastData/mib, d.root/mib)
	}
	return nil
}

// mebibytes rounds up: what is needed is never less than what is said.
func mebibytes(bytes uint64) uint64 { return (bytes + mib - 1) / mib }

// ask runs a command whose output is for us alone, to its end.
func ask(ctx context.Context, box *sandbox.Sandbox, c sandbox.Command) (stdout []byte, status int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, -1, err
	}
	defer r.Close()
	c.Stdout = w
	p, err := box.Start(ctx, c)
	w.Close()
	if err != nil {
		return nil, -1, err
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		return nil, -1, err
	}
	exit, err := p.Wait()
	return out.Bytes(), exit.Status, err
}
