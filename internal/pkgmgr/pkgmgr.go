// Package pkgmgr puts the distribution's package manager behind one small
// interface: which commands to run inside a snapshot, what their exit status
// means, and what the package database of a root says. It runs nothing itself:
// where a question needs a program (rpm's database does), it is run through
// the Root that the caller hands in.
package pkgmgr

import "context"

// Package is one installed package.
type Package struct {
	Name string
	// Arch is in the manager's own words: "amd64", "x86_64", "all", "noarch".
	Arch string
	// Version is the full version: "1:2.0-3"; without an epoch where there is none.
	Version string
	// Reason is Requested, Dependency, or empty where the manager does not know.
	Reason string
}

// Why a package is installed.
const (
	Requested  = "requested"
	Dependency = "dependency"
)

// Command is one command to run inside the snapshot. Env is what it needs on
// top of the sandbox's environment.
type Command struct {
	Argv []string
	Env  []string
	// Status: it tells on descriptor 3 how far it is.
	Status bool
}

// Options of the verbs. The zero value is the usual case.
type Options struct {
	// DryRun makes the manager say what it would do. Package sources are read
	// all the same: an answer from yesterday's lists would be a wrong one.
	DryRun bool
	// Refresh reads the package sources before Add. Update always does.
	Refresh bool
}

// Outcome is what the end of one command means.
type Outcome struct {
	// OK: go on with the next command.
	OK bool
	// Note is a sentence for people about it; empty for plain success.
	Note string
	// Missing are the names that do not exist, as far as the manager names them.
	Missing []string
	// Locked: another process holds the manager's lock; later it may work.
	Locked bool
	// Again: it succeeded, but replaced the manager itself, and the same commands
	// have to run once more for the rest.
	Again bool
	// NoSpace: a disk is full.
	NoSpace bool
	// RebootSuggested: the manager says that what it installed needs a reboot.
	RebootSuggested bool
}

// Root is one system whose package database is read.
type Root struct {
	// Dir is where it is mounted. What is below is data: no symbolic link in it leads out.
	Dir string
	// Run runs argv inside that root and returns its standard output and exit
	// status; err says that it could not run. Managers with a database of plain
	// files (apt) do not need it.
	Run func(ctx context.Context, argv []string) (stdout []byte, status int, err error)
}

// Manager is one package manager, as found in one root. It holds no state: it
// serves every root of the same system.
type Manager interface {
	// Name is "apt" or "zypper".
	Name() string
	// Add, Remove and Update return commands to run in order, up to the first
	// whose Outcome is not OK. Names must have passed CheckNames.
	Add(names []string, o Options) []Command
	Remove(names []string, o Options) []Command
	// Update refreshes the sources and upgrades everything.
	Update(o Options) []Command
	// Outcome judges a command of this manager by its exit status and by what
	// it printed on both outputs; the end of a long one is enough, in whole lines (Words).
	Outcome(argv []string, status int, output []byte) Outcome
	// Metered returns c so that it tells how far it is, and what understands that;
	// it means what c does, and what it prints is for the meter. A nil Meter: it does not tell.
	Metered(c Command) (Command, Meter)
	// Estimate is a command that changes nothing and says how much space c takes;
	// false where c takes none or does not tell. Need reads its standard output,
	// after a status of 0; root is where it ran.
	Estimate(c Command) (Command, bool)
	Need(ctx context.Context, root Root, answer []byte) (Need, error)
	// Caches are the absolute directories to bind through from the running system.
	Caches() []string
	// Database are the paths, relative to the root, that hold the package database.
	Database() []string
	// Installed reads the database of root, sorted by name, architecture, version.
	Installed(ctx context.Context, root Root) ([]Package, error)
	// Available are the names that begin with prefix in the lists of what can be
	// added, as they were read last: sorted, none where none were read. The caches lie in root.
	Available(ctx context.Context, root Root, prefix string) ([]string, error)
	// Owners maps each of the absolute paths to the package that owns it. Paths
	// without an owner, and directories that several packages share, are left
	// out. Ask the root in which the paths exist: the base for removed ones.
	Owners(ctx context.Context, root Root, paths []string) (map[string]string, error)
	// Compare orders two versions as the manager does: negative where a is older.
	Compare(a, b string) int
}
