package update

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// TestDeepFilesKeepNoCommitFromBeingRecorded: a command can make a tree that is
// deeper than any path, by going down step by step.
func TestDeepFilesKeepNoCommitFromBeingRecorded(t *testing.T) {
	j, err := journal.Open(filepath.Join(t.TempDir(), "journal.db"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var found []snapshot.Change
	for _, depth := range []int{1, 100, journal.MaxPath / 2, journal.MaxPath/2 + 1, journal.MaxPath} {
		found = append(found, snapshot.Change{Path: strings.Repeat("/d", depth), Kind: snapshot.Added})
	}
	kept, deep := reachable(found)
	if deep != 2 || len(kept) != 3 {
		t.Errorf("%d are too deep, %d are kept", deep, len(kept))
	}
	files := visible(kept, nil)
	if err := j.Update(func(tx *journal.Tx) error {
		if err := tx.Put("committed", nil, record.Record{Number: 1}); err != nil {
			return err
		}
		return tx.PutFiles(1, files)
	}); err != nil {
		t.Error(err)
	}
}
