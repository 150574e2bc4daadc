// Package bus holds what both ends of the bus agree on: names, the
// introspection data and the JSON documents. It imports nothing of the daemon.
package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// Names on the bus.
const (
	Name                 = "org.txupd1"
	Path                 = "/org/txupd1"
	TransactionPrefix    = "/org/txupd1/transaction/"
	SnapshotPrefix       = "/org/txupd1/snapshot/"
	ManagerInterface     = "org.txupd1.Manager"
	TransactionInterface = "org.txupd1.Transaction"
	SnapshotInterface    = "org.txupd1.Snapshot"
	PropertiesInterface  = "org.freedesktop.DBus.Properties"
	IntrospectInterface  = "org.freedesktop.DBus.Introspectable"
	PeerInterface        = "org.freedesktop.DBus.Peer"
	ObjectsInterface     = "org.freedesktop.DBus.ObjectManager"
)

// Names of options, the last argument of every method.
const (
	OptMethod        = "method"         // s: how the machine is rebooted
	OptMessage       = "message"        // s: why
	OptTags          = "tags"           // as
	OptFrom          = "from"           // s: a number, "booted", "default" or "pending"
	OptDetach        = "detach"         // b: go on when the caller leaves the bus
	OptKeepUnchanged = "keep_unchanged" // b: commit even if nothing changed
	OptStdin         = "stdin"          // b: the command reads what Attach's first descriptor is sent; else nothing
	OptTerminal      = "terminal"       // b: run in a terminal
	OptRows          = "rows"           // q: of the terminal
	OptColumns       = "columns"        // q: of the terminal
	OptTerm          = "term"           // s: TERM of the terminal
	OptDryRun        = "dry_run"        // b: say what would be done, change nothing
	OptExpires       = "expires"        // t: seconds after which an open transaction is discarded; 0 means never
	OptLimit         = "limit"          // t: at most so many
	OptPackage       = "package"        // s: only what touched this package
	OptAsCommitted   = "as_committed"   // b: what it was when it was committed, not as it was last left
	OptRestoreShared = "restore_shared" // b: take back what was handed over to shared trees
	OptPath          = "path"           // s: only what touched this path, what is below it, or what matches the pattern
	OptPaths         = "paths"          // as: only these paths or patterns
	OptSince         = "since"          // x: created at this second since 1970 or later
	OptUntil         = "until"          // x: created before it
	OptActor         = "actor"          // s: only those of this user or unit
	OptState         = "state"          // s: one of States
	OptTag           = "tag"            // s: only those with this tag
	OptText          = "text"           // s: only those whose message or notes hold it, in whatever case
	OptNote          = "note"           // s: a note that is added
	OptDropTags      = "drop_tags"      // as: tags that are taken away
	OptPin           = "pin"            // b: protect the snapshot from deletion, or do so no more
	OptBrief         = "brief"          // b: records without commands, packages one by one, boots, decisions and what was captured
	OptNow           = "now"            // b: as they are now, not as they were committed
	OptPatch         = "patch"          // b: with the contents of files; needs authorisation
	OptContext       = "context"        // u: so many lines around each change
	OptHead          = "head"           // s: JOURNAL:SEQ:HASH, a head that was kept elsewhere
	OptIgnoreCase    = "ignore_case"    // b: in whatever case
	OptSnapshot      = "snapshot"       // s: this snapshot, a number or one of the words
	OptContent       = "content"        // ay: what a file shall hold
	OptSeen          = "seen"           // s: the state that a decision was made on
	OptStrict        = "strict"         // b: fail where the merge of /etc has conflicts
	OptEtc           = "etc"            // s: EtcRestore or EtcKeep
	OptCommand       = "command"        // u: only the output of this command of the transaction, up to its end
)

// Words that stand for snapshots in OptFrom and in arguments of txctl.
const (
	WordBooted   = "booted"
	WordDefault  = "default"
	WordPending  = "pending"
	WordLastGood = "last-good"
)

// WordBase stands, as the first of two snapshots to compare, for what the second was made from.
const WordBase = "base"

// TransactionPath is the object of transaction n.
func TransactionPath(n uint64) string { return TransactionPrefix + strconv.FormatUint(n, 10) }

// SnapshotPath is the object of snapshot n.
func SnapshotPath(n uint64) string { return SnapshotPrefix + strconv.FormatUint(n, 10) }

// NumberIn reads the number at the end of an object path with the given prefix.
func NumberIn(path, prefix string) (uint64, error) {
	digits, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return 0, fmt.Errorf("object path %q does not start with %s", path, prefix)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, fmt.Errorf("object path %q does not end with a number", path)
	}
	return n, nil
}
