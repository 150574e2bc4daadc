// The state in numbers, for those who watch many machines.

package update

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/txupd/txupd/internal/atomicfile"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/metrics"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Metrics is the state in numbers. docs/metrics.md says what each is for.
func (u *Updater) Metrics(ctx context.Context) ([]metrics.Family, error) {
	st, err := u.Status(ctx)
	if err != nil {
		return nil, err
	}
	list, err := u.List()
	if err != nil {
		return nil, err
	}
	space, err := u.freeSpace()
	if err != nil {
		return nil, err
	}
	last, err := u.lastAuto()
	if err != nil {
		return nil, err
	}
	var f families
	f.roles(st)
	f.snapshots(list)
	f.add("txupd_reboot_required", "Whether another snapshot boots next than the one that runs.", yes(st.RebootRequired))
	f.add("txupd_reboot_requested", "Whether a reboot is asked for.", yes(st.Reboot != nil))
	f.add("txupd_transaction_open", "Whether a transaction is in progress.", yes(st.Transaction != nil))
	if st.Transaction != nil {
		f.add("txupd_transaction_begin_timestamp_seconds", "When the transaction that is in progress began.", at(st.Transaction.Since))
	}
	f.add("txupd_warnings", "How many warnings status shows.", one(float64(len(st.Warnings))))
	f.add("txupd_etc_conflicts", "How many conflicts in /etc wait for a decision.", one(float64(len(st.EtcConflicts))))
	f.add("txupd_space_free_bytes", "How much of the file system is free.", labelled("kind", "data", float64(space.Data)), labelled("kind", "metadata", float64(space.Metadata)))
	f.add("txupd_space_wanted_bytes", "How much of it is to be free (gc.free-percent).",
		labelled("kind", "data", float64(space.DataWanted)), labelled("kind", "metadata", float64(space.MetadataWanted)))
	if last != nil {
		f.auto(*last)
	}
	return f, nil
}

type families []metrics.Family

func (f *families) add(name, help string, samples ...metrics.Sample) {
	*f = append(*f, metrics.Family{Name: name, Help: help, Samples: samples})
}

func one(v float64) metrics.Sample {
	return metrics.Sample{Labels: map[string]string{}, Value: v}
}

func at(t time.Time) metrics.Sample { return one(float64(t.Unix())) }

func yes(b bool) metrics.Sample {
	if b {
		return one(1)
	}
	return one(0)
}

func labelled(name, value string, v float64) metrics.Sample {
	return metrics.Sample{Labels: map[string]string{name: value}, Value: v}
}

func (f *families) roles(st bus.Status) {
	var numbers []metrics.Sample
	for _, role := range []struct {
		name string
		is   *bus.Snapshot
	}{{bus.RoleBooted, st.Booted}, {bus.RoleDefault, st.Default}, {bus.RolePending, st.Pending}, {bus.RoleLastGood, st.LastGood}} {
		if role.is != nil {
			numbers = append(numbers, labelled("role", role.name, float64(role.is.Number)))
		}
	}
	f.add("txupd_snapshot_number", "The number of the snapshot that has a role.", numbers...)
	if st.Pending != nil {
		f.add("txupd_pending_timestamp_seconds", "When the snapshot was made that boots next and does not run.", at(st.Pending.Created))
	}
	if st.Booted != nil {
		var verdicts []metrics.Sample
		for _, v := range []record.Verdict{record.Good, record.Bad, record.Untried} {
			verdicts = append(verdicts, labelled("verdict", string(v), yes(st.Booted.Verdict == v).Value))
		}
		f.add("txupd_booted_verdict", "What booting the running snapshot showed.", verdicts...)
	}
}

func (f *families) snapshots(list bus.List) {
	counts := map[record.Verdict]float64{record.Good: 0, record.Bad: 0, record.Untried: 0}
	var pinned float64
	var last time.Time
	for _, s := range list.Snapshots {
		if s.Foreign || s.Deleted != nil || s.Phase != record.Committed {
			continue
		}
		counts[s.Verdict]++
		if s.Pinned {
			pinned++
		}
		if !s.Adopted && s.Created.After(last) {
			last = s.Created
		}
	}
	var samples []metrics.Sample
	for _, v := range []record.Verdict{record.Good, record.Bad, record.Untried} {
		samples = append(samples, labelled("verdict", string(v), counts[v]))
	}
	f.add("txupd_snapshots", "How many snapshots there are.", samples...)
	f.add("txupd_snapshots_pinned", "How many snapshots are pinned.", one(pinned))
	if !last.IsZero() {
		f.add("txupd_last_change_timestamp_seconds", "When the newest snapshot was made.", at(last))
	}
}

func (f *families) auto(last bus.Auto) {
	f.add("txupd_auto_last_run_timestamp_seconds", "When the last unattended update began.", at(last.Time))
	f.add("txupd_auto_failures", "How many unattended updates have failed in a row.", one(float64(last.Failures)))
	if last.LastSuccess != nil {
		f.add("txupd_auto_last_success_timestamp_seconds", "When the last unattended update began that did not fail.", at(*last.LastSuccess))
	}
	var results []metrics.Sample
	for _, r := range bus.AutoResults {
		results = append(results, labelled("result", r, yes(last.Result == r).Value))
	}
	f.add("txupd_auto_result", "What came of the last unattended update.", results...)
}

// publishMetrics writes the numbers where the configuration wants them: after
// each change, so that the file is as new as the state. What it cannot say
// without them it does not say: the old file goes.
func (u *Updater) publishMetrics() {
	if u.Config.Metrics.Textfile == "" {
		return
	}
	path := filepath.Join(u.Root, u.Config.Metrics.Textfile)
	f, err := u.Metrics(context.Background())
	if err == nil {
		err = atomicfile.Publish(path, []byte(metrics.Text(f)))
	}
	if err != nil {
		u.Log.Warn("the metrics cannot be written", "file", path, "error", err)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			u.Log.Warn("metrics that are no longer true cannot be removed", "error", err)
		}
	}
}

// succeeded reports whether a run of unattended updates did what it is for.
func succeeded(result string) bool {
	return slices.Contains([]string{bus.AutoCurrent, bus.AutoAvailable, bus.AutoStaged}, result)
}
