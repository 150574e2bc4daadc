// The checks that need no program, and what they compare with.

package health

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Machine is what the built-in checks ask.
type Machine interface {
	// FailedUnits names the units that are failed; ErrNoManager where no systemd runs.
	FailedUnits(context.Context) ([]string, error)
	// DefaultRoute reports whether there is one; ErrNoNetwork where that cannot be known.
	DefaultRoute() (bool, error)
}

var _ Machine = System{}

// ErrNoManager: systemd is not what runs here.
var ErrNoManager = errors.New("systemd does not run here")

// ErrNoNetwork: the kernel shows no routes here.
var ErrNoNetwork = errors.New("the kernel shows no routes here")

// Baseline is how things stood on the system before: what was not there
// already cannot be blamed on an update. It is kept as JSON.
type Baseline struct {
	FailedUnits []string `json:"failed_units"`
	Network     bool     `json:"network"` // there was a default route
	// Known is false where nobody could look; then nothing is compared.
	Known bool `json:"known"`
}

// askTimeout is how long systemd has to answer.
const askTimeout = 10 * time.Second

// Look finds out how things stand now. Where systemd does not run the baseline
// is not known, which is no error.
func Look(ctx context.Context, m Machine) (Baseline, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	network, err := m.DefaultRoute()
	if errors.Is(err, ErrNoNetwork) {
		return Baseline{}, nil
	}
	if err != nil {
		return Baseline{}, err
	}
	units, err := m.FailedUnits(ctx)
	if errors.Is(err, ErrNoManager) {
		return Baseline{}, nil
	}
	if err != nil {
		return Baseline{}, err
	}
	return Baseline{FailedUnits: units, Network: network, Known: true}, nil
}

const notKnown = "how it was before is not known"

func notChecked(format string, args ...any) Result {
	return Result{OK: true, Exit: NoExit, NotChecked: fmt.Sprintf(format, args...)}
}

// failedUnits looks for units that are failed now and were not before.
func (r *runner) failedUnits(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	failed, err := r.Machine.FailedUnits(ctx)
	failed = slices.DeleteFunc(slices.Clone(failed), r.ignored)
	switch {
	case errors.Is(err, ErrNoManager):
		return notChecked("%v", err)
	case err != nil:
		return Result{Exit: NoExit, Error: err.Error()}
	case !r.Before.Known && len(failed) > 0:
		return notChecked("%s; failed now: %s", notKnown, strings.Join(failed, ", "))
	case !r.Before.Known:
		return Result{OK: true, Exit: NoExit}
	}
	failed = slices.DeleteFunc(failed, func(unit string) bool { return slices.Contains(r.Before.FailedUnits, unit) })
	if len(failed) > 0 {
		return Result{Exit: NoExit, Error: "failed, and did not before: " + strings.Join(failed, ", ")}
	}
	return Result{OK: true, Exit: NoExit}
}

// ignored reports whether a unit's failure says nothing. A name that is given
// as it is always fits: escaped ones have backslashes, which mean something else in a glob.
func (r *runner) ignored(unit string) bool {
	return slices.ContainsFunc(r.IgnoreUnits, func(glob string) bool {
		fits, err := path.Match(glob, unit)
		return glob == unit || err == nil && fits
	})
}

// routePoll is how often the routes are looked at: reading them costs
// microseconds, and half a second more or less nobody notices.
const routePoll = 250 * time.Millisecond

// network waits for a default route where there was one before.
func (r *runner) network(ctx context.Context) Result {
	switch {
	case !r.Before.Known:
		return notChecked(notKnown)
	case !r.Before.Network:
		return notChecked("there was no default route before")
	}
	ctx, cancel := context.WithTimeout(ctx, r.NetworkWait)
	defer cancel()
	ticker := time.NewTicker(routePoll)
	defer ticker.Stop()
	for {
		there, err := r.Machine.DefaultRoute()
		switch {
		case errors.Is(err, ErrNoNetwork):
			return notChecked("%v", err)
		case err != nil:
			return Result{Exit: NoExit, Error: err.Error()}
		case there:
			return Result{OK: true, Exit: NoExit}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return Result{Exit: NoExit, Error: fmt.Sprintf("no default route within %s, and there was one before", seconds(r.NetworkWait))}
		}
	}
}
