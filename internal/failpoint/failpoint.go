// Package failpoint marks the places at which a crash or an error is tried out.
// Every step boundary and both sides of every durable write have one. In what
// is released it is empty: only a build with the tag "failpoint" can fail.
package failpoint

// Variable of the environment: the file that arms a failpoint, in a build that has them.
const Variable = "TXUPD_FAILPOINT"

// Kind is what happens at an armed failpoint.
type Kind string

// The kinds.
const (
	Error   Kind = "error"    // the operation says that it failed
	NoSpace Kind = "no-space" // it says that the file system is full
	Panic   Kind = "panic"    // a bug shows
	Kill    Kind = "kill"     // the process ends as if the power went
	// Pause is no failure: the process makes a file beside the one that arms it,
	// with .reached after its name, and goes on when that one is gone.
	Pause Kind = "pause"
)

// Kinds are all that fail.
var Kinds = []Kind{Error, NoSpace, Panic, Kill}

// Around does something that changes what is on the disk, with a failpoint
// before it and another one, NAME/done, after it: an error of that one stands
// for an answer that was lost.
func Around(name string, act func() error) error {
	if err := Here(name); err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	return Here(name + "/done")
}
