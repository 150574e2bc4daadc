// Mounts of the suites.

package snapshottest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// bind shows the directory at from also at to, until the test ends.
func bind(t testing.TB, from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot mount %s at %s: %w", from, to, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(to, unix.UMOUNT_NOFOLLOW); err != nil {
			t.Errorf("cannot unmount %s: %v", to, err)
		}
	})
	return nil
}
