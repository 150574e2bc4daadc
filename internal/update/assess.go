// Assessment: what a boot showed becomes the verdict on its snapshot. A good one
// ends the trial; a bad one is left for the last good one, as often in a row as
// is configured, and then the machine stays up as it is.

package update

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/health"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// The moments of a boot at which it is assessed.
const (
	AssessCheck     = "check"     // the health checks run
	AssessVerdict   = "verdict"   // boot-complete.target was reached, or failed
	AssessDeadline  = "deadline"  // the boot takes too long to be called one
	AssessEmergency = "emergency" // it ended in the emergency shell
)

// Machine is what assessing a boot needs of the running system.
type Machine struct {
	// Check runs the health checks.
	Check func(ctx context.Context, q HealthRequest) health.Report
	// Look is how the system stands now; not known where no system manager runs.
	Look func(ctx context.Context) (health.Baseline, error)
	// Complete reports whether boot-complete.target is reached, and what failed if not.
	Complete func(ctx context.Context) (bool, string, error)
	// Finishing reports that the checks are still running, or have just ended:
	// whether the boot is complete shows in a moment.
	Finishing func(ctx context.Context) (bool, error)
	// Reboot asks for a reboot and returns at once. At the moments at which an
	// orderly one is refused, which is in the emergency shell, it has to be forced.
	Reboot func(force bool) error
	// Announce writes to the console.
	Announce func(string)
	// Delay holds back a shutdown for a moment, until release is called.
	Delay func(why string) (release func(), err error)
}

// HealthRequest is what the checks are told.
type HealthRequest struct {
	Snapshot uint64
	BootID   string
	Trial    bool
	Before   health.Baseline
}

// Assess brings the assessment of this boot one step on. It may be asked again:
// a boot that has its verdict keeps it.
func (u *Updater) Assess(ctx context.Context, moment string) (bus.Assessment, error) {
	if !slices.Contains([]string{AssessCheck, AssessVerdict, AssessDeadline, AssessEmergency}, moment) {
		return bus.Assessment{}, fmt.Errorf("%w: assessment %q", fault.ErrInvalidArgument, moment)
	}
	if u.Machine.Check == nil {
		return bus.Assessment{}, fmt.Errorf("%w: %s is not the system that runs", fault.ErrNotSupported, u.Root)
	}
	if moment == AssessDeadline {
		if err := u.awaitChecks(ctx); err != nil {
			return bus.Assessment{}, err
		}
	}
	u.assessing.Lock()
	defer u.assessing.Unlock()
	booted, err := u.booted()
	if err != nil {
		return bus.Assessment{}, err
	}
	doc := bus.Assessment{Number: uint64(booted.number), Verdict: booted.rec.Verdict, Failed: []string{}}
	if booted.foreign {
		doc.Note = "nothing is known of the booted root: there is nothing to assess"
		return doc, nil
	}
	at := u.thisBoot(booted.rec)
	if at < 0 {
		return doc, fmt.Errorf("internal error: this boot of snapshot %d is not recorded", booted.number)
	}
	b := &booted.rec.Boots[at]
	if b.Verdict != record.Untried {
		doc.Boot, doc.Failed = b.Verdict, slices.Concat(doc.Failed, b.Failed)
		doc.Note = "this boot has its verdict"
		return doc, nil
	}
	if moment == AssessCheck {
		err = u.checkBoot(ctx, booted, at, &doc)
	} else {
		err = u.judge(ctx, moment, booted, at, &doc)
	}
	return doc, err
}

// thisBoot is where the record has the running boot, -1 if it has not.
func (u *Updater) thisBoot(rec record.Record) int {
	return slices.IndexFunc(rec.Boots, func(b record.Boot) bool { return b.BootID == u.BootID })
}

// healthNow is how the running system stands, for its successor to be compared
// with; nil where nobody can tell.
func (u *Updater) healthNow() *record.Health {
	if u.CommandLine == "" || u.Machine.Look == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	now, err := u.Machine.Look(ctx)
	if err != nil || !now.Known {
		u.Log.Warn("the health of the running system is not known", "error", err)
		return nil
	}
	return &record.Health{FailedUnits: now.FailedUnits, Network: now.Network}
}

// lookTimeout bounds how long systemd may take to name the failed units.
const lookTimeout = 5 * time.Second

// checkInterval is how often it is looked whether running checks have ended:
// nothing tells.
const checkInterval = 500 * time.Millisecond

// awaitChecks lets checks that are running at the deadline come to their end: a
// slow machine is not a bad one.
func (u *Updater) awaitChecks(ctx context.Context) error {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		busy, err := u.Machine.Finishing(ctx)
		if err != nil || !busy {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", fault.ErrCancelled, context.Cause(ctx))
		}
	}
}

// checkBoot runs the health checks and notes what they said. Nothing is decided yet:
// others may hook their own checks before boot-complete.target.
func (u *Updater) checkBoot(ctx context.Context, v view, at int, doc *bus.Assessment) error {
	q := HealthRequest{Snapshot: uint64(v.number), BootID: u.BootID, Trial: v.rec.Verdict != record.Good}
	if before := v.rec.Before; before != nil {
		q.Before = health.Baseline{FailedUnits: before.FailedUnits, Network: before.Network, Known: true}
	}
	report := u.Machine.Check(ctx, q)
	if err := ctx.Err(); err != nil || report.Interrupted {
		return fmt.Errorf("%w: the checks were interrupted", fault.ErrCancelled)
	}
	if err := u.Misconfigured; err != nil {
		report.Failed = append(report.Failed, fmt.Sprintf("configuration: %v", err))
	}
	b := &v.rec.Boots[at]
	b.Checks = nil
	for _, r := range report.Results {
		b.Checks = append(b.Checks, record.Check{Name: r.Name, Kind: string(r.Kind), OK: r.OK, Duration: r.Took.Seconds(), Error: r.Error})
	}
	b.Failed = append([]string{}, report.Failed...)
	doc.Failed, doc.Warned = slices.Concat(doc.Failed, report.Failed), report.Warned
	return u.put("checked", nil, v.rec)
}

// judge gives the verdict.
func (u *Updater) judge(ctx context.Context, moment string, v view, at int, doc *bus.Assessment) error {
	b := &v.rec.Boots[at]
	complete, failed := false, ""
	if moment != AssessEmergency {
		var err error
		if complete, failed, err = u.Machine.Complete(ctx); err != nil {
			return err
		}
	}
	var why []string
	switch {
	case moment == AssessEmergency:
		why = append(why, "the boot ended in the emergency shell")
	case moment == AssessDeadline && !complete:
		why = append(why, "the boot did not complete in time")
	}
	if len(b.Failed) > 0 {
		why = append(why, "failed: "+strings.Join(b.Failed, "; "))
	}
	if len(why) == 0 && !complete {
		why = append(why, "boot-complete.target was not reached: "+failed)
	}
	if len(why) == 0 {
		doc.Boot = record.Good
		return u.markGood(ctx, v, at, doc)
	}
	b.Verdict, b.Why = record.Bad, strings.Join(why, "; ")
	doc.Boot, doc.Why = record.Bad, b.Why
	return u.markBad(ctx, moment, v, at, doc)
}

// markGood ends the trial.
func (u *Updater) markGood(ctx context.Context, v view, at int, doc *bus.Assessment) error {
	v.rec.Boots[at].Verdict = record.Good
	good, err := u.lastGood()
	if err != nil {
		return err
	}
	// One that runs well once more is the last good one, if another was since.
	if v.rec.Verdict != record.Good || !good.ok || good.number != v.number {
		if v.rec.VerdictSequence, err = u.nextVerdict(); err != nil {
			return err
		}
	}
	v.rec.Verdict = record.Good
	doc.Verdict = record.Good
	if err := u.put("good", nil, v.rec); err != nil {
		return err
	}
	u.forgetGood()
	// Nothing that was handed over to shared trees is taken back any more.
	u.trouble(u.tidyShared(&v.rec.Number), "what was kept of shared trees could not be removed")
	u.notify(Event{Kind: SnapshotsChanged})
	return u.settleMenu(ctx, uint64(v.number))
}

// settleMenu writes the menu as the verdicts now want it, and forgets the counter of a trial that is over.
func (u *Updater) settleMenu(ctx context.Context, over uint64) error {
	f, ok, err := u.menuFacts()
	if err != nil || !ok {
		return err
	}
	if err := u.writeMenu(ctx, f); err != nil {
		return &derivedError{err}
	}
	if !f.Counts {
		return nil
	}
	if err := u.Boot.Disarm(over); err != nil {
		return &derivedError{err}
	}
	return nil
}

// nextVerdict is the sequence of the next verdict.
func (u *Updater) nextVerdict() (uint64, error) {
	last := uint64(0)
	err := u.Journal.View(func(tx *journal.Tx) error {
		for _, all := range []iter.Seq2[record.Record, error]{u.standing(tx), recent(tx)} {
			for rec, err := range all {
				if err != nil {
					return err
				}
				last = max(last, rec.VerdictSequence)
			}
		}
		return nil
	})
	return last + 1, err
}

// markBad records it, and leaves a snapshot on trial for the last good one. One
// that was good before is not left: what fails now came from elsewhere, and the
// older one would most likely meet it too.
func (u *Updater) markBad(ctx context.Context, moment string, v view, at int, doc *bus.Assessment) error {
	n := uint64(v.number)
	wasGood := v.rec.Verdict == record.Good
	if !wasGood {
		var err error
		if v.rec.VerdictSequence, err = u.nextVerdict(); err != nil {
			return err
		}
		v.rec.Verdict = record.Bad
	}
	doc.Verdict = v.rec.Verdict
	to, stay, err := u.refuge(v, wasGood)
	if err != nil {
		stay = err.Error()
	}
	v.rec.Boots[at].Left = stay == ""
	if err := u.put("bad", nil, v.rec); err != nil {
		return err
	}
	u.forgetGood()
	u.notify(Event{Kind: SnapshotsChanged})
	if stay == "" {
		if to, err = u.leaveFor(ctx, v, to); err != nil {
			stay = err.Error()
		}
	}
	if stay != "" {
		doc.Note = fmt.Sprintf("snapshot %d stays up, although it is bad (%s): %s", n, v.rec.Boots[at].Why, stay)
		u.announce(doc.Note)
		return nil
	}
	left := uint64(to.number)
	doc.LeftFor = &left
	doc.Note = fmt.Sprintf("snapshot %d is bad (%s): rebooting into snapshot %d", n, v.rec.Boots[at].Why, to.number)
	u.announce(doc.Note)
	return u.Machine.Reboot(moment == AssessEmergency)
}

// refuge is the snapshot that a bad one is left for, or why it is not left.
func (u *Updater) refuge(v view, wasGood bool) (view, string, error) {
	if wasGood {
		return view{}, "it was good before, so it is not left by itself", nil
	}
	left, err := u.leftInARow()
	if err != nil {
		return view{}, "", err
	}
	if most := u.Config.Boot.AutomaticRollbacks; left >= most {
		return view{}, fmt.Sprintf("%d in a row were left already, as many as boot.automatic-rollbacks allows", left), nil
	}
	good, err := u.latestGood(&v.number)
	if err != nil {
		return view{}, "", err
	}
	if !good.ok {
		return view{}, "there is no good one to go back to", nil
	}
	to, err := u.existing(good.number)
	return to, "", err
}

// leftInARow counts the snapshots that were left without a person since one was found good.
func (u *Updater) leftInARow() (int, error) {
	var since uint64
	var left []uint64
	err := u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range recent(tx) {
			if err != nil {
				return err
			}
			switch rec.Verdict {
			case record.Good:
				since = max(since, rec.VerdictSequence)
			case record.Bad:
				if slices.ContainsFunc(rec.Boots, func(b record.Boot) bool { return b.Left }) {
					left = append(left, rec.VerdictSequence)
				}
			}
		}
		return nil
	})
	n := 0
	for _, s := range left {
		if s > since {
			n++
		}
	}
	return n, err
}

// leaveFor makes to what boots next, unless something else than v does anyway:
// then v was booted once, or chosen by hand. It returns what boots next.
func (u *Updater) leaveFor(ctx context.Context, v, to view) (view, error) {
	done, err := u.changeAround(ctx, "an automatic rollback")
	if err != nil {
		return to, err
	}
	defer done()
	r, err := u.roles()
	if err != nil {
		return to, err
	}
	if !r.standby.same(v) {
		return r.standby, nil
	}
	return to, u.switchTo(ctx, r, to, record.Actor{Name: "txupd"}, "automatic-rollback", nil)
}

// changeAround takes the lock also where an open transaction has it that merely
// waits: a machine that must be saved does not wait for its owner.
func (u *Updater) changeAround(ctx context.Context, what string) (release func(), err error) {
	restore := func() {}
	if t := u.Current(); t != nil {
		e, err := t.enter(ctx)
		if err != nil {
			return nil, err
		}
		u.letGo(t.holder)
		restore = func() {
			u.mu.Lock()
			u.holder = t.holder
			u.mu.Unlock()
			e.leave()
		}
	}
	h, done, err := u.changeAnyhow(ctx, what, record.Actor{Name: "txupd"})
	if err != nil {
		restore()
		return nil, err
	}
	return func() {
		u.letGo(h)
		done()
		restore()
	}, nil
}

// noteLoader finds out, on start, that the loader gave a trial up and booted
// something else; then that is what boots next from now on.
func (u *Updater) noteLoader(ctx context.Context) error {
	if u.CommandLine == "" {
		return nil // the system that is served is not the one that was booted
	}
	if _, ok, err := u.menuFacts(); err != nil || !ok {
		return err
	}
	st, err := u.menuState(ctx)
	if err != nil || !st.Found {
		return err
	}
	booted, err := u.booted()
	if err != nil || booted.foreign || st.Default == uint64(booted.number) {
		return err
	}
	at := u.thisBoot(booted.rec)
	if at < 0 || booted.rec.Boots[at].InsteadOf != nil {
		return nil // noted before; what boots next was decided since
	}
	why := ""
	if failedKernel(u.CommandLine) == fmt.Sprint(st.Default) {
		why = "the boot loader could not load its kernel"
	} else if st.Trial {
		left, known, err := u.Boot.Tries(st.Default)
		if err != nil {
			return err
		}
		if known && left == 0 {
			why = fmt.Sprintf("it did not come up in %d tries", st.Tries)
		}
	}
	if why == "" {
		return nil // somebody chose another entry
	}
	bad, err := u.existing(snapshot.Number(st.Default))
	if err != nil {
		return err
	}
	if bad.rec.VerdictSequence, err = u.nextVerdict(); err != nil {
		return err
	}
	bad.rec.Verdict = record.Bad
	bad.rec.Boots = append(bad.rec.Boots, record.Boot{
		First: u.Now().UTC(), Count: len(bad.rec.Boots) + 1, Verdict: record.Bad, Failed: []string{}, Why: why, Left: true,
	})
	given := uint64(bad.number)
	booted.rec.Boots[at].InsteadOf = &given
	if err := u.Journal.Update(func(tx *journal.Tx) error {
		if err := tx.Put("bad", nil, bad.rec); err != nil {
			return err
		}
		return tx.Put("booted-instead", nil, booted.rec)
	}); err != nil {
		return err
	}
	u.forgetGood()
	r, err := u.roles()
	if err != nil {
		return err
	}
	if err := u.switchTo(ctx, r, booted, record.Actor{Name: "txupd"}, "automatic-rollback", nil); err != nil {
		return err
	}
	u.announce(fmt.Sprintf("snapshot %d is bad (%s): the boot loader went back to snapshot %d, which boots from now on", bad.number, why, booted.number))
	return u.Boot.Disarm(uint64(bad.number))
}

// failedKernel reads which snapshot the loader could not load before it fell back to this one.
func failedKernel(commandLine string) string {
	number, _ := grubcfg.Parameter(commandLine, strings.TrimSuffix(grubcfg.FallbackParameter, "="))
	return number
}

func (u *Updater) announce(words string) {
	u.Log.Warn(words)
	if u.Machine.Announce != nil {
		u.Machine.Announce(words)
	}
}

// badNews are the snapshots that were left without a person since the last good verdict, for status.
func (u *Updater) badNews(r *roles) ([]string, error) {
	var news []string
	err := u.Journal.View(func(tx *journal.Tx) error {
		since := uint64(0)
		if r.good.ok {
			rec, err := tx.Record(uint64(r.good.number))
			if err != nil {
				return err
			}
			since = rec.VerdictSequence
		}
		for rec, err := range recent(tx) {
			if err != nil {
				return err
			}
			if rec.Verdict != record.Bad || rec.VerdictSequence < since || len(rec.Boots) == 0 {
				continue
			}
			last := rec.Boots[len(rec.Boots)-1]
			verb := "is bad"
			if last.Left {
				verb = "was left"
			}
			news = append(news, fmt.Sprintf("snapshot %d %s: %s; \"txctl show %d\" tells more", rec.Number, verb, last.Why, rec.Number))
		}
		return nil
	})
	if !r.booted.foreign && r.booted.rec.Verdict == record.Good {
		boots := r.booted.rec.Boots
		if at := u.thisBoot(r.booted.rec); at >= 0 && boots[at].Verdict == record.Bad {
			news = append(news, fmt.Sprintf("this boot of snapshot %d is not healthy: %s", r.booted.number, boots[at].Why))
		}
	}
	return news, err
}
