// The running system: whether its boot is complete, its console, and its reboot.

package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/txupd/txupd/internal/health"
)

// bootComplete is reached when every check that hooks in before it went well.
//
// Defined in systemd.special(7).
const bootComplete = "boot-complete.target"

// complete reports whether the boot is, and how the target stands if not.
func complete(system health.System) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		state, err := system.UnitState(ctx, bootComplete)
		if errors.Is(err, health.ErrNoManager) {
			return true, "", nil // nobody says when a boot is complete: the checks decide
		}
		if err != nil {
			return false, "", err
		}
		return state == "active", fmt.Sprintf("%s is %s", bootComplete, state), nil
	}
}

// checkUnit runs the checks.
const checkUnit = "txupd-boot-check.service"

// grace is how long boot-complete.target may take after the checks.
const grace = 15 * time.Second

// finishing reports that the checks run, or ended within the grace while the boot is not complete yet.
func finishing(system health.System, now func() time.Time) func(context.Context) (bool, error) {
	var ended time.Time
	return func(ctx context.Context) (bool, error) {
		state, err := system.UnitState(ctx, checkUnit)
		switch {
		case errors.Is(err, health.ErrNoManager):
			return false, nil
		case err != nil:
			return false, err
		case state == "activating":
			ended = time.Time{}
			return true, nil
		case state != "active":
			return false, nil
		}
		if complete, err := system.UnitState(ctx, bootComplete); err != nil || complete == "active" {
			return false, err
		}
		if ended.IsZero() {
			ended = now()
		}
		return now().Sub(ended) < grace, nil
	}
}

// leave reboots. It asks systemd itself: a bad boot is left also where logind does not run,
// and inhibitors of a system that is not healthy do not hold it. Where emergency
// mode is being entered, systemd refuses an orderly reboot as destructive.
func leave(force bool) error {
	if force {
		if out, err := exec.Command("systemctl", "--force", "reboot").CombinedOutput(); err != nil {
			return fmt.Errorf("cannot force a reboot: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	ctx := context.Background()
	conn, err := dbus.NewSystemdConnectionContext(ctx) // its own socket, no bus is needed
	if err != nil {
		return fmt.Errorf("cannot ask for a reboot: %w", err)
	}
	defer conn.Close()
	if _, err := conn.StartUnitContext(ctx, "reboot.target", "replace-irreversibly", nil); err != nil {
		return fmt.Errorf("cannot ask for a reboot: %w", err)
	}
	return nil
}

// announce writes to the console, where somebody may be looking who cannot log in.
func announce(words string) {
	console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return // the system journal has it too
	}
	defer console.Close()
	fmt.Fprintf(console, "\r\ntxupd: %s\r\n", words)
}
