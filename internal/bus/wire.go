// The JSON documents of DESIGN §9, as the bus carries them and txctl prints them.

package bus

import (
	"time"

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

// Status is the document of `status`.
type Status struct {
	Booted         *Snapshot      `json:"booted"`
	Default        *Snapshot      `json:"default"`
	Pending        *Snapshot      `json:"pending"`
	LastGood       *Snapshot      `json:"last_good"`
	Transaction    *Transaction   `json:"transaction"`
	RebootRequired bool           `json:"reboot_required"`
	Warnings       []string       `json:"warnings"`
	Capabilities   map[string]any `json:"capabilities"`
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
