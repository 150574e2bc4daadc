// The verdict: what of the facts must not be.

package oracle

import (
	"fmt"
	"slices"
	"strings"
)

// Check names what a finding is about.
type Check string

// The checks.
const (
	BootNext       Check = "boot-next"        // something else boots next than may
	NotBootable    Check = "not-bootable"     // what boots next, or an entry, lacks what a boot needs
	MenuDamaged    Check = "menu-damaged"     // the menu contradicts itself
	MenuDisagrees  Check = "menu-disagrees"   // menu, default subvolume and records do not agree
	BootedChanged  Check = "booted-changed"   // the running root is not as it was
	LostRecord     Check = "lost-record"      // an acknowledged transaction is not there
	JournalDamaged Check = "journal-damaged"  // the journal cannot be read
	BrokenChain    Check = "broken-chain"     // events were changed, removed or reordered
	WrongRecord    Check = "wrong-record"     // a record is not what its events, or its marker, say
	OpenLeft       Check = "open-left"        // a transaction is open that should not be
	StepsLeft      Check = "steps-left"       // recorded steps of no open transaction
	OrphanDir      Check = "orphan-directory" // in .snapshots, and no record speaks of it
	OrphanState    Check = "orphan-state"     // in .snapshots/.txupd, and nobody needs it
	OrphanSubvol   Check = "orphan-subvolume" // belongs to no recorded snapshot and not to the layout
	MissingDir     Check = "missing-snapshot" // recorded, and not there
	LeftMount      Check = "leftover-mount"
	LeftProcess    Check = "leftover-process"
	LeftBootFile   Check = "leftover-boot-file" // half written
	StaleEntry     Check = "stale-entry"        // a boot entry of a snapshot that is gone
	StagedLeft     Check = "staged-left"        // a kernel on the boot partition that no entry needs
	StaleCounter   Check = "stale-counter"      // GRUB counts for a snapshot that is gone
)

// Finding is one thing that is wrong.
type Finding struct {
	Check Check  `json:"check"`
	Text  string `json:"text"`
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Check, f.Text) }

// Acknowledged is a transaction of which somebody was told that it is done.
type Acknowledged struct {
	Number uint64 `json:"number"`
	// Message as it was given, "" for any.
	Message string `json:"message,omitempty"`
	// Deleted: its deletion was acknowledged too. MaybeDeleted: it was asked for.
	Deleted      bool `json:"deleted,omitempty"`
	MaybeDeleted bool `json:"maybe_deleted,omitempty"`
}

// Expect is what a caller knows of the system.
type Expect struct {
	// Next are the snapshots of which one has to boot next: the old one, and the
	// new one where its commit was under way. 0 is a root outside of .snapshots.
	Next []uint64 `json:"next"`
	// Acknowledged transactions must not be lost.
	Acknowledged []Acknowledged `json:"acknowledged"`
	// Open are transactions that may be open.
	Open []uint64 `json:"open,omitempty"`
	// Foreign are the directories in .snapshots of other tools.
	Foreign []string `json:"foreign,omitempty"`
	// Layout are the paths of subvolumes that do not belong to snapshots,
	// besides those that were there before.
	Layout []string `json:"layout,omitempty"`
	// Unserved: the daemon has not run after whatever happened. What it does when
	// it starts is not expected yet: only that nothing is lost and the machine boots.
	Unserved bool `json:"unserved,omitempty"`
}

// Judge compares what is with what has to be. before may be the zero value; it
// is needed for what only shows in a comparison: the running root, mounts, and
// subvolumes that were there from the start.
func Judge(before, after Facts, e Expect) []Finding {
	j := judge{before: before, f: after, e: e}
	j.bootNext()
	j.menu()
	j.booted()
	j.journal()
	j.acknowledged()
	j.records()
	if !e.Unserved {
		j.unfinished()
		j.directories()
		j.subvolumes()
		j.bootFiles()
		j.live()
	}
	return j.found
}

type judge struct {
	before, f Facts
	e         Expect
	found     []Finding
}

func (j *judge) find(c Check, format string, args ...any) {
	j.found = append(j.found, Finding{c, fmt.Sprintf(format, args...)})
}

// bootNext: one of those that may, and it can.
func (j *judge) bootNext() {
	f := &j.f
	number := f.Next()
	// Without its next start the daemon has not made it follow the menu.
	if s, ok := j.defaultRoot(); !f.Boot.Menu || !j.e.Unserved {
		switch dir, role := f.place(s.Path); {
		case !ok:
			j.find(BootNext, "the default is subvolume %d, which is no root", f.Default)
		case dir != "" && role != "snapshot":
			j.find(BootNext, "the default is %s, which is no root", s.Path)
		case number != f.NumberOf(s):
			j.find(MenuDisagrees, "the menu boots %d, the default subvolume is %s", number, s.Path)
		case !f.Boot.Menu:
			j.system(s)
		}
	}
	if j.e.Next != nil && !slices.Contains(j.e.Next, number) {
		j.find(BootNext, "%d boots next, and it has to be one of %v", number, j.e.Next)
	}
	if number != 0 && f.directory(number) == nil {
		j.find(NotBootable, "%d boots next, and there is no directory of it", number)
	}
}

// defaultRoot is what the default subvolume stands for. The top level is nobody's
// choice: what boots is pinned elsewhere then, and no snapshot of ours.
func (j *judge) defaultRoot() (Subvolume, bool) {
	f := &j.f
	if f.Default != topLevelID || j.before.Root != "" && j.before.Default != topLevelID {
		return f.byID(f.Default)
	}
	return f.Booted, f.NumberOf(f.Booted) == 0
}

// system: a root has what the running one has of what a boot needs.
func (j *judge) system(s Subvolume) {
	has, ok := j.f.Systems[s.ID]
	model := j.f.Systems[j.f.Booted.ID]
	switch {
	case !ok:
		j.find(NotBootable, "%s boots next, and is no root that is known", s.Path)
	case !has.OSRelease && model.OSRelease:
		j.find(NotBootable, "%s has no os-release", s.Path)
	case !has.Init && model.Init:
		j.find(NotBootable, "%s has no init", s.Path)
	}
}

// menu: each entry can be booted, and boots its own snapshot.
func (j *judge) menu() {
	b := &j.f.Boot
	for _, p := range b.Problems {
		j.find(MenuDamaged, "%s", p)
	}
	if !b.Menu {
		return
	}
	if !slices.ContainsFunc(b.Entries, func(e Entry) bool { return e.Number == b.Default }) {
		j.find(NotBootable, "%d boots next, and has no entry", b.Default)
	}
	if b.Fallback != nil && !slices.ContainsFunc(b.Entries, func(e Entry) bool { return e.Number == *b.Fallback }) {
		j.find(NotBootable, "the menu falls back to %d, which has no entry", *b.Fallback)
	}
	for _, e := range b.Entries {
		j.entry(e)
	}
}

func (j *judge) entry(e Entry) {
	r, recorded := j.f.Journal.Records[e.Number]
	at := slices.IndexFunc(j.f.Subvolumes, func(s Subvolume) bool { return s.Path == e.RootPath })
	gone := recorded && !r.Stands() || e.Number != 0 && j.f.directory(e.Number) == nil || at < 0
	if gone && e.Number != j.f.Boot.Default {
		if !j.e.Unserved {
			j.find(StaleEntry, "the menu has an entry of %d, which is gone (its root is %q)", e.Number, e.RootPath)
		}
		return
	}
	if at < 0 {
		j.find(NotBootable, "the entry of %d has the root %q, which does not exist", e.Number, e.RootPath)
		return
	}
	s := j.f.Subvolumes[at]
	if want := r.Subvolumes["snapshot"]; recorded && want != (Identity{s.ID, s.UUID}) && len(r.Subvolumes) > 0 {
		j.find(MenuDisagrees, "the entry of %d has the root %s (subvolume %d), recorded is subvolume %d", e.Number, e.RootPath, s.ID, want.ID)
	}
	if n := j.f.NumberOf(s); n != e.Number {
		j.find(MenuDisagrees, "the entry of %d has the root of %d", e.Number, n)
	}
	if e.RootUUID != j.f.UUID {
		j.find(NotBootable, "the entry of %d has its root on the file system %s, not %s", e.Number, e.RootUUID, j.f.UUID)
	}
	if e.SearchUUID == j.f.UUID && !strings.HasPrefix(e.Kernel, "/"+s.Path+"/") {
		j.find(MenuDisagrees, "the entry of %d loads the kernel %s of another root", e.Number, e.Kernel)
	}
	for _, m := range e.Missing {
		j.find(NotBootable, "the entry of %d: %s", e.Number, m)
	}
	j.system(s)
	if !slices.Contains(j.f.Systems[s.ID].Modules, e.KernelVersion) {
		j.find(NotBootable, "the entry of %d has the kernel %s, and its root has the modules of %q", e.Number, e.KernelVersion, j.f.Systems[s.ID].Modules)
	}
	if recorded && r.BootEntry != nil && r.BootEntry.KernelVersion != e.KernelVersion {
		j.find(MenuDisagrees, "the entry of %d has the kernel %s, recorded is %s", e.Number, e.KernelVersion, r.BootEntry.KernelVersion)
	}
}

// mostDifferences of a fingerprint are told.
const mostDifferences = 10

// booted: what ran is as it was, also where something else runs by now.
func (j *judge) booted() {
	after := j.f.Former
	if j.before.Booted.UUID == j.f.Booted.UUID {
		after = j.f.Fingerprint
	}
	if j.before.Fingerprint == nil || after == nil {
		return
	}
	differences := j.before.Fingerprint.differences(after)
	for i, d := range differences {
		if i == mostDifferences {
			j.find(BootedChanged, "and %d more", len(differences)-i)
			return
		}
		j.find(BootedChanged, "%s", d)
	}
}
