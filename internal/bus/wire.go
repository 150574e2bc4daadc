// The JSON documents of DESIGN §9, as the bus carries them and txctl prints them.

package bus

import (
	"time"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Roles of a snapshot, always computed.
const (
	RoleBooted     = "booted"
	RoleDefault    = "default"
	RolePending    = "pending"
	RoleLastGood   = "last-good"
	RoleOpen       = "open"
	RoleSuperseded = "superseded"
)

// Snapshot is one row of `list`, and the snapshots of `status`.
type Snapshot struct {
	Number      uint64               `json:"number"`
	SubvolumeID uint64               `json:"subvolume_id"`
	Phase       record.Phase         `json:"phase"`
	Verdict     record.Verdict       `json:"verdict"`
	Roles       []string             `json:"roles"`
	Created     time.Time            `json:"created"`
	Kernel      string               `json:"kernel"`
	Message     string               `json:"message"`
	Kind        string               `json:"kind"`
	Tags        []string             `json:"tags"`
	Parent      *uint64              `json:"parent"`
	Packages    record.PackageCounts `json:"packages"`
	Files       record.FileCounts    `json:"files"`
	Pinned      bool                 `json:"pinned"`
	Adopted     bool                 `json:"adopted"`
	// ContainedIn is the first later snapshot that was forked from this one, and so has its changes.
	ContainedIn *uint64 `json:"contained_in,omitempty"`
	// Foreign: another tool made it and the journal knows nothing of it.
	Foreign bool `json:"foreign,omitempty"`
	// Deleted: it is here for its descendants' sake only.
	Deleted *time.Time `json:"deleted,omitempty"`
}

// Transaction is the one that is in progress.
type Transaction struct {
	Number  uint64       `json:"number"`
	Parent  uint64       `json:"parent"`
	Kind    string       `json:"kind"`
	Message string       `json:"message"`
	Actor   record.Actor `json:"actor"`
	Since   time.Time    `json:"since"`
	Expires *time.Time   `json:"expires"`
	// Running: a command runs in it; else it is open and waits.
	Running bool `json:"running"`
}

// Progress is how far a transaction is, as the signal of that name has it.
type Progress struct {
	Phase    string
	Fraction float64 // of the phase; negative where it is not known
	Text     string
}

// Known is the fraction, nil where it is not known.
func (p Progress) Known() *float64 {
	if p.Fraction < 0 {
		return nil
	}
	return &p.Fraction
}

// Status is the document of `status`.
type Status struct {
	Booted         *Snapshot    `json:"booted"`
	Default        *Snapshot    `json:"default"`
	Pending        *Snapshot    `json:"pending"`
	LastGood       *Snapshot    `json:"last_good"`
	Transaction    *Transaction `json:"transaction"`
	RebootRequired bool         `json:"reboot_required"`
	Reboot         *Reboot      `json:"reboot"` // that is asked for
	Warnings       []string     `json:"warnings"`
	// EtcConflicts wait for a decision, in what boots next and in what runs.
	EtcConflicts []EtcConflict  `json:"etc_conflicts"`
	Capabilities map[string]any `json:"capabilities"`
}

// Doctor is the document of `doctor`: how the machine boots.
type Doctor struct {
	Root   string `json:"root"`
	Layout string `json:"layout"`
	// CommitPoint is what decides what boots: default-subvolume, boot-menu, or unsupported.
	CommitPoint string `json:"commit_point"`
	Why         string `json:"why"`
	BootLoader  string `json:"boot_loader"`
	// RootFlags is the word of the kernel command line that names the root, Fstab the options in fstab that do.
	RootFlags      string `json:"root_flags"`
	Fstab          string `json:"fstab"`
	GrubDir        string `json:"grub_dir"`
	GrubFilesystem string `json:"grub_filesystem"`
	Hooked         bool   `json:"hooked"`
	// Counter is where trial boots are counted, "" where they are not.
	Counter  string     `json:"counter"`
	Boot     *Partition `json:"boot"` // where kernels lie on a partition of their own
	ESP      *Partition `json:"esp"`
	Problems []Problem  `json:"problems"`
	// Repaired is what the latest recovery did, null where there was nothing to do yet.
	Repaired *Repaired `json:"repaired"`
}

// Repaired is what a recovery did, by itself or when it was asked to.
type Repaired struct {
	Time time.Time `json:"time"`
	Done []string  `json:"done"`
}

// Repair is the document of `doctor --repair`.
type Repair struct {
	Done []string `json:"done"`
	// Left is what could not be repaired.
	Left []string `json:"left"`
}

// Partition is one that the loader reads.
type Partition struct {
	Mount  string `json:"mount"`
	Device string `json:"device"`
	UUID   string `json:"uuid"`
	Type   string `json:"type"`
	Free   uint64 `json:"free"` // bytes
	Size   uint64 `json:"size"`
}

// Problem is something that keeps txupd from working, or from working well, and what to do.
type Problem struct {
	What   string `json:"what"`
	Remedy string `json:"remedy"`
	Blocks bool   `json:"blocks"` // no transaction begins until it is gone
}

// Config is the document of `config`.
type Config struct {
	Values []Setting `json:"values"`
	// Error says why the files cannot be read; the values are the defaults then, and nothing is changed with them.
	Error string `json:"error"`
}

// Setting is one key of the configuration.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"` // a number, a bool, a string (times too: "10s") or a list of strings
	// Origin is FILE:LINE, or "default".
	Origin string `json:"origin"`
	Doc    string `json:"doc"`
}

// List is the document of `list`.
type List struct {
	Snapshots []Snapshot `json:"snapshots"`
}

// Log is the document of `log`.
type Log struct {
	Records []record.Record `json:"records"`
}

// Package is one row of `pkg list`.
type Package struct {
	Name    string `json:"name"`
	Arch    string `json:"arch"`
	Version string `json:"version"`
}

// Packages is the document of `pkg list`.
type Packages struct {
	Manager  string    `json:"manager"`
	Snapshot uint64    `json:"snapshot"`
	Packages []Package `json:"packages"`
}

// PackageNames is the document of the packages that can be added.
type PackageNames struct {
	Manager string   `json:"manager"`
	Names   []string `json:"names"`
}

// Assessment is what a boot showed so far.
type Assessment struct {
	Number uint64 `json:"number"`
	// Verdict is the snapshot's, Boot that of this boot, "" before it has one.
	Verdict record.Verdict `json:"verdict"`
	Boot    record.Verdict `json:"boot"`
	Failed  []string       `json:"failed_checks"`
	Warned  []string       `json:"warned_checks"`
	Why     string         `json:"why"`
	Note    string         `json:"note"`
	// LeftFor is the snapshot that the machine is being rebooted into, because this one is bad.
	LeftFor *uint64 `json:"left_for"`
}

// Outcome is the document that verbs which change something print: how the
// transaction ended. The bus has it as properties of the transaction.
type Outcome struct {
	Number    uint64       `json:"number"`
	Parent    uint64       `json:"parent"`
	Kind      string       `json:"kind"`
	Phase     record.Phase `json:"phase"`
	Unchanged bool         `json:"unchanged"`
	Exit      int32        `json:"exit"`
	// Error is a name of the table of errors, "" where all went well.
	Error          string                 `json:"error"`
	ErrorMessage   string                 `json:"error_message"`
	Warnings       []string               `json:"warnings"`
	PackageChanges []record.PackageChange `json:"package_changes"`
	Files          record.FileCounts      `json:"files"`
}

// Err is why it failed, nil where it did not.
func (o Outcome) Err() error {
	if o.Error == "" {
		return nil
	}
	return fault.FromName(o.Error, o.ErrorMessage)
}
