//go:build !failpoint

package failpoint

// Enabled reports whether this build has failpoints.
const Enabled = false

// Here is a place at which a build with failpoints can be made to fail.
func Here(string) error { return nil }
