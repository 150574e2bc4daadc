//go:build !failpoint

package daemon

import (
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/pkg/snapshot"
)

// driver is how the daemon works on btrfs.
func driver() snapshot.Driver { return btrfs.Driver{} }
