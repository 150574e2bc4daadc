// Reboots of the machine that the daemon runs on.

package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/txupd/txupd/internal/fleetlock"
	"github.com/txupd/txupd/internal/logind"
	"github.com/txupd/txupd/internal/reboot"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/snapshot"
)

// keepReboots lets u take requests for reboots and carries them out, until stop
// is called; nothing is done where another system than the running one is served.
func (c Config) keepReboots(ctx context.Context, u *update.Updater, store *snapshot.Store) (stop func(), err error) {
	if u.Root != "/" {
		return func() {}, nil
	}
	dir, err := store.StateDir()
	if err != nil {
		return nil, err
	}
	booted, err := store.Booted()
	if err != nil {
		return nil, err
	}
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		c.Log.Warn("this machine cannot be told from others: its windows open for it when they do for all", "error", err)
	}
	machineID := strings.TrimSpace(string(id))
	r := u.Config.Reboot
	var fleet reboot.Fleet
	if f := u.Config.FleetLock; f.URL != "" {
		fleet = fleetlock.Client{URL: f.URL, Group: f.Group, ID: fleetlock.ID(machineID)}
	}
	keeper := reboot.New(reboot.Config{
		Fleet: fleet, Steady: u.Steady,
		Path: filepath.Join(dir, "reboot.json"), BootID: fmt.Sprintf("%s %d", u.BootID, booted.ID), MachineID: machineID,
		Method: r.Method, SameKernel: u.SameKernel,
		Calendar: r.Calendar(), Sessions: r.Sessions, Spread: r.Spread, Deadline: r.Deadline, Notice: r.Notice,
		Host: logind.Machine{Panic: u.Config.Boot.PanicTimeout}, AtWork: u.AtWork, Now: time.Now, Log: c.Log,
		Soon: func(at time.Time, words string) {
			u.Notify(update.Event{Kind: update.RebootSoon, At: at, Words: words})
		},
	})
	u.Reboots = keeper
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Add(1)
	go func() {
		defer work.Done()
		keeper.Run(ctx)
	}()
	return func() { cancel(); work.Wait() }, nil
}
