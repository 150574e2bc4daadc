// Package health finds out whether a boot went well: it runs the checks of the
// distribution and of the administrator, and asks which units failed and
// whether the network is there that was there before. It reports and decides
// nothing.
package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Where the checks are, below the root: required.d and wanted.d in each. A file
// in the later directory replaces the one of the same name in the earlier, and
// masks it where it is a link to /dev/null.
const (
	VendorDir = "/usr/lib/txupd/health.d"
	AdminDir  = "/etc/txupd/health.d"
)

// Times where Options say none.
const (
	DefaultTimeout     = time.Minute
	DefaultTotal       = 10 * time.Minute
	DefaultNetworkWait = 30 * time.Second
)

// Kind says what a failed check means.
type Kind string

// A boot is bad where a required or built-in check fails; a wanted one warns.
const (
	Required Kind = "required"
	Wanted   Kind = "wanted"
	Builtin  Kind = "builtin"
)

// NoExit stands for an exit status that there is not.
const NoExit = -1

// Options say what to check.
type Options struct {
	Root string   // prefix of all paths; "/" where empty
	Dirs []string // of checks, earlier ones first; VendorDir and AdminDir where nil

	Timeout time.Duration // of one check
	Total   time.Duration // of the checks and the waiting for the network together

	FailedUnits bool
	IgnoreUnits []string // globs of units whose failure says nothing
	Network     bool
	NetworkWait time.Duration

	Before Baseline // what the two built-in checks compare with
	// Env holds NAME=VALUE pairs; it comes on top of what every check gets.
	Env     []string
	Log     *slog.Logger // nil discards
	Machine Machine      // nil is the running one
}

// Result is how one check went.
type Result struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	OK   bool   `json:"ok"`
	// NotChecked says why there was nothing to check; it is OK then.
	NotChecked string        `json:"not_checked,omitempty"`
	Exit       int           `json:"exit"` // 128+signal where a signal ended it; NoExit where it did not run or is built in
	Took       time.Duration `json:"took"` // nanoseconds in JSON
	// Output is the end of what it printed on both streams, at most 8 KiB.
	Output string `json:"output,omitempty"`
	Error  string `json:"error,omitempty"` // one line
}

// Report is how all of them went.
type Report struct {
	Results []Result `json:"results"` // in the order in which they ran
	// Healthy: every check ended, and no required or built-in one failed.
	Healthy bool `json:"healthy"`
	// Interrupted: the context ended first. That says nothing about the boot.
	Interrupted bool `json:"interrupted,omitempty"`
	// Failed and Warned hold "NAME: why", one line each: of checks that make the
	// boot bad, and of those that do not.
	Failed []string `json:"failed"`
	Warned []string `json:"warned"`
	// Notes name what was not checked and which files are no checks.
	Notes []string `json:"notes,omitempty"`
}

// Run runs every check: the network first, because others may need it, then
// the required ones and the wanted ones in the order of their names, and last
// the failed units, among them those that failed in the meantime.
func Run(ctx context.Context, o Options) Report {
	r := &runner{Options: o.filled(), report: Report{Failed: []string{}, Warned: []string{}}}
	limited, cancel := context.WithTimeout(ctx, r.Total)
	defer cancel()
	if r.Network {
		r.check(ctx, "network", Builtin, func() Result { return r.network(limited) })
	}
	for _, kind := range []Kind{Required, Wanted} {
		found, notes := find(r.Root, r.Dirs, kind)
		r.report.Notes = append(r.report.Notes, notes...)
		for _, s := range found {
			r.check(ctx, s.name, kind, func() Result { return r.script(limited, s) })
		}
	}
	if r.FailedUnits {
		// Not limited by what the checks took: where one hangs, the unit that
		// failed is the news.
		r.check(ctx, "failed-units", Builtin, func() Result { return r.failedUnits(ctx) })
	}
	r.report.Interrupted = ctx.Err() != nil
	r.report.Healthy = len(r.report.Failed) == 0 && !r.report.Interrupted
	return r.report
}

// filled puts in what was left out.
func (o Options) filled() Options {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Dirs == nil {
		o.Dirs = []string{VendorDir, AdminDir}
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Total <= 0 {
		o.Total = DefaultTotal
	}
	if o.NetworkWait <= 0 {
		o.NetworkWait = DefaultNetworkWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Machine == nil {
		o.Machine = System{Root: o.Root}
	}
	return o
}

// runner is one run.
type runner struct {
	Options
	report Report
}

// check runs one check, unless there is no point any more, and files its result.
func (r *runner) check(ctx context.Context, name string, kind Kind, run func() Result) {
	if ctx.Err() != nil {
		return
	}
	begin := time.Now()
	result := run()
	if ctx.Err() != nil {
		return // whatever it said, it was cut off
	}
	result.Name, result.Kind, result.Took = name, kind, time.Since(begin)
	r.report.Results = append(r.report.Results, result)
	log := r.Log.With("check", name, "kind", string(kind), "took", result.Took.Round(time.Millisecond))
	switch {
	case result.NotChecked != "":
		r.report.Notes = append(r.report.Notes, name+" was not checked: "+result.NotChecked)
		log.Info("health: not checked", "why", result.NotChecked)
	case result.OK:
		log.Info("health: passed")
	case kind == Wanted:
		r.report.Warned = append(r.report.Warned, name+": "+result.why())
		log.Warn("health: a wanted check failed", "why", result.why())
	default:
		r.report.Failed = append(r.report.Failed, name+": "+result.why())
		log.Error("health: failed", "why", result.why())
	}
}

// why is one line: the error, and the last that was said where that is more
// than a status.
func (r Result) why() string {
	if last := lastLine(r.Output); last != "" {
		return r.Error + ": " + last
	}
	return r.Error
}

// seconds writes a limit as its setting has it.
func seconds(d time.Duration) string { return fmt.Sprintf("%gs", d.Seconds()) }
