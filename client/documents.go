// The documents that the daemon answers with, which are those of txctl's --json,
// and the errors that it answers with.

package client

import (
	"errors"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// What there is, and what became of it.
type (
	Status       = bus.Status
	Snapshot     = bus.Snapshot
	List         = bus.List
	Packages     = bus.Packages
	Package      = bus.Package
	PackageNames = bus.PackageNames
	Config       = bus.Config
	Setting      = bus.Setting
)

// The changelog.
type (
	Shown          = bus.Shown
	Log            = bus.Log
	Blame          = bus.Blame
	BlamedChange   = bus.BlamedChange
	Diff           = bus.Diff
	File           = bus.File
	Patch          = bus.Patch
	Grep           = bus.Grep
	Match          = bus.Match
	Verification   = bus.Verification
	JournalProblem = bus.JournalProblem
)

// What differs in /etc, and what waits for a decision there.
type (
	Etc         = bus.Etc
	EtcChange   = bus.EtcChange
	EtcConflict = bus.EtcConflict
	EtcDiff     = bus.EtcDiff
	EtcSides    = bus.EtcSides
	EtcResolved = bus.EtcResolved
)

// What happens, and how it ended.
type (
	Event    = bus.Event
	Progress = bus.Progress
	Outcome  = bus.Outcome
)

// How the machine boots, and what keeps it in order.
type (
	Doctor     = bus.Doctor
	Partition  = bus.Partition
	Problem    = bus.Problem
	Repair     = bus.Repair
	Repaired   = bus.Repaired
	Assessment = bus.Assessment
	// Auto is what came of an unattended update.
	Auto = bus.Auto
	// Metrics is the state in numbers.
	Metrics = bus.Metrics
	// RebootStatus is the reboot that is asked for, if there is one.
	RebootStatus = bus.RebootStatus
	GC           = bus.GC
	GCSnapshot   = bus.GCSnapshot
	GCFailure    = bus.GCFailure
	GCSpace      = bus.GCSpace
)

// ErrNoDaemon: the daemon cannot be reached.
var ErrNoDaemon = errors.New("the daemon is not there")

// What errors.Is finds in the errors of this package; they are those of the bus
// that are called org.txupd1.Error.NAME.
var (
	ErrFailed          = fault.ErrFailed
	ErrInvalidArgument = fault.ErrInvalidArgument
	ErrPackageManager  = fault.ErrPackageManager
	ErrCommandFailed   = fault.ErrCommandFailed
	ErrNotFound        = fault.ErrNotFound
	ErrProtected       = fault.ErrProtected
	ErrBusy            = fault.ErrBusy
	ErrStale           = fault.ErrStale
	ErrNoSpace         = fault.ErrNoSpace
	ErrNotAuthorized   = fault.ErrNotAuthorized
	ErrNotSupported    = fault.ErrNotSupported
	ErrConflicts       = fault.ErrConflicts
	ErrUnreconciled    = fault.ErrUnreconciled
	ErrCancelled       = fault.ErrCancelled
)

// What an [Event] tells.
const (
	EventWatching = bus.EventWatching
	EventBegan    = bus.EventBegan
	EventProgress = bus.EventProgress
	EventCommand  = bus.EventCommand
	EventEnded    = bus.EventEnded
	EventAdded    = bus.EventAdded
	EventRemoved  = bus.EventRemoved
	EventNext     = bus.EventNext
)
