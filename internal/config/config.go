// Package config reads txupd's configuration: TOML files of the distribution
// and of the administrator, later ones over earlier ones. What cannot be
// understood is an error with file and line, never a default that nobody asked for.
package config

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/fleetlock"
)

// Where the files are, below the root of the system that is served.
const (
	VendorFile = "/usr/lib/txupd/txupd.toml"
	AdminFile  = "/etc/txupd/txupd.toml"
	AdminDir   = "/etc/txupd/conf.d" // *.toml in it, in the order of their names
)

const (
	// MaxTries is as far as the boot loader counts.
	MaxTries = 20
	// MaxHealthTime bounds health.total-timeout: the units that run the checks,
	// and the deadline of a boot, wait longer.
	MaxHealthTime = 15 * time.Minute
)

// Config is the configuration in force.
type Config struct {
	Boot     Boot
	Health   Health
	Log      Log
	Packages Packages
	Etc      Etc
	GC       GC
	Auto     Auto
	Reboot   Reboot
	Metrics  Metrics
	// FleetLock is a server that is asked before a reboot.
	FleetLock FleetLock

	origins map[string]string // by key: FILE:LINE of what was set
}

// Boot is the section [boot].
type Boot struct {
	Tries              int
	AutomaticRollbacks int
	PanicTimeout       time.Duration // whole seconds
	GRUBDirectory      string        // "" to find it
}

// Health is the section [health].
type Health struct {
	Timeout      time.Duration // of one check
	TotalTimeout time.Duration // of all of them
	FailedUnits  bool
	Network      bool
	NetworkWait  time.Duration
	IgnoreUnits  []string // globs
}

// Log is the section [log].
type Log struct {
	TotalSize       int // MiB, of what is recorded of all transactions
	TransactionSize int // MiB, of one before it is compressed
}

// Packages is the section [packages].
type Packages struct {
	Wait time.Duration // for a package manager at work on the running system
}

// Etc is the section [etc]: which files of /etc are merged in another way than the
// built-in table says. Patterns are relative to /etc; ** is any number of directories.
type Etc struct {
	Lines, Whole, Set, State, Live, Derived, Never []string
}

// GC is the section [gc]: which snapshots stay.
type GC struct {
	Automatic   bool // after every commit and every night
	Least       int  // so many of the newest stay in any case
	Most        int  // 0 is any number
	Days        int  // 0 is any age
	Tags        []string
	FreePercent int
}

// Auto is the section [auto]: unattended updates.
type Auto struct {
	Policy  string // "check", "stage" or "apply"
	Metered bool   // also where the network costs by what is sent
}

// Reboot is the section [reboot]: when the machine may reboot.
type Reboot struct {
	Method   string        // "auto", "reboot" or "none"
	Window   []WindowTable // none: see Calendar
	Sessions bool          // wait until nobody is logged in
	Spread   time.Duration // of machines over the beginning of a window
	Deadline time.Duration // after the request; 0 is none
	Notice   time.Duration // to those who are logged in
}

// Metrics is the section [metrics].
type Metrics struct {
	Textfile string // "" for none
}

// FleetLock is the section [fleetlock].
type FleetLock struct {
	URL   string // "" for none
	Group string
}

// settings lists every key there is. A new one is a field above and a line here.
func (c *Config) settings() []setting {
	return []setting{
		integer("boot.tries", &c.Boot.Tries, 3, 1, MaxTries,
			"how often a new snapshot is tried before the boot loader leaves it, where the loader can count"),
		integer("boot.automatic-rollbacks", &c.Boot.AutomaticRollbacks, 2, 0, 100,
			"how often in a row a snapshot that fails after the kernel started is left without asking, before the machine stays up"),
		duration("boot.panic-timeout", &c.Boot.PanicTimeout, 10*time.Second, time.Second, 10*time.Minute,
			"how long a snapshot on trial that panics stays so before the machine restarts"),
		directory("boot.grub-directory", &c.Boot.GRUBDirectory, "",
			"the directory of the grub.cfg that GRUB really reads; found out where empty"),
		duration("health.timeout", &c.Health.Timeout, time.Minute, time.Second, MaxHealthTime,
			"how long one health check may take"),
		duration("health.total-timeout", &c.Health.TotalTimeout, 10*time.Minute, time.Second, MaxHealthTime,
			"how long all health checks of a boot may take together"),
		boolean("health.failed-units", &c.Health.FailedUnits, true,
			"whether a unit that failed, and did not before the update, makes a boot bad"),
		boolean("health.network", &c.Health.Network, true,
			"whether having no default route, where there was one before the update, makes a boot bad"),
		duration("health.network-wait", &c.Health.NetworkWait, 30*time.Second, time.Second, MaxHealthTime,
			"how long a boot is given to get its default route"),
		globs("health.ignore-units", &c.Health.IgnoreUnits,
			"units whose failure says nothing about a boot"),
		integer("log.total-size", &c.Log.TotalSize, 256, 1, 1<<20,
			"how many MiB the recorded output of all transactions may take; the oldest goes first"),
		integer("log.transaction-size", &c.Log.TransactionSize, 16, 1, 1<<10,
			"how many MiB of output are recorded of one transaction; of more the middle is left out"),
		duration("packages.wait", &c.Packages.Wait, 20*time.Second, 0, time.Hour,
			"how long a transaction waits for a package manager that is changing the running system, before it is refused"),
		boolean("gc.automatic", &c.GC.Automatic, true,
			"whether old snapshots go by themselves, after every commit and every night"),
		integer("gc.least", &c.GC.Least, 3, 0, 10_000,
			"so many of the newest snapshots stay, however old they are and however little is free"),
		integer("gc.most", &c.GC.Most, 20, 0, 10_000,
			"so many snapshots stay beside those that are needed, pinned or tagged; 0 for any number"),
		integer("gc.days", &c.GC.Days, 0, 0, 36_500,
			"snapshots that are older than so many days go; 0 for any age"),
		patterns("gc.tags", &c.GC.Tags, "a snapshot with a tag that one of these matches stays", `a list of tags such as ["release", "golden-*"]`,
			func(tag string) bool { return tag != "" }),
		integer("gc.free-percent", &c.GC.FreePercent, 10, 0, 90,
			"how much of the file system is to be free: where it is less, more of the oldest snapshots go"),
		choice("auto.policy", &c.Auto.Policy, []string{"stage", "check", "apply"},
			"what an unattended update does: look whether there is one, make it what boots next, or also ask for a reboot in a window"),
		boolean("auto.metered", &c.Auto.Metered, false,
			"whether updates come unattended also where the network is metered"),
		choice("reboot.method", &c.Reboot.Method, []string{"auto", "reboot", "none"},
			"how the machine is rebooted: auto begins only user space anew where the kernel and its command line stay the same (soft-reboot, with systemd 254), reboot never does; none: not at all, /run/reboot-required says that it has to be"),
		windows(&c.Reboot.Window,
			"when the machine may reboot by itself; every day from 03:30 for 1h30m where there is none"),
		boolean("reboot.sessions", &c.Reboot.Sessions, true,
			"whether a reboot waits until nobody is logged in"),
		duration("reboot.spread", &c.Reboot.Spread, 30*time.Minute, 0, 12*time.Hour,
			"machines reboot at different times, each at its own, up to so long after a window opens, in its first half"),
		duration("reboot.deadline", &c.Reboot.Deadline, 0, 0, 90*24*time.Hour,
			"a reboot that waits for a window takes place so long after it was asked for in any case, whoever is logged in; \"0s\" for never"),
		duration("reboot.notice", &c.Reboot.Notice, time.Minute, 0, time.Hour,
			"how long before a reboot those who are logged in are told"),
		text("metrics.textfile", &c.Metrics.Textfile, "", `an absolute path that ends in ".prom", or ""`,
			func(v string) bool {
				return v == "" || path.IsAbs(v) && path.Clean(v) == v && strings.HasSuffix(v, ".prom") && !strings.ContainsRune(v, 0)
			},
			"the file that metrics are written to after each change, in the text format of Prometheus, for the textfile collector of node_exporter; none where empty"),
		text("fleetlock.url", &c.FleetLock.URL, "", `the address of a server such as "https://locks.example.com", or ""`,
			func(v string) bool { return v == "" || fleetlock.Check(v, "any") == nil },
			"the FleetLock server that is asked for a slot before a reboot, so that not all machines reboot at once; none where empty"),
		text("fleetlock.group", &c.FleetLock.Group, "default", "letters, digits, dots and hyphens",
			func(v string) bool { return fleetlock.Check("http://any", v) == nil },
			"the group of machines that share the slots of the server"),
		below("etc.lines", "/etc", &c.Etc.Lines,
			"files of /etc whose texts are merged by lines, where a built-in rule says otherwise"),
		below("etc.whole", "/etc", &c.Etc.Whole,
			"files of /etc that are never merged by lines: the running side wins, and what loses is kept beside it"),
		below("etc.set", "/etc", &c.Etc.Set,
			"files of /etc in which each line stands for itself, and the order says nothing"),
		below("etc.state", "/etc", &c.Etc.State,
			"files of /etc that programs keep for themselves: what loses is not kept, and is no conflict"),
		below("etc.live", "/etc", &c.Etc.Live,
			"files of /etc that are always as on the running system"),
		below("etc.derived", "/etc", &c.Etc.Derived,
			"files of /etc that are made from others: always the snapshot's"),
		below("etc.never", "/etc", &c.Etc.Never,
			"files of /etc that are never taken over from the running system"),
	}
}

// Default is the configuration where there is no file.
func Default() *Config {
	c := &Config{origins: map[string]string{}}
	for _, s := range c.settings() {
		s.reset()
	}
	return c
}

// Value is one key with what is in force.
type Value struct {
	Key string `json:"key"`
	// Value is an int, a bool, a string (times too: "10s") or a []string.
	Value any `json:"value"`
	// Origin is FILE:LINE, or "default".
	Origin string `json:"origin"`
	Doc    string `json:"doc"`
	// Wants says what is accepted.
	Wants string `json:"-"`
}

// Text is the value as it would stand in a file.
func (v Value) Text() string { return literal(v.Value) }

// Values lists every key, section by section.
func (c *Config) Values() []Value {
	var values []Value
	for _, s := range c.settings() {
		origin, set := c.origins[s.key]
		if !set {
			origin = "default"
		}
		values = append(values, Value{Key: s.key, Value: s.get(), Origin: origin, Doc: s.doc, Wants: s.wants})
	}
	return values
}

// Error is one thing that is wrong with a file.
type Error struct {
	File string
	Line int // 0 where it is about the whole file
	What string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.What
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What)
}

// Load reads the configuration of the system at root. Files that are not there
// are none; the error names everything that is wrong, each an *Error.
func Load(root string) (*Config, error) {
	files, problems := readAll(root)
	c := Default()
	for _, f := range files {
		for _, problem := range c.apply(f) {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return c, nil
}
