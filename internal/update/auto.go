// Unattended updates: what is taken, what is held back because it went bad
// before, and what came of the last one.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
)

const (
	// autoKey is under which the journal keeps what came of the last unattended update.
	autoKey = "auto"
	// autoTag is on what unattended updates make.
	autoTag = "auto"
	// autoMessage says why they are made, and why a reboot is asked for.
	autoMessage = "unattended update"
)

// Auto updates the system as the policy says. What an administrator made
// pending is built upon, as by every update. It returns when that is over. Who
// is at work is an error of kind Busy and nothing more; every other failure is
// kept for the status.
func (u *Updater) Auto(ctx context.Context, actor record.Actor) (bus.Auto, error) {
	doc := bus.Auto{Time: u.Now().UTC(), Policy: u.Config.Auto.Policy, Packages: []record.PackageChange{}}
	if err := u.configured(); err != nil {
		return doc, err
	}
	if u.Metered != nil && !u.Config.Auto.Metered {
		metered, err := u.Metered(ctx)
		if err != nil {
			u.Log.Warn("it is not known what the network costs", "error", err)
		}
		if metered {
			doc.Result = bus.AutoMetered
			return doc, u.keepAuto(doc)
		}
	}
	err := u.autoUpdate(ctx, actor, &doc)
	if errors.Is(err, fault.ErrBusy) {
		return doc, err
	}
	if err != nil {
		doc.Result, doc.Message = bus.AutoFailed, err.Error()
	}
	if doc.Result == bus.AutoStaged && doc.Policy == bus.AutoApply && u.Reboots != nil {
		var asked bus.RebootStatus
		if asked, err = u.AskReboot(ctx, bus.RebootWindow, u.Now(), "", actor, autoMessage); err == nil {
			doc.Reboot = asked.Reboot
		}
	}
	return doc, errors.Join(err, u.keepAuto(doc))
}

// autoUpdate makes the update and decides by what it changes whether it is taken.
func (u *Updater) autoUpdate(ctx context.Context, actor record.Actor, doc *bus.Auto) error {
	q := PackageRequest{Request: Request{Kind: KindUpdate, Message: autoMessage, Tags: []string{autoTag}, Actor: actor}}
	q.decide = func(changes []record.PackageChange) error {
		doc.Packages = append(doc.Packages, changes...)
		bad, err := u.wentBad(changes)
		switch {
		case err != nil:
			return err
		case bad != nil:
			doc.Result, doc.HeldFor = bus.AutoHeld, bad
			return fmt.Errorf("%w: snapshot %d went bad with the same", errLeave, *bad)
		case doc.Policy == bus.AutoCheck:
			doc.Result = bus.AutoAvailable
			return fmt.Errorf("%w: by the policy nothing is", errLeave)
		}
		return nil
	}
	t, err := u.ChangePackages(ctx, q)
	if err != nil {
		return err
	}
	<-t.over
	st := t.State()
	if st.Failure != nil {
		doc.Snapshot = &st.Number
		return st.Failure
	}
	switch {
	case doc.Result != "":
	case st.Unchanged:
		doc.Result = bus.AutoCurrent
	default:
		doc.Result, doc.Snapshot = bus.AutoStaged, &st.Number
	}
	return nil
}

// wentBad finds a snapshot that went bad with what the changes bring: all that
// it brought is brought again, in the same versions. Until something of that
// changes it would go bad again, whatever else comes with it.
func (u *Updater) wentBad(changes []record.PackageChange) (number *uint64, err error) {
	brings := map[string]bool{}
	for _, c := range changes {
		brings[version(c)] = true
	}
	return number, u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range recent(tx) {
			if err != nil {
				return err
			}
			if rec.Phase != record.Committed || rec.Verdict != record.Bad || len(rec.PackageChanges) == 0 {
				continue
			}
			if !slices.ContainsFunc(rec.PackageChanges, func(c record.PackageChange) bool { return !brings[version(c)] }) {
				number = &rec.Number
				return nil
			}
		}
		return nil
	})
}

// version is what a change leads to; that of a package that goes is "".
func version(c record.PackageChange) string { return c.Name + "\x00" + c.Arch + "\x00" + c.New }

// keepAuto keeps what came of it, and prints one summary.
func (u *Updater) keepAuto(doc bus.Auto) error {
	last, err := u.lastAuto()
	if err != nil || last == nil {
		last = &bus.Auto{}
	}
	doc.LastSuccess = last.LastSuccess
	if succeeded(doc.Result) {
		doc.LastSuccess = &doc.Time
	}
	if doc.Result == bus.AutoFailed {
		doc.Failures = last.Failures + 1
	}
	doc.Reboot = nil // it has a file of its own
	log := u.Log.Info
	if doc.Result == bus.AutoFailed || doc.Result == bus.AutoHeld {
		log = u.Log.Warn
	}
	log("unattended update", "result", doc.Result, "policy", doc.Policy, "packages", len(doc.Packages), "failures", doc.Failures, "message", doc.Message)
	err = u.note(autoKey, doc)
	u.publishMetrics()
	return err
}

// lastAuto is what came of the last one, nil where there was none.
func (u *Updater) lastAuto() (last *bus.Auto, err error) {
	return last, u.Journal.View(func(tx *journal.Tx) error { return noteIn(tx, autoKey, &last) })
}

// autoWarnings are what the status says of the last unattended update, if it is to be known.
func autoWarnings(doc *bus.Auto) []string {
	if doc == nil {
		return nil
	}
	switch {
	case doc.Result == bus.AutoFailed:
		first, _, _ := strings.Cut(doc.Message, "\n")
		words := "the last unattended update failed: " + first
		if doc.Failures > 1 {
			words = fmt.Sprintf("the last %d unattended updates failed: %s", doc.Failures, first)
		}
		if doc.Snapshot != nil {
			words += fmt.Sprintf("; \"txctl show %d\" tells more", *doc.Snapshot)
		}
		return []string{words}
	case doc.Result == bus.AutoHeld && doc.HeldFor != nil:
		return []string{fmt.Sprintf("an update is held back: it brings what snapshot %d went bad with; \"txctl show %[1]d\" tells more", *doc.HeldFor)}
	}
	return nil
}
