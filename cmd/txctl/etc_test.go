package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
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

func (f *fake) EtcDiff(_ context.Context, snapshot string, o client.DiffOptions) (bus.EtcDiff, error) {
	lines := "-"
	if o.Context != nil {
		lines = strings.Repeat("+", int(*o.Context))
	}
	f.called("etc diff %q %q now=%v context=%s", snapshot, o.Paths, o.Now, lines)
	return bus.EtcDiff{Booted: 1, Snapshot: 3, Merged: true, Patches: []bus.Patch{
		{Path: "/etc/motd", Change: record.Added, Text: "@@ -0,0 +1 @@\n+hello\n", After: &bus.File{Type: bus.FileRegular}}}}, f.refuse
}

func (f *fake) EtcSides(_ context.Context, path, snapshot string) (bus.EtcSides, error) {
	f.called("sides %s %q", path, snapshot)
	return bus.EtcSides{
		EtcConflict: bus.EtcConflict{Path: "/etc/issue", Kept: "/etc/issue.txupd-3", Version: 3, Snapshot: 3},
		Theirs:      []byte("same\nrunning\n"), Ours: []byte("same\nsnapshot\nmore"), State: "s",
	}, nil
}

func (f *fake) EtcResolve(_ context.Context, path string, r client.Resolution) (bus.EtcResolved, error) {
	f.called("resolve %s %s %q %q %q", path, r.Choice, r.Snapshot, r.Content, r.State)
	return bus.EtcResolved{EtcConflict: bus.EtcConflict{Path: "/etc/issue", Version: 3, Snapshot: 3}, Choice: r.Choice, Left: 2}, f.refuse
}

// TestEditMakesOneOfBoth: in an editor that is a shell script, on a copy that nobody else may read.
func TestEditMakesOneOfBoth(t *testing.T) {
	const marks = "same\n<<<<<<< in place: the running side's\nrunning\n=======\nsnapshot\nmore\n>>>>>>> kept: that of snapshot 3\n"
	for name, c := range map[string]struct {
		editor string
		refuse error
		calls  []string
		words  string
		left   bool // the copy is kept
		code   int
	}{
		"edited": {
			editor: `sh -c 'cp "$1" "$SEEN"; stat -c %a "$1" "${1%/*}" >"$SEEN.mode"; echo chosen >"$1"' --`,
			calls:  []string{`resolve /etc/issue.txupd-3 edited "3" "chosen\n" "s"`}, words: "is settled: it is what was edited; 2 conflicts more",
		},
		"not edited":        {editor: "true", words: "nothing was edited", code: 1},
		"half edited":       {editor: `sed -i s/running/x/`, words: "lines that mark a conflict", left: true, code: 1},
		"the editor failed": {editor: "false", words: "cannot edit /etc/issue", code: 1},
		"the daemon refused": {editor: `sh -c 'echo chosen >"$1"' --`, refuse: fault.ErrConflicts, words: "what was edited is in", left: true, code: 11,
			calls: []string{`resolve /etc/issue.txupd-3 edited "3" "chosen\n" "s"`}},
		"no editor": {words: "neither VISUAL nor EDITOR", code: fault.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			seen := filepath.Join(t.TempDir(), "seen")
			t.Setenv("SEEN", seen)
			f := newFake(t)
			f.refuse = c.refuse
			got := f.txctlWith(func(a *app) {
				a.getenv = func(name string) string { return map[string]string{"EDITOR": c.editor}[name] }
			}, nil, "etc", "resolve", "/etc/issue", "--edit")
			calls := append([]string{`sides /etc/issue ""`}, c.calls...)
			if c.editor == "" {
				calls = nil
			}
			if got.code != c.code || !strings.Contains(got.stdout+got.stderr, c.words) || !slices.Equal(f.calls, calls) {
				t.Errorf("exit %d, calls %q\n%s%s", got.code, f.calls, got.stdout, got.stderr)
			}
			left, err := os.ReadDir(os.Getenv("TMPDIR"))
			if err != nil || (len(left) > 0) != c.left {
				t.Errorf("left are %v, %v", left, err)
			}
			if name != "edited" {
				return
			}
			if text, err := os.ReadFile(seen); err != nil || string(text) != marks {
				t.Errorf("the editor was given %q, %v", text, err)
			}
			if modes, err := os.ReadFile(seen + ".mode"); err != nil || string(modes) != "600\n700\n" {
				t.Errorf("with the modes %q, %v", modes, err)
			}
		})
	}
}

func TestEtcVerbs(t *testing.T) {
	for line, want := range map[string]struct {
		calls, out string
		code       int
	}{
		"etc":                           {`etc ""`, "+ /etc/motd", 0},
		"etc 7":                         {`etc "7"`, "txctl etc resolve PATH --ours", 0},
		"etc --json":                    {`etc ""`, `"kept": "/etc/issue.txupd-3"`, 0},
		"etc diff":                      {`etc diff "" [] now=false context=-`, "+++ b/etc/motd\n@@ -0,0 +1 @@\n+hello\n", 0},
		"etc diff --now -U2 /etc/a":     {`etc diff "" ["/etc/a"] now=true context=++`, "hello", 0},
		"etc diff --snapshot 4":         {`etc diff "4" [] now=false context=-`, "hello", 0},
		"etc diff --snapshot x":         {"", `--snapshot: "x"`, fault.Usage},
		"etc diff etc/motd":             {"", `"etc/motd"`, fault.Usage},
		"etc diff /usr/x":               {"", `"/usr/x" is not in /etc`, fault.Usage},
		"etc diff -Umany":               {"", `-U: "many"`, fault.Usage},
		"etc resolve /etc/issue --ours": {`resolve /etc/issue ours "" "" ""`, "/etc/issue in snapshot 3 is settled: it is that of snapshot 3", 0},
		"etc resolve /etc/issue --theirs --snapshot booted": {`resolve /etc/issue theirs "booted" "" ""`, "it stays as it is", 0},
		"etc resolve /etc/issue --ours --json":              {`resolve /etc/issue ours "" "" ""`, `"left": 2`, 0},
		"etc resolve":                                       {"", "PATH is missing", fault.Usage},
		"etc resolve /etc/issue":                            {"", "one of --ours, --theirs and --edit is missing", fault.Usage},
		"etc resolve /etc/issue --ours --edit":              {"", "only one of", fault.Usage},
		"etc resolve issue --ours":                          {"", `"issue"`, fault.Usage},
		"etc resolve /usr/x --ours":                         {"", `"/usr/x"`, fault.Usage},
		"etc resolve /etc/x --ours --snapshot y":            {"", `"y"`, fault.Usage},
		"etc 1 2":                                           {"", `"2": only one`, fault.Usage},
		"etc dif":                                           {"", `did you mean "txctl etc diff"`, fault.Usage},
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
