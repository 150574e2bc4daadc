// The turn from one root to the next, early in a boot or late in a shutdown: in
// this process, because the bus does not run then.

package daemon

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Moments of Turn.
const (
	TurnBoot     = "boot"
	TurnShutdown = "shutdown"
)

// Turn brings the state outside of snapshots along, and says what it did.
func Turn(ctx context.Context, c Config, moment string) (words []string, err error) {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return nil, err
	}
	store, err := snapshot.Open(root, driver(), snapshot.Options{})
	if err != nil {
		return nil, err
	}
	log, err := c.openJournal(store, journalTimeout)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	u, err := c.updater(root, store, log)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	turn := u.AtBoot
	if moment == TurnShutdown {
		turn = u.AtShutdown
	}
	did, err := turn(ctx)
	if moment == TurnBoot && root == "/" && slices.ContainsFunc(did.Decided, concernsManager) {
		did.Words = append(did.Words, "the service manager reads what was merged")
		err = errors.Join(err, readAgain(ctx))
	}
	return did.Words, err
}

// concernsManager reports whether the service manager has read a file before we
// changed it.
func concernsManager(d record.EtcDecision) bool {
	switch d.Path {
	case "/etc/fstab", "/etc/crypttab":
		return true
	}
	return strings.HasPrefix(d.Path, "/etc/systemd/") || strings.HasPrefix(d.Path, "/etc/init.d/")
}

// readAgain has the service manager read its configuration again. What the
// targets that are being reached want now joins what is started for them.
func readAgain(ctx context.Context) error {
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "systemctl", "list-jobs", "--no-legend", "--plain", "--no-pager").Output()
	if err != nil {
		return fmt.Errorf("cannot list the jobs of the service manager: %w", err)
	}
	targets := startingTargets(string(out))
	if len(targets) == 0 {
		return nil
	}
	return systemctl(ctx, append([]string{"start", "--no-block"}, targets...)...)
}

// startingTargets are the targets among the jobs ("JOB UNIT TYPE STATE") that are to be started.
func startingTargets(jobs string) (targets []string) {
	for line := range strings.Lines(jobs) {
		if f := strings.Fields(line); len(f) >= 3 && f[2] == "start" && strings.HasSuffix(f[1], ".target") {
			targets = append(targets, f[1])
		}
	}
	return targets
}

func systemctl(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
