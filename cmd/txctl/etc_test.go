package main

import (
	"context"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/busclient"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (f *fake) Etc(_ context.Context, snapshot string) (bus.Etc, error) {
	f.called("etc %q", snapshot)
	return bus.Etc{
		Booted: 1, Snapshot: ref(3), BootsNext: true, Merged: true, Reboot: []bus.EtcChange{{Path: "/etc/motd", Change: record.Added}},
		Conflicts: []bus.EtcConflict{{Path: "/etc/issue", Kept: "/etc/issue.txupd-3", Version: 3, Snapshot: 3}},
	}, f.refuse
}

func (f *fake) EtcDiff(_ context.Context, snapshot string, o busclient.DiffOptions) (bus.EtcDiff, error) {
	lines := "-"
	if o.Context != nil {
		lines = strings.Repeat("+", int(*o.Context))
	}
	f.called("etc diff %q %q now=%v context=%s", snapshot, o.Paths, o.Now, lines)
	return bus.EtcDiff{Booted: 1, Snapshot: 3, Merged: true, Patches: []bus.Patch{
		{Path: "/etc/motd", Change: record.Added, Text: "@@ -0,0 +1 @@\n+hello\n", After: &bus.File{Type: bus.FileRegular}}}}, f.refuse
}

func TestEtcVerbs(t *testing.T) {
	for line, want := range map[string]struct {
		calls, out string
		code       int
	}{
		"etc":                       {`etc ""`, "+ /etc/motd", 0},
		"etc 7":                     {`etc "7"`, "txctl etc resolve PATH --ours", 0},
		"etc --json":                {`etc ""`, `"kept": "/etc/issue.txupd-3"`, 0},
		"etc diff":                  {`etc diff "" [] now=false context=-`, "+++ b/etc/motd\n@@ -0,0 +1 @@\n+hello\n", 0},
		"etc diff --now -U2 /etc/a": {`etc diff "" ["/etc/a"] now=true context=++`, "hello", 0},
		"etc diff --snapshot 4":     {`etc diff "4" [] now=false context=-`, "hello", 0},
		"etc diff --snapshot x":     {"", `--snapshot: "x"`, fault.Usage},
		"etc diff etc/motd":         {"", `"etc/motd"`, fault.Usage},
		"etc diff /usr/x":           {"", `"/usr/x" is not in /etc`, fault.Usage},
		"etc diff -Umany":           {"", `-U: "many"`, fault.Usage},
		"etc 1 2":                   {"", `"2": only one`, fault.Usage},
		"etc dif":                   {"", `did you mean "txctl etc diff"`, fault.Usage},
	} {
		t.Run(line, func(t *testing.T) {
			f := newFake(t)
			got := f.txctl(nil, strings.Split(line, " ")...)
			if got.code != want.code || strings.Join(f.calls, "; ") != want.calls || !strings.Contains(got.stdout+got.stderr, want.out) {
				t.Errorf("exit %d, calls %q\n%s%s", got.code, f.calls, got.stdout, got.stderr)
			}
		})
	}
}
