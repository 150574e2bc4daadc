// Package fault holds the errors that callers branch on and the one table that
// turns them into bus error names and exit codes. Nobody else knows an exit
// code.
package fault

import (
	"context"
	"errors"
	"strings"
	"syscall"
)

// The kinds of failure. Wrap one with fmt.Errorf("…: %w", …) and say what
// could not be done.
var (
	ErrFailed          = errors.New("failed")
	ErrInvalidArgument = errors.New("invalid argument")
	ErrPackageManager  = errors.New("the package manager failed")
	ErrCommandFailed   = errors.New("the command failed")
	ErrNotFound        = errors.New("not found")
	ErrProtected       = errors.New("protected")
	ErrBusy            = errors.New("a transaction is in progress")
	ErrStale           = errors.New("the default changed since the transaction began")
	ErrNoSpace         = errors.New("not enough space")
	ErrNotAuthorized   = errors.New("not authorised")
	ErrNotSupported    = errors.New("not supported here")
	ErrConflicts       = errors.New("conflicts")
	ErrUnreconciled    = errors.New("committed, but derived work failed; it will be reconciled")
	ErrCancelled       = errors.New("cancelled")
)

// Usage and Own are the exit codes that belong to no bus error: words that
// could not be understood, and our own failure in verbs that otherwise return
// their command's status.
const (
	Usage = 2
	Own   = 125
)

// Unchanged is the exit code of --unchanged-exit where nothing changed.
const Unchanged = 77

var table = []struct {
	err  error
	name string
	exit int
}{
	{ErrInvalidArgument, "InvalidArgument", Usage},
	{ErrPackageManager, "PackageManagerFailed", 3},
	{ErrCommandFailed, "CommandFailed", 1},
	{ErrNotFound, "NotFound", 4},
	{ErrProtected, "Protected", 5},
	{ErrBusy, "Busy", 6},
	{ErrStale, "Stale", 7},
	{ErrNoSpace, "NoSpace", 8},
	{ErrNotAuthorized, "NotAuthorized", 9},
	{ErrNotSupported, "NotSupported", 10},
	{ErrConflicts, "Conflicts", 11},
	{ErrUnreconciled, "Unreconciled", 12},
	{ErrCancelled, "Cancelled", 130},
	{context.Canceled, "Cancelled", 130},
	// Whatever ran out of space, wherever it was: no layer above has to look for it.
	{syscall.ENOSPC, "NoSpace", 8},
	{syscall.EDQUOT, "NoSpace", 8},
	{errors.ErrUnsupported, "NotSupported", 10},
	{ErrFailed, "Failed", 1}, // last: what nothing else fits
}

// Prefix stands before each name on the bus.
const Prefix = "org.txupd1.Error."

// Name is the bus error name of err without the prefix; "Failed" for an error
// of no kind, "" for nil.
func Name(err error) string {
	if err == nil {
		return ""
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			return row.name
		}
	}
	return "Failed"
}

// Exit is the exit code of err, 0 for nil.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			return row.exit
		}
	}
	return 1
}

// remote is an error that came over the bus: the words of the daemon, the kind of the table.
type remote struct {
	kind    error
	message string
}

func (r *remote) Error() string { return r.message }
func (r *remote) Unwrap() error { return r.kind }

// FromName makes the error that a bus error (with or without prefix) stands
// for, so that errors.Is works on both sides. A name that is not in the table
// is ErrFailed.
func FromName(name, message string) error {
	name = strings.TrimPrefix(name, Prefix)
	for _, row := range table {
		if row.name == name {
			return &remote{row.err, message}
		}
	}
	return &remote{ErrFailed, message}
}
