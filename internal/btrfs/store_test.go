package btrfs

import (
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
	"github.com/txupd/txupd/pkg/snapshot/snapshottest"
)

func TestStoreInEveryLayout(t *testing.T) {
	for _, layout := range testbed.Layouts {
		t.Run(layout, func(t *testing.T) {
			snapshottest.RunStore(t, func(t *testing.T) (snapshot.Driver, string) {
				return Driver{}, testbed.Layout(t, layout)
			})
		})
	}
}
