// The JSON documents of the annotated changelog.

package bus

import (
	"time"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Shown is the document of `show`: a record, and which roles its snapshot has now.
type Shown struct {
	record.Record
	Roles []string `json:"roles"`
}

// StateDeleted is the state of a transaction whose snapshot was deleted.
const StateDeleted = "deleted"

// States are what OptState selects records by: phases, verdicts of what is committed, and deleted.
var States = []string{
	string(record.Open), string(record.Committed), string(record.Failed), string(record.Discarded), StateDeleted,
	string(record.Untried), string(record.Good), string(record.Bad),
}

// Blame is the document of `blame`: the changes of a path or package, newest first.
type Blame struct {
	Subject   string         `json:"subject"`
	IsPackage bool           `json:"is_package"`
	Changes   []BlamedChange `json:"changes"`
	// Complete: there are no more, however many were asked for.
	Complete bool `json:"complete"`
}

// BlamedChange is one change with the transaction that made it.
type BlamedChange struct {
	Number  uint64         `json:"number"`
	Created time.Time      `json:"created"`
	Actor   record.Actor   `json:"actor"`
	Kind    string         `json:"kind"`
	Message string         `json:"message"`
	Phase   record.Phase   `json:"phase"`
	Verdict record.Verdict `json:"verdict"`
	Deleted *time.Time     `json:"deleted,omitempty"`
	Change  string         `json:"change"`
	// Path and Owner are of a file, Package of a package.
	Path    string                `json:"path,omitempty"`
	Owner   string                `json:"owner,omitempty"`
	Package *record.PackageChange `json:"package,omitempty"`
}

// What a side of a Diff is taken from.
const (
	SideCommitted = "committed" // its image of the commit
	SideForked    = "forked"    // the image of it that the other side's line began with
	SideNow       = "now"       // as it is now
)

// Diff is the document of `diff`.
type Diff struct {
	From      uint64 `json:"from"`
	To        uint64 `json:"to"`
	FromState string `json:"from_state"`
	ToState   string `json:"to_state"`
	// Recorded: it is what was recorded when one was made from the other; nothing had to be compared.
	Recorded      bool                   `json:"recorded"`
	Packages      []record.PackageChange `json:"packages"`
	Files         []record.FileChange    `json:"files"`
	PackageCounts record.PackageCounts   `json:"package_counts"`
	FileCounts    record.FileCounts      `json:"file_counts"`
	// Patches are there where they were asked for, in the order of Files.
	Patches []Patch `json:"patches,omitempty"`
	// PatchesCut: there would have been more than is sent.
	PatchesCut bool     `json:"patches_cut,omitempty"`
	Warnings   []string `json:"warnings"`
}

// Patch tells what became of one file.
type Patch struct {
	Path   string `json:"path"`
	Change string `json:"change"`
	Owner  string `json:"owner,omitempty"`
	// Before and After are nil where there is nothing.
	Before *File `json:"before"`
	After  *File `json:"after"`
	// Binary: the contents differ, and are no text.
	Binary bool `json:"binary,omitempty"`
	// TooLarge: a content is too large to be compared line by line.
	TooLarge bool `json:"too_large,omitempty"`
	// Text are the hunks of a unified diff, without the lines that name the file.
	Text string `json:"text,omitempty"`
}

// File is what a directory entry says of one file.
type File struct {
	Type   string `json:"type"` // file, directory, link, device, fifo or socket
	Mode   uint32 `json:"mode"` // permissions with setuid, setgid and sticky
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Size   int64  `json:"size"`             // of a file
	Target string `json:"target,omitempty"` // of a link
}

// Types of a File.
const (
	FileRegular   = "file"
	FileDirectory = "directory"
	FileLink      = "link"
	FileDevice    = "device"
	FileFIFO      = "fifo"
	FileSocket    = "socket"
)

// Grep is the document of `grep`: lines of recorded output, those of the newest transaction first.
type Grep struct {
	Text    string  `json:"text"`
	Matches []Match `json:"matches"`
	// Complete: there are no more, however many were asked for.
	Complete bool     `json:"complete"`
	Warnings []string `json:"warnings"`
}

// Match is one line of output.
type Match struct {
	Number uint64 `json:"number"`
	Line   int    `json:"line"` // from 1
	Text   string `json:"text"`
}

// Verification is the document of `verify`.
type Verification struct {
	OK      bool   `json:"ok"`
	Journal string `json:"journal"`
	Seq     uint64 `json:"seq"` // of the last event
	Hash    string `json:"hash"`
	Events  uint64 `json:"events"`
	Records uint64 `json:"records"`
	Lists   uint64 `json:"path_lists"`
	// Problems name what was edited, removed, reordered or damaged.
	Problems []JournalProblem `json:"problems"`
	// HeadsChecked heads printed to the system journal were found in the chain; HeadsOfOthers are of
	// journals that this one took the place of.
	HeadsChecked  int `json:"heads_checked"`
	HeadsOfOthers int `json:"heads_of_others"`
	// Covered is the last event that a printed head vouches for.
	Covered uint64 `json:"covered"`
	// Unproven says in sentences what cannot be known.
	Unproven []string `json:"unproven"`
}

// JournalProblem is one thing that is wrong with the journal.
type JournalProblem struct {
	Kind   string `json:"kind"`
	Seq    uint64 `json:"seq,omitempty"`
	Number uint64 `json:"number,omitempty"`
	Text   string `json:"text"`
}
