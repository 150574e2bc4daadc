// Assessing a boot: over the bus, where the daemon has the journal; and without
// it where the bus does not run, which is one of the things that can be wrong
// with a boot.

package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/health"
	"github.com/txupd/txupd/internal/logind"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Assess brings the assessment of this boot one step on.
func Assess(ctx context.Context, c Config, moment string) (bus.Assessment, error) {
	d, err := client.Connect(ctx)
	if err == nil {
		defer d.Close()
		var doc bus.Assessment
		if doc, err = d.Assess(ctx, moment); err == nil {
			return doc, nil
		}
	}
	if !errors.Is(err, client.ErrNoDaemon) {
		return bus.Assessment{}, err
	}
	c.Log.Warn("assessing the boot without the bus", "error", err)
	doc, direct := c.assess(ctx, moment, err)
	if direct != nil {
		return doc, fmt.Errorf("%w; over the bus: %w", direct, err)
	}
	return doc, nil
}

// journalTimeout is how long a daemon that is just leaving may still have the journal.
const journalTimeout = 10 * time.Second

// assess does it in this process. noBus is why.
func (c Config) assess(ctx context.Context, moment string, noBus error) (bus.Assessment, error) {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return bus.Assessment{}, err
	}
	store, err := snapshot.Open(root, driver(), snapshot.Options{})
	if err != nil {
		return bus.Assessment{}, err
	}
	log, err := c.openJournal(store, journalTimeout)
	if err != nil {
		return bus.Assessment{}, err
	}
	defer log.Close()
	u, err := c.updater(root, store, log)
	if err != nil {
		return bus.Assessment{}, err
	}
	defer u.Close()
	u.Passing = moment == update.AssessEmergency
	check := u.Machine.Check
	u.Machine.Check = func(ctx context.Context, q update.HealthRequest) health.Report {
		r := check(ctx, q)
		r.Results = append(r.Results, health.Result{Name: "daemon", Kind: health.Builtin, Exit: health.NoExit, Error: noBus.Error()})
		r.Failed = append(r.Failed, "daemon: "+noBus.Error())
		r.Healthy = false
		return r
	}
	if err := u.Resume(ctx); err != nil {
		return bus.Assessment{}, err
	}
	return u.Assess(ctx, moment)
}

// machine is the running system for the assessment of its boot.
func (c Config) machine(root string, settings *config.Config) update.Machine {
	if root != "/" {
		return update.Machine{}
	}
	system := health.System{Root: root}
	h := settings.Health
	return update.Machine{
		Check: func(ctx context.Context, q update.HealthRequest) health.Report {
			trial := "0"
			if q.Trial {
				trial = "1"
			}
			return health.Run(ctx, health.Options{
				Root: root, Timeout: h.Timeout, Total: h.TotalTimeout, FailedUnits: h.FailedUnits, IgnoreUnits: h.IgnoreUnits,
				Network: h.Network, NetworkWait: h.NetworkWait, Before: q.Before, Machine: system, Log: c.Log,
				Env: []string{fmt.Sprintf("TXUPD_SNAPSHOT=%d", q.Snapshot), "TXUPD_BOOT_ID=" + q.BootID, "TXUPD_TRIAL=" + trial},
			})
		},
		Look:      func(ctx context.Context) (health.Baseline, error) { return health.Look(ctx, system) },
		Complete:  complete(system),
		Finishing: finishing(system, time.Now),
		Reboot:    leave,
		Announce:  announce,
		Delay:     logind.Delay,
	}
}
