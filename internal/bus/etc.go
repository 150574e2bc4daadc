// The JSON documents of /etc.

package bus

import "github.com/txupd/txupd/pkg/journal/record"

// Etc is the document of `etc`: the running /etc beside that of a snapshot.
type Etc struct {
	Booted uint64 `json:"booted"`
	// Snapshot is the other one, null where nothing is pending and none was named.
	Snapshot *uint64 `json:"snapshot"`
	// BootsNext: it is what the next reboot boots.
	BootsNext bool `json:"boots_next"`
	// Merged: what was edited in the running /etc comes along with the reboot. Why says why it does not.
	Merged bool   `json:"merged"`
	Why    string `json:"why,omitempty"`
	// Differences are between the running /etc and the snapshot's, as both are now.
	Differences []EtcChange `json:"differences"`
	// Plan is what the next merge will decide about what was edited since the last one.
	Plan []record.EtcDecision `json:"plan"`
	// Reboot is how /etc will differ, once it is booted, from what runs now.
	Reboot []EtcChange `json:"reboot"`
	// Conflicts are those of the snapshot, or of the running /etc where there is none, that wait for a
	// decision; RunningConflicts those of the running /etc beside them.
	Conflicts        []EtcConflict `json:"conflicts"`
	RunningConflicts []EtcConflict `json:"running_conflicts"`
	// Decisions are those recorded with the snapshot, or with what runs where there is none.
	Decisions []record.EtcDecision `json:"decisions"`
	Warnings  []string             `json:"warnings"`
}

// EtcChange is one path that differs.
type EtcChange struct {
	Path   string   `json:"path"`
	Change string   `json:"change"` // added, removed, modified or type
	What   []string `json:"what,omitempty"`
}

// EtcConflict is what a merge kept beside the file that won. As long as it is
// there, nobody has decided.
type EtcConflict struct {
	Path string `json:"path"` // the file, which may be gone
	Kept string `json:"kept"`
	// Version is the number of the snapshot whose file was kept, Snapshot the one that it lies in.
	Version  uint64 `json:"version"`
	Snapshot uint64 `json:"snapshot"`
}

// EtcDiff is the document of `etc diff`.
type EtcDiff struct {
	Booted   uint64 `json:"booted"`
	Snapshot uint64 `json:"snapshot"`
	// Merged: the second side is what a reboot makes of both; else it is the snapshot's as it is now.
	Merged     bool     `json:"merged"`
	Patches    []Patch  `json:"patches"`
	PatchesCut bool     `json:"patches_cut,omitempty"`
	Warnings   []string `json:"warnings"`
}

// EtcSides are both sides of a conflict, for somebody who wants to edit them.
type EtcSides struct {
	EtcConflict
	// Theirs is in place, null where it was removed; Ours was kept beside it.
	Theirs []byte `json:"theirs"`
	Ours   []byte `json:"ours"`
	// State names the two as they are now, for EtcResolve.
	State string `json:"state"`
}

// What a conflict is settled to.
const (
	ChoiceOurs   = "ours"   // what was kept: the snapshot's
	ChoiceTheirs = "theirs" // what is in place: the running side's
	ChoiceEdited = "edited" // a content that was made of both
)

// What a rollback does about /etc.
const (
	EtcRestore = "restore" // it comes back as it was then
	EtcKeep    = "keep"    // what was edited on the running system comes along
)

// EtcResolved is the document of `etc resolve`.
type EtcResolved struct {
	EtcConflict
	Choice string `json:"choice"`
	// Left counts the conflicts that still wait for a decision in that snapshot.
	Left int `json:"left"`
}
