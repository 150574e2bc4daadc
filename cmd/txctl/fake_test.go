// A daemon that answers as it is told to, for everything but the bus.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/metrics"
	"github.com/txupd/txupd/pkg/journal/record"
)

// errNoBus is what connecting fails with where there is no bus.
var errNoBus = fmt.Errorf("%w: cannot connect to the system bus", client.ErrNoDaemon)

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func ref(n uint64) *uint64 { return &n }

// fake is a daemon with snapshots 1 (booted), 2, and 3 (pending).
type fake struct {
	t *testing.T

	mu    sync.Mutex
	calls []string

	refuse  error // of what starts or changes something
	busy    int   // so many refusals with ErrBusy first
	outcome bus.Outcome
	open    *bus.Transaction
	// automatic is gc.automatic of the configuration.
	automatic bool
	// command is what runs: it gets the client's input and writes both outputs, and returns the exit status.
	command func(in io.Reader, out, errs io.Writer) int32
	// cancelled is closed by Cancel.
	cancelled chan struct{}
	events    []bus.Event // for Watch
	once      sync.Once
	began     chan struct{} // closed when a transaction is attached to
	input     client.Input
	about     client.About

	filter       client.LogFilter
	cast         string
	etc          bool // snapshot 3 changed a file in /etc
	verification bus.Verification
	records      []record.Record
	packages     []bus.Package
	conflicts    []bus.EtcConflict
}

func newFake(t *testing.T) *fake {
	return &fake{
		t: t, cancelled: make(chan struct{}), began: make(chan struct{}),
		verification: bus.Verification{OK: true, Journal: "J", Events: 3},
		outcome:      bus.Outcome{Number: 4, Parent: 3, Kind: "run", Phase: record.Committed, Files: record.FileCounts{Added: 1}},
	}
}

func (f *fake) called(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) snapshot(n uint64, roles ...string) bus.Snapshot {
	s := bus.Snapshot{Number: n, Phase: record.Committed, Verdict: record.Good, Roles: roles, Created: now.Add(-time.Hour), Message: fmt.Sprintf("step %d", n)}
	if n > 1 {
		s.Parent = ref(n - 1)
	}
	return s
}

func (f *fake) Status(context.Context) (bus.Status, error) {
	booted, pending := f.snapshot(1, bus.RoleBooted), f.snapshot(3, bus.RoleDefault, bus.RolePending)
	return bus.Status{Booted: &booted, Default: &pending, Pending: &pending, LastGood: &booted, Transaction: f.open, RebootRequired: true, EtcConflicts: f.conflicts}, nil
}

func (f *fake) List(context.Context) (bus.List, error) {
	return bus.List{Snapshots: []bus.Snapshot{f.snapshot(1, bus.RoleBooted), f.snapshot(2), f.snapshot(3, bus.RolePending)}}, nil
}

func (f *fake) Show(_ context.Context, n uint64) (record.Record, error) {
	if n == 0 || n > 3 {
		return record.Record{}, fmt.Errorf("snapshot %d: %w", n, fault.ErrNotFound)
	}
	s := f.snapshot(n)
	var files []record.FileChange
	if f.etc && n == 3 {
		files = []record.FileChange{{Path: "/etc/motd", Change: record.Added}}
	}
	return record.Record{Number: n, Parent: s.Parent, Phase: record.Committed, Created: s.Created, Message: s.Message, FileChanges: files,
		PackageChanges: []record.PackageChange{{Name: fmt.Sprintf("p%d", n), Arch: "all", Change: record.Added, New: "1"}}}, nil
}

func (f *fake) Log(_ context.Context, filter client.LogFilter) (bus.Log, error) {
	f.called("log %d %q", filter.Limit, filter.Package)
	f.filter = filter
	return bus.Log{Records: f.records}, nil
}

func (f *fake) ShowNow(ctx context.Context, n uint64) (bus.Shown, error) {
	rec, err := f.Show(ctx, n)
	if err != nil {
		return bus.Shown{}, err
	}
	return bus.Shown{Record: rec, Roles: []string{bus.RoleDefault, bus.RolePending}[:min(2, int(n)-1)]}, nil
}

func (f *fake) Tree(context.Context) (bus.List, error) { return f.List(context.Background()) }

func (f *fake) Blame(_ context.Context, subject string, limit uint64) (bus.Blame, error) {
	f.called("blame %q %d", subject, limit)
	return bus.Blame{Subject: subject, Complete: true}, nil
}

func (f *fake) Diff(_ context.Context, from, to string, o client.DiffOptions) (bus.Diff, error) {
	f.called("diff %q %q now=%v patch=%v %q", from, to, o.Now, o.Patch, o.Paths)
	if o.Patch && f.refuse != nil {
		return bus.Diff{}, f.refuse
	}
	doc := bus.Diff{From: 1, To: 3}
	if o.Patch {
		doc.Patches = []bus.Patch{{Path: "/etc/motd", Text: "@@ -0,0 +1 @@\n+hello\n", After: &bus.File{Type: bus.FileRegular}}}
	}
	if o.Now {
		doc.Files = []record.FileChange{{Path: "/etc/fstab", Change: record.Modified}}
	}
	return doc, nil
}

func (f *fake) Annotate(_ context.Context, n uint64, a client.Annotation) error {
	note, pin := "-", "-"
	if a.Note != nil {
		note = *a.Note
	}
	if a.Pin != nil {
		pin = fmt.Sprint(*a.Pin)
	}
	f.called("annotate %d note=%s tags=%q drop=%q pin=%s", n, note, a.Tags, a.DropTags, pin)
	return f.refuse
}

func (f *fake) Output(_ context.Context, n uint64) (io.ReadCloser, error) {
	f.called("output %d", n)
	if f.refuse != nil {
		return nil, f.refuse
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(z.EncodeAll([]byte("one\n\x1b[2Jtwo\n"), nil))), nil
}

func (f *fake) Transcript(_ context.Context, n uint64) (io.ReadCloser, error) {
	f.called("transcript %d", n)
	if f.refuse != nil {
		return nil, f.refuse
	}
	return io.NopCloser(strings.NewReader(f.cast)), nil
}

func (f *fake) Grep(_ context.Context, text string, ignoreCase bool, limit uint64) (bus.Grep, error) {
	f.called("grep %q %v %d", text, ignoreCase, limit)
	if text == "nothing" {
		return bus.Grep{Text: text, Complete: true}, nil
	}
	return bus.Grep{Text: text, Complete: true, Matches: []bus.Match{{Number: 3, Line: 1, Text: "an error"}}}, f.refuse
}

func (f *fake) Verify(_ context.Context, head string) (bus.Verification, error) {
	f.called("verify %q", head)
	return f.verification, f.refuse
}

func (f *fake) JournalExport(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("{\"type\":\"journal\"}\n{\"type\":\"end\"}\n")), f.refuse
}

func (f *fake) PackageList(_ context.Context, from string) (bus.Packages, error) {
	f.called("packages %q", from)
	return bus.Packages{Packages: f.packages}, nil
}

func (f *fake) PackageNames(_ context.Context, prefix string) (bus.PackageNames, error) {
	f.called("names %q", prefix)
	return bus.PackageNames{Names: []string{"htop", "httpd"}}, nil
}

func (f *fake) Version(context.Context) (string, error) {
	return "", fmt.Errorf("%w: as told", client.ErrNoDaemon)
}

func (f *fake) Rollback(_ context.Context, n int64, o client.RollbackOptions) (uint64, error) {
	if o.AsCommitted || o.KeepEtc {
		how := map[bool]string{true: " as committed"}[o.AsCommitted] + map[bool]string{true: " keeping /etc"}[o.KeepEtc]
		f.called("rollback %d%s", n, how)
		return 9, f.refuse
	}
	if o.RestoreShared {
		f.called("rollback %d, restoring shared trees", n)
		return uint64(n), f.refuse
	}
	f.called("rollback %d", n)
	return uint64(n), f.refuse
}

func (f *fake) BootOnce(_ context.Context, n int64) error {
	f.called("boot once %d", n)
	return f.refuse
}

func (f *fake) Doctor(context.Context) (bus.Doctor, error) {
	return bus.Doctor{Root: "/", Layout: "flat", Problems: []bus.Problem{}}, nil
}

func (f *fake) Config(context.Context) (bus.Config, error) {
	return bus.Config{Values: []bus.Setting{{Key: "boot.tries", Value: 3.0, Origin: "default", Doc: "how often"},
		{Key: "gc.automatic", Value: f.automatic, Origin: "/etc/txupd/txupd.toml:2", Doc: "whether"}}}, nil
}

func (f *fake) Repair(context.Context) (bus.Repair, error) {
	return bus.Repair{Done: []string{"undid transaction 7"}, Left: []string{}}, nil
}

func (f *fake) Setup(context.Context) ([]string, error) {
	f.called("setup")
	return []string{"wrote the hook"}, f.refuse
}

func (f *fake) Auto(context.Context) (bus.Auto, error) {
	f.called("auto")
	return bus.Auto{Time: now, Policy: bus.AutoStage, Result: bus.AutoCurrent, Packages: []record.PackageChange{}}, f.refuse
}

func (f *fake) Reboot(_ context.Context, when string, at time.Time, method, reason string) (bus.RebootStatus, error) {
	if when != bus.RebootAt {
		at = now
	}
	if method != "" {
		when += " by " + method
	}
	f.called("reboot %s %s %q", when, at.UTC().Format(time.DateTime), reason)
	return bus.RebootStatus{Reboot: &bus.Reboot{Requested: now, By: "root", Reasons: []string{}, When: when, Next: at}}, f.refuse
}

func (f *fake) CancelReboot(context.Context) error {
	f.called("cancel reboot")
	return f.refuse
}

func (f *fake) RebootStatus(context.Context) (bus.RebootStatus, error) {
	return bus.RebootStatus{}, nil
}

func (f *fake) Metrics(context.Context) (bus.Metrics, error) {
	return bus.Metrics{Families: []metrics.Family{{Name: "txupd_warnings", Help: "How many.", Samples: []metrics.Sample{{Labels: map[string]string{}, Value: 2}}}}}, f.refuse
}

func (f *fake) GC(_ context.Context, dryRun bool) (bus.GC, error) {
	f.called("gc dry=%v", dryRun)
	if f.refuse != nil {
		return bus.GC{}, f.refuse
	}
	doc := bus.GC{
		DryRun: dryRun, Deleted: []uint64{}, Failed: []bus.GCFailure{}, After: bus.GCSpace{Data: 12 << 30},
		Snapshots: []bus.GCSnapshot{{Number: 1, Created: now, Rule: "needed", Why: "it is booted"}, {Number: 2, Created: now, Delete: true, Rule: "most", Why: "there are more than 2"}},
	}
	if !dryRun {
		doc.Deleted = []uint64{2}
	}
	return doc, nil
}

func (f *fake) Delete(_ context.Context, n uint64) error {
	f.called("delete %d", n)
	if n == 1 {
		return fmt.Errorf("snapshot 1 is booted: %w", fault.ErrProtected)
	}
	return f.refuse
}

// Watch tells of what was prepared.
func (f *fake) Watch(_ context.Context, fn func(bus.Event)) error {
	for _, e := range f.events {
		fn(e)
	}
	return nil
}
func (f *fake) WhileBusy(ctx context.Context, try func() error, busy func(error)) error {
	for {
		err := try()
		if !errors.Is(err, fault.ErrBusy) || ctx.Err() != nil {
			return err
		}
		if busy != nil {
			busy(err)
		}
	}
}

func (f *fake) Close() error { return nil }

func (f *fake) start(what string, about client.About, in client.Input) (transaction, error) {
	message := "no message"
	if about.Message != nil {
		message = *about.Message
	}
	f.called("%s (%s)", what, message)
	f.about, f.input = about, in
	if f.busy > 0 {
		f.busy--
		return nil, fmt.Errorf("%w: transaction 7 (run) of anna, since %ds", fault.ErrBusy, f.busy)
	}
	if f.refuse != nil {
		return nil, f.refuse
	}
	return &fakeTransaction{f: f, ended: make(chan struct{})}, nil
}

func (f *fake) Begin(_ context.Context, a client.About) (transaction, error) {
	return f.start("begin", a, client.Input{})
}
func (f *fake) Run(_ context.Context, argv []string, a client.About, in client.Input) (transaction, error) {
	return f.start(fmt.Sprintf("run %q", argv), a, in)
}
func (f *fake) Shell(_ context.Context, argv []string, a client.About, in client.Input) (transaction, error) {
	return f.start(fmt.Sprintf("shell %q", argv), a, in)
}
func (f *fake) PackageAdd(_ context.Context, names []string, a client.About) (transaction, error) {
	return f.start(fmt.Sprintf("add %q", names), a, client.Input{})
}
func (f *fake) PackageRemove(_ context.Context, names []string, a client.About) (transaction, error) {
	return f.start(fmt.Sprintf("remove %q", names), a, client.Input{})
}
func (f *fake) Update(_ context.Context, a client.About) (transaction, error) {
	return f.start("update", a, client.Input{})
}
func (f *fake) Transaction(_ context.Context, n uint64) (transaction, error) {
	if f.open == nil || f.open.Number != n {
		return nil, fmt.Errorf("%w: no such object", fault.ErrNotFound)
	}
	return &fakeTransaction{f: f, ended: make(chan struct{})}, nil
}

// fakeTransaction runs the fake's command.
type fakeTransaction struct {
	f     *fake
	ended chan struct{}
	exit  int32
}

func (t *fakeTransaction) Number() uint64 { return 4 }

func (t *fakeTransaction) State(context.Context) (client.State, error) {
	st := client.State{Outcome: t.f.outcome}
	st.Phase = record.Open
	return st, nil
}

func (t *fakeTransaction) Attach(_ context.Context, command *uint32) (client.Streams, error) {
	var files [6]*os.File
	for i := 0; i < len(files); i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return client.Streams{}, err
		}
		files[i], files[i+1] = r, w
	}
	go func() {
		if t.f.command != nil {
			t.exit = t.f.command(files[0], files[3], files[5])
		}
		for _, mine := range []int{0, 3, 5} {
			files[mine].Close()
		}
		close(t.ended)
	}()
	close(t.f.began)
	return client.Streams{Stdin: files[1], Stdout: files[2], Stderr: files[4]}, nil
}

func (t *fakeTransaction) Exec(_ context.Context, argv []string, in client.Input, _ bool) (uint32, error) {
	t.f.called("exec %q", argv)
	t.f.input = in
	return 2, t.f.refuse
}

func (t *fakeTransaction) WaitCommand(context.Context, uint32) (int32, error) {
	<-t.ended
	return t.exit, nil
}

func (t *fakeTransaction) Resize(_ context.Context, rows, columns uint16) error {
	t.f.called("resize %d %d", rows, columns)
	return nil
}

func (t *fakeTransaction) Commit(_ context.Context, about client.About) error {
	t.f.called("commit %v %v strict=%v", about.Message != nil, about.KeepUnchanged, about.Strict)
	close(t.ended)
	return t.f.refuse
}

func (t *fakeTransaction) Discard(context.Context) error {
	t.f.called("discard")
	t.f.outcome.Phase = record.Discarded
	close(t.ended)
	return nil
}

func (t *fakeTransaction) Cancel(context.Context) error {
	t.f.once.Do(func() { close(t.f.cancelled) })
	return nil
}

func (t *fakeTransaction) Wait(ctx context.Context) (bus.Outcome, error) {
	select {
	case <-t.ended:
		return t.f.outcome, nil
	case <-ctx.Done():
		return bus.Outcome{}, fmt.Errorf("%w: %w", fault.ErrCancelled, ctx.Err())
	}
}

// result of one call of txctl.
type result struct {
	code           int
	stdout, stderr string
}

// txctl runs one command line against the fake.
func (f *fake) txctl(stdin io.Reader, args ...string) result {
	f.t.Helper()
	return f.txctlWith(func(*app) {}, stdin, args...)
}

func (f *fake) txctlWith(prepare func(*app), stdin io.Reader, args ...string) result {
	f.t.Helper()
	var stdout, stderr locked
	a := newApp(stdin, &stdout, &stderr, func(string) string { return "" })
	a.now = func() time.Time { return now }
	a.connect = func(context.Context, func(uint64, bus.Progress)) (daemon, error) { return f, nil }
	prepare(a)
	code := a.run(args)
	return result{code, stdout.String(), stderr.String()}
}

// locked is a buffer for several writers.
type locked struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// document decodes what must be the only thing on standard output.
func (r result) document(t *testing.T) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(r.stdout)))
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("standard output is no document: %v\n%s", err, r.stdout)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one document:\n%s", r.stdout)
	}
	return doc
}
