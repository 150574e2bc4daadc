// Package record says what the journal knows of one transaction. The types are
// the JSON of `txctl show` (names never change, fields are only added); they
// are apart from package journal so that readers need no bbolt.
package record

import "time"

// Phase is how far a transaction came.
type Phase string

// The phases: open → committed, or failed, or discarded.
const (
	Open      Phase = "open"
	Committed Phase = "committed"
	Failed    Phase = "failed"
	Discarded Phase = "discarded"
)

// Verdict is what booting a snapshot showed.
type Verdict string

// The verdicts.
const (
	Untried Verdict = "untried"
	Good    Verdict = "good"
	Bad     Verdict = "bad"
)

// Actor is who asked for a transaction.
type Actor struct {
	UID  uint32 `json:"uid"`
	Name string `json:"name,omitempty"`
	// Login is who logged in, where that is somebody else (sudo).
	Login   string `json:"login,omitempty"`
	Session string `json:"session,omitempty"`
	BusName string `json:"bus_name,omitempty"`
	Unit    string `json:"unit,omitempty"`
}

// Command is one command that ran inside the snapshot.
type Command struct {
	Argv []string `json:"argv"`
	Dir  string   `json:"cwd,omitempty"`
	// Exit is the exit status, 128+signal where a signal ended it, 125 where it could not be run, NoExit while it runs.
	Exit     int       `json:"exit"`
	Started  time.Time `json:"started"`
	Duration float64   `json:"duration"` // seconds
}

// NoExit stands for an exit status that there is not.
const NoExit = -1

// Change kinds of packages and files.
const (
	Added      = "added"
	Removed    = "removed"
	Upgraded   = "upgraded"   // packages only
	Downgraded = "downgraded" // packages only
	Modified   = "modified"   // files only
	TypeChange = "type"       // files only: a directory became a link, and so on
)

// Opposite is the change that takes one back: itself for modified and type.
func Opposite(change string) string {
	switch change {
	case Added:
		return Removed
	case Removed:
		return Added
	case Upgraded:
		return Downgraded
	case Downgraded:
		return Upgraded
	}
	return change
}

// PackageChange is one package whose version differs between base and after.
type PackageChange struct {
	Name   string `json:"name"`
	Arch   string `json:"arch"`
	Change string `json:"change"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	// Reason is "requested" or "dependency" where the package manager knows, else empty.
	Reason string `json:"reason,omitempty"`
}

// FileChange is one path that differs between base and after. Path starts with "/".
type FileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"`
	Owner  string `json:"owner,omitempty"` // the package that owns it, empty for none
}

// PackageCounts and FileCounts sum up changes.
type PackageCounts struct {
	Added      int `json:"added"`
	Removed    int `json:"removed"`
	Upgraded   int `json:"upgraded"`
	Downgraded int `json:"downgraded"`
}

// FileCounts sums up file changes; type changes count as modified.
type FileCounts struct {
	Added    int `json:"added"`
	Removed  int `json:"removed"`
	Modified int `json:"modified"`
}

// Sizes sums up the sizes of changed files, in bytes: a file with several names counts once.
type Sizes struct {
	// Written are files that were added or modified, as they are after it.
	Written int64 `json:"written"`
	// Replaced are files that were removed or modified, as they were before it.
	Replaced int64 `json:"replaced"`
}

// Note is what somebody added to a record after the fact.
type Note struct {
	Time  time.Time `json:"time"`
	Actor Actor     `json:"actor"`
	Text  string    `json:"text"`
}

// Annotations are the part of a record that people change after the fact.
type Annotations struct {
	Notes  []Note   `json:"notes"`
	Tags   []string `json:"tags"`
	Pinned bool     `json:"pinned"`
}

// EtcDecision is one decision of the three-way merge of /etc.
type EtcDecision struct {
	Path     string `json:"path"` // absolute
	Decision string `json:"decision"`
	// Rule that decided, and What it was about: content, mode, owner, …
	Rule string   `json:"rule,omitempty"`
	What []string `json:"what,omitempty"`
	Kept string   `json:"kept,omitempty"` // where the losing side was kept
	// Detail says more in words.
	Detail string `json:"detail,omitempty"`
	// At and By are of a conflict that a person settled: Decision is ours, theirs or edited then.
	At *time.Time `json:"at,omitempty"`
	By *Actor     `json:"by,omitempty"`
}

// SharedTree is what a transaction captured of one shared tree, and what became of it.
type SharedTree struct {
	Tree string `json:"tree"` // where the system has it
	// Paths counts what was captured, Captured are the first of them, with what is to become of each: created, replaced, removed.
	Paths    int          `json:"paths"`
	Captured []SharedPath `json:"captured"`
	// HandedOver is when the live tree got it, at a boot of snapshot By; nil while it did not.
	HandedOver *time.Time `json:"handed_over,omitempty"`
	By         *uint64    `json:"by,omitempty"`
	// Became counts what became of the paths then; Decisions are the first of those that the live tree did not get as they were.
	Became    map[string]int `json:"became,omitempty"`
	Decisions []SharedPath   `json:"decisions,omitempty"`
}

// MaxSharedPaths is how many paths of a shared tree a record has at most.
const MaxSharedPaths = 100

// SharedPath is one path of a shared tree.
type SharedPath struct {
	Path     string `json:"path"` // absolute
	Decision string `json:"decision"`
	Aside    string `json:"aside,omitempty"` // where the transaction's was put, where the live side's stayed
	Reason   string `json:"reason,omitempty"`
}

// Boot is one boot of the snapshot.
type Boot struct {
	// BootID is the kernel's, "" for boots that never came to user space.
	BootID  string    `json:"boot_id"`
	First   time.Time `json:"first"`
	Count   int       `json:"count"`
	Verdict Verdict   `json:"verdict"`
	// Failed are the names of the checks that failed, units among them as unit names.
	Failed []string `json:"failed_checks"`
	Checks []Check  `json:"checks,omitempty"`
	// Why says in words what a bad verdict is for.
	Why string `json:"why,omitempty"`
	// InsteadOf is the snapshot that the boot loader was to boot, and gave up.
	InsteadOf *uint64 `json:"instead_of,omitempty"`
	// Left: the snapshot was left for another one without a person, by the loader or by us.
	Left bool `json:"left,omitempty"`
}

// Check is the result of one health check.
type Check struct {
	Name     string  `json:"name"`
	Kind     string  `json:"kind"` // required, wanted or builtin
	OK       bool    `json:"ok"`
	Duration float64 `json:"duration"` // seconds
	Error    string  `json:"error,omitempty"`
}

// BootEntry is what the boot menu says of the snapshot.
type BootEntry struct {
	KernelVersion string `json:"kernel_version"`
	// Kernel and Initrd are paths in the snapshot, or on the file system BootUUID where that is set.
	Kernel      string   `json:"kernel"`
	Initrd      []string `json:"initrd,omitempty"`
	BootUUID    string   `json:"boot_uuid,omitempty"`
	CommandLine string   `json:"command_line"`
	// Assessed: the snapshot contains what gives its boot a verdict. Without it there is no trial.
	Assessed bool `json:"assessed"`
}

// Health is how the running system stood when a snapshot was made, to compare with after its boot.
type Health struct {
	FailedUnits []string `json:"failed_units,omitempty"`
	Network     bool     `json:"network"`
}

// Subvolume identifies a subvolume of the snapshot: both must match before anything is deleted.
type Subvolume struct {
	ID   uint64 `json:"id"`
	UUID string `json:"uuid"`
}

// Record is one transaction and its snapshot.
type Record struct {
	Number  uint64  `json:"number"`
	UUID    string  `json:"uuid"` // of the transaction; the marker on disk carries it too
	Phase   Phase   `json:"phase"`
	Verdict Verdict `json:"verdict"`
	// VerdictSequence orders verdicts: the later one has the higher number, whatever the clock said.
	VerdictSequence uint64 `json:"verdict_sequence,omitempty"`
	// Parent is the number that it was forked from; nil for an adopted root.
	Parent *uint64 `json:"parent"`
	// ParentUUID is the subvolume uuid of the parent at that time.
	ParentUUID string `json:"parent_uuid,omitempty"`
	Adopted    bool   `json:"adopted,omitempty"`
	Pinned     bool   `json:"pinned"`

	Created  time.Time  `json:"created"`
	Finished *time.Time `json:"finished,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
	Deleted  *time.Time `json:"deleted,omitempty"`
	// DeletedFor is the rule of housekeeping that let it go, "" where somebody deleted it.
	DeletedFor string `json:"deleted_for,omitempty"`

	Actor   Actor    `json:"actor"`
	Kind    string   `json:"kind"` // pkg-add, pkg-remove, update, run, shell, begin, adopt
	Message string   `json:"message"`
	Tags    []string `json:"tags"`
	// Notes are what people added later.
	Notes []Note `json:"notes,omitempty"`
	Error string `json:"error,omitempty"`
	// ErrorCode is the name of the bus error that it ended with.
	ErrorCode string   `json:"error_code,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`

	Commands       []Command       `json:"commands"`
	PackageChanges []PackageChange `json:"package_changes"`
	// FileChanges is kept apart in the journal and filled in on demand.
	FileChanges  []FileChange  `json:"file_changes"`
	Packages     PackageCounts `json:"packages"`
	Files        FileCounts    `json:"files"`
	EtcDecisions []EtcDecision `json:"etc_decisions"`
	// EtcOf is the uuid of the running root with whose /etc this one's is merged, "" for none.
	EtcOf string `json:"etc_of,omitempty"`
	// EtcGeneration is the generation of that /etc that the image of it shows, 0 where the image tells by itself.
	EtcGeneration uint64 `json:"etc_generation,omitempty"`
	// EtcSettled: it was merged at its first boot, or nothing is left to merge.
	EtcSettled bool `json:"etc_settled,omitempty"`
	// EtcKept are the conflicts that waited for a decision in what it was made from: where their losing sides were kept.
	EtcKept []string `json:"etc_kept,omitempty"`
	// Shared is what was captured of shared trees.
	Shared []SharedTree `json:"shared,omitempty"`
	// SharedBelow are the snapshots that it is stacked on whose captures had not been handed over when it began, the newest first.
	SharedBelow []uint64 `json:"shared_below,omitempty"`
	Boots       []Boot   `json:"boots"`
	Kernel      string   `json:"kernel"`
	// Sizes are of what the transaction wrote and removed; nil where it was not measured.
	Sizes *Sizes `json:"sizes,omitempty"`
	// BootEntry is nil where the boot loader follows the default subvolume.
	BootEntry *BootEntry `json:"boot_entry,omitempty"`
	// Before is how the system stood that it was made on.
	Before *Health `json:"health_before,omitempty"`

	// Subvolumes by role: snapshot, base, after, live and the nested ones ("snapshot/etc").
	Subvolumes map[string]Subvolume `json:"subvolumes,omitempty"`
}

// CountPackages sums up changes.
func CountPackages(changes []PackageChange) PackageCounts {
	var c PackageCounts
	for _, p := range changes {
		switch p.Change {
		case Added:
			c.Added++
		case Removed:
			c.Removed++
		case Upgraded:
			c.Upgraded++
		case Downgraded:
			c.Downgraded++
		}
	}
	return c
}

// CountFiles sums up changes.
func CountFiles(changes []FileChange) FileCounts {
	var c FileCounts
	for _, f := range changes {
		switch f.Change {
		case Added:
			c.Added++
		case Removed:
			c.Removed++
		default:
			c.Modified++
		}
	}
	return c
}
