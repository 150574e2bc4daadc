package bus

import (
	"strings"
	"testing"
)

// FuzzObjectPath: the path of a number is read as that number, and no other path is.
func FuzzObjectPath(f *testing.F) {
	f.Add("/org/txupd1/snapshot/7", uint64(7))
	f.Add("/org/txupd1/transaction/007", uint64(0))
	f.Add("/org/txupd1/snapshot/+1", ^uint64(0))
	f.Fuzz(func(t *testing.T, path string, n uint64) {
		for prefix, pathOf := range map[string]func(uint64) string{SnapshotPrefix: SnapshotPath, TransactionPrefix: TransactionPath} {
			if got, err := NumberIn(pathOf(n), prefix); err != nil || got != n {
				t.Errorf("%s is read as %d (%v)", pathOf(n), got, err)
			}
			got, err := NumberIn(path, prefix)
			if err == nil && pathOf(got) != path {
				t.Errorf("%q is read as %d", path, got)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "object path \"") {
				t.Errorf("%q: %v", path, err)
			}
		}
	})
}
