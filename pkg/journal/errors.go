// The errors that callers of the journal branch on.

package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: no record with that number, or no event with that sequence.
	ErrNotFound = errors.New("not found in the journal")
	// ErrLocked: another process holds the journal, and kept it for all of Options.Timeout.
	ErrLocked = errors.New("the journal is in use by another process")
	// ErrNewer: the journal has a major schema that this version does not know.
	ErrNewer = errors.New("the journal was written by a newer version")
	// ErrOlder: the journal has an older major schema; Migrate brings it up.
	ErrOlder = errors.New("the journal has an older schema")
	// ErrReadOnly: a change was asked for inside View.
	ErrReadOnly = errors.New("the journal is open for reading only here")
	// ErrChain: the chain does not contain a head that was seen before.
	ErrChain = errors.New("the journal's chain was broken")
)

// DamagedError says that the file cannot be trusted, and why. After it came
// from Open, SetAside moves the file out of the way.
type DamagedError struct {
	Path   string
	Reason string
}

// Error names the file and the reason.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("journal %s is damaged: %s", e.Path, e.Reason)
}
