//go:build failpoint

package daemon

import (
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/pkg/snapshot"
)

// driver is how the daemon works on btrfs, with a failpoint before and after
// everything that changes the file system.
func driver() snapshot.Driver { return failing{btrfs.Driver{}} }

type failing struct{ snapshot.Driver }

func around(name string, act func() error) error { return failpoint.Around("btrfs/"+name, act) }

func (f failing) Create(path string) error {
	return around("create", func() error { return f.Driver.Create(path) })
}

func (f failing) Fork(src, dst string, readOnly bool) error {
	return around("fork", func() error { return f.Driver.Fork(src, dst, readOnly) })
}

func (f failing) Delete(path string, want snapshot.SubvolumeID) error {
	return around("delete", func() error { return f.Driver.Delete(path, want) })
}

func (f failing) SetReadOnly(path string, readOnly bool) error {
	return around("seal", func() error { return f.Driver.SetReadOnly(path, readOnly) })
}

func (f failing) SetDefault(path string, id snapshot.SubvolumeID) error {
	return around("set-default", func() error { return f.Driver.SetDefault(path, id) })
}

func (f failing) Sync(path string) error {
	return around("sync", func() error { return f.Driver.Sync(path) })
}
