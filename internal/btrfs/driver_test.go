package btrfs

import (
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
	"github.com/txupd/txupd/pkg/snapshot/snapshottest"
)

func TestDriver(t *testing.T) {
	snapshottest.RunDriver(t, func(t *testing.T) (snapshot.Driver, string) {
		return Driver{}, testbed.Loop(t, 256)
	})
}
