// The verbs of the annotated changelog.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

func TestBadQuestionsAreNamedAndNothingIsAskedFor(t *testing.T) {
	for line, want := range map[string]string{
		"log --path etc":            `--path: "etc"|"/"`,
		"log --path=":               "--path: it is empty",
		"log --since soon":          `--since: "soon"|yesterday`,
		"log --until=":              "--until",
		"log --since never":         `--since: "never"`,
		"log --state fine":          `--state: "fine"|committed`,
		"log --tag=":                "--tag: it is empty",
		"log --grep=":               "--grep: it is empty",
		"log --actor=":              "--actor: it is empty",
		"log --full --oneline":      "--full and --oneline",
		"tree 3":                    `"3"`,
		"blame":                     "PATH or PACKAGE is missing",
		"blame a b":                 `"b": only one`,
		"blame etc/fstab":           `"etc/fstab"|"/"`,
		"blame *.conf":              `"*.conf"`,
		"blame /etc -n x":           `-n: "x"`,
		"diff nowhere":              `A: "nowhere"`,
		"diff 1 nowhere":            `B: "nowhere"`,
		"diff 1 base":               `B: "base"`,
		"diff 1 2 3":                `"3"`,
		"diff 1 /etc usr":           `"usr"`,
		"diff -U many":              `-U: "many"`,
		"note":                      "NUMBER is missing",
		"note 3":                    "TEXT is missing",
		"note x hello":              `"x"`,
		"note 3 hello -m hello":     "twice",
		"note 3  ":                  "empty",
		"tag":                       "NUMBER is missing",
		"tag 3":                     "TAG is missing",
		"tag 3 a\tb":                `"a\tb"`,
		"tag 3 --remove=":           `""`,
		"pin":                       "NUMBER is missing",
		"pin 1 2":                   `"2": only one`,
		"unpin x":                   `"x"`,
		"output":                    "NUMBER is missing",
		"output x":                  `"x"`,
		"replay 3 --speed 0":        `--speed: "0"`,
		"replay 3 --idle -1s":       `--idle: "-1s"`,
		"grep":                      "TEXT is missing",
		"grep a b":                  `"b": only one`,
		"grep a -n -1":              `-n: "-1"`,
		"verify x":                  `"x"`,
		"verify --head abc":         `--head: "abc"`,
		"journal":                   "export or check",
		"journal compact":           `has no verb "compact"`,
		"journal export here":       `"here"`,
		"rollback 2 --etc=whatever": "--etc",
	} {
		t.Run(line, func(t *testing.T) {
			f := newFake(t)
			got := f.txctl(nil, strings.Split(line, " ")...)
			if got.code != fault.Usage || got.stdout != "" || len(f.calls) > 0 {
				t.Errorf("exit %d, output %q, calls %q", got.code, got.stdout, f.calls)
			}
			for part := range strings.SplitSeq(want, "|") {
				if !strings.Contains(got.stderr, part) {
					t.Errorf("%q is not in:\n%s", part, got.stderr)
				}
			}
		})
	}
}

func TestQuestionsReachTheDaemonAsTheyWereAsked(t *testing.T) {
	for line, want := range map[string]string{
		"blame /etc":                        `blame "/etc" 100`,
		"blame libc6 -n 0":                  `blame "libc6" 0`,
		"diff":                              `diff "" "" now=false patch=false []`,
		"diff 1":                            `diff "1" "" now=false patch=false []`,
		"diff /etc /usr/*":                  `diff "" "" now=false patch=false ["/etc" "/usr/*"]`,
		"diff base pending -p /etc":         `diff "base" "pending" now=false patch=true ["/etc"]`,
		"diff --now 2 2":                    `diff "2" "2" now=true patch=false []`,
		"diff -U 9 last-good booted":        `diff "last-good" "booted" now=false patch=true []`,
		"note pending it is broken":         `annotate 3 note=it is broken tags=[] drop=[] pin=-`,
		"note 2 -m why":                     `annotate 2 note=why tags=[] drop=[] pin=-`,
		"tag 2 a b --remove c --remove d,e": `annotate 2 note=- tags=["a" "b"] drop=["c" "d,e"] pin=-`,
		"tag 2 100%":                        `annotate 2 note=- tags=["100%"] drop=[] pin=-`,
		"pin booted":                        `annotate 1 note=- tags=[] drop=[] pin=true`,
		"unpin 1":                           `annotate 1 note=- tags=[] drop=[] pin=false`,
		"output 3":                          `output 3`,
		"grep error":                        `grep "error" false 1000`,
		"grep -i -n 0 error":                `grep "error" true 0`,
		"verify":                            `verify ""`,
		"verify --head J:1:00":              `verify "J:1:00"`,
		"journal check":                     `verify ""`,
		"tree":                              "",
	} {
		t.Run(line, func(t *testing.T) {
			for _, json := range []bool{false, true} {
				f := newFake(t)
				args := strings.Split(line, " ")
				if json {
					args = append(args, "--json")
				}
				got := f.txctl(nil, args...)
				if got.code != 0 || strings.Contains(got.stdout, "%!") {
					t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
				}
				if want != "" && !slices.Equal(f.calls, []string{want}) {
					t.Errorf("calls %q, want %q", f.calls, want)
				}
				if json {
					got.document(t)
				} else if got.stdout == "" {
					t.Error("nothing is said")
				}
			}
		})
	}
}

func TestLogConditions(t *testing.T) {
	f := newFake(t)
	got := f.txctl(nil, "log", "-n", "5", "--package", "htop", "--path", "/etc/*", "--since", "2d", "--until", "2026-03-14 12:00",
		"--actor", "anna", "--state", "good", "--tag", "x", "--grep", "printer")
	if got.code != 0 || got.stdout != "Nothing that is recorded fits.\n" {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	want := client.LogFilter{
		Limit: 5, Package: "htop", Path: "/etc/*", Since: now.Add(-48 * time.Hour), Until: time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC),
		Actor: "anna", State: "good", Tag: "x", Text: "printer", Brief: true,
	}
	if diff := cmp.Diff(want, f.filter); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, more := range []string{"--json", "--full"} {
		if f.txctl(nil, "log", more); f.filter.Brief {
			t.Errorf("log %s lacks commands and packages", more)
		}
	}
}

func TestTimesOnTheCommandLine(t *testing.T) {
	zone := time.FixedZone("UTC+2", 2*3600)
	a := &app{now: func() time.Time { return now.In(zone) }} // 17:09:26 there
	for text, want := range map[string]string{
		"2026-03-01":           "2026-03-01T00:00:00+02:00",
		"2026-03-01 10:30":     "2026-03-01T10:30:00+02:00",
		"2026-03-01T10:30:05":  "2026-03-01T10:30:05+02:00",
		"2026-03-01T10:30:05Z": "2026-03-01T10:30:05Z",
		"today":                "2026-03-14T00:00:00+02:00",
		"yesterday":            "2026-03-13T00:00:00+02:00",
		"90m":                  "2026-03-14T15:39:26+02:00",
		"1w":                   "2026-03-07T17:09:26+02:00",
	} {
		got, err := a.instant("--since", text)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v, want %s", text, got.Format(time.RFC3339), err, want)
		}
	}
}

func TestShowHasTheContentsOfEtcForWhoMaySeeThem(t *testing.T) {
	f := newFake(t)
	f.etc = true
	if got := f.txctl(nil, "show", "3"); got.code != 0 || !strings.Contains(got.stdout, "+hello") {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	doc := f.txctl(nil, "show", "3", "--json").document(t)
	if patches, ok := doc["etc_patches"].([]any); !ok || len(patches) != 1 || doc["number"] != 3.0 {
		t.Errorf("the document is %v", doc)
	}
	f.refuse = fmt.Errorf("%w: only root may do this", fault.ErrNotAuthorized)
	got := f.txctl(nil, "show", "3")
	if got.code != 0 || !strings.Contains(got.stdout, "only root may do this") || !strings.Contains(got.stdout, "/etc/motd") {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	if doc := f.txctl(nil, "show", "3", "--json").document(t); doc["etc_patches"] != nil {
		t.Errorf("the document is %v", doc)
	}
	f = newFake(t)
	if f.txctl(nil, "show", "3"); len(f.calls) > 0 {
		t.Errorf("where nothing in /etc changed it was asked for: %q", f.calls)
	}
}

func TestOutputIsPassedOnAsItWasPrinted(t *testing.T) {
	f := newFake(t)
	if got := f.txctl(nil, "output", "3"); got.stdout != "one\n\x1b[2Jtwo\n" {
		t.Errorf("into a pipe: %q", got.stdout)
	}
	if doc := f.txctl(nil, "output", "3", "--json").document(t); doc["output"] != "one\n\x1b[2Jtwo\n" {
		t.Errorf("document: %v", doc)
	}
	f.refuse = fmt.Errorf("transaction 3 printed nothing: %w", fault.ErrNotFound)
	if got := f.txctl(nil, "output", "3"); got.code != 4 {
		t.Errorf("exit %d", got.code)
	}
}

func TestVerifyFailsWhereSomethingIsWrong(t *testing.T) {
	f := newFake(t)
	f.verification = bus.Verification{Events: 3, Problems: []bus.JournalProblem{{Kind: "edited", Seq: 2, Text: "event 2 was changed"}}}
	if got := f.txctl(nil, "verify"); got.code != 1 || !strings.Contains(got.stdout, "event 2 was changed") || got.stderr != "" {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if got := f.txctl(nil, "verify", "--json"); got.code != 1 || got.document(t)["ok"] != false {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

func TestGrepWithoutAMatch(t *testing.T) {
	f := newFake(t)
	if got := f.txctl(nil, "grep", "nothing"); got.code != 4 || !strings.Contains(got.stderr, `"nothing"`) {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	got := f.txctl(nil, "grep", "nothing", "--json")
	if matches, ok := got.document(t)["matches"].([]any); got.code != 4 || !ok || len(matches) != 0 {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

const cast = `{"version":2,"width":80,"height":24,"timestamp":1}
[0,"o","$ "]
[3600,"o","ls\r\n"]
[3600.5,"r","100x30"]
[3601,"o","a b\r\n"]
`

func TestReplay(t *testing.T) {
	f := newFake(t)
	f.cast = cast
	if got := f.txctl(nil, "replay", "3", "--idle", "0s"); got.code != 0 || got.stdout != "$ ls\r\na b\r\n" {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
	if got := f.txctl(nil, "replay", "3", "--cast"); got.stdout != cast {
		t.Errorf("the recording: %q", got.stdout)
	}
	doc := f.txctl(nil, "replay", "3", "--json").document(t)
	if events, ok := doc["events"].([]any); !ok || len(events) != 4 || fmt.Sprint(events[2]) != "[3600.5 r 100x30]" {
		t.Errorf("document: %v", doc)
	}
	for _, bad := range []string{"", "no header\n", cast + "[1,2\n", cast + "[1,\"o\",\"cut"} {
		f.cast = bad
		if got := f.txctl(nil, "replay", "3"); got.code != 1 || !strings.Contains(got.stderr, "cannot read the transcript") {
			t.Errorf("%q: exit %d: %s", bad, got.code, got.stderr)
		}
	}
}

func TestReplayEndsWithCtrlC(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	events := []castEvent{{0, "o", "\x1b[31mred"}, {3600, "o", "late"}}
	cancelAfter := writerFunc(func(p []byte) (int, error) { cancel(); return out.Write(p) })
	err := player{speed: 1, idle: time.Hour}.play(ctx, cancelAfter, events)
	if !errors.Is(err, fault.ErrCancelled) || out.String() != "\x1b[31mred\x1b[0m\r\n" {
		t.Errorf("%v, %q", err, out.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRollbackShowsEditsOfTheRunningRoot(t *testing.T) {
	f := newFake(t)
	got := f.txctl(nil, "rollback", "2", "--dry-run")
	if got.code != 0 || !strings.Contains(got.stdout, "/etc/fstab") {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	doc := f.txctl(nil, "rollback", "2", "--dry-run", "--json").document(t)
	if edits, ok := doc["edits"].([]any); !ok || len(edits) != 1 {
		t.Errorf("document: %v", doc)
	}
	// Back to what runs: its edits stay.
	if doc := f.txctl(nil, "rollback", "booted", "--dry-run", "--json").document(t); doc["edits"] != nil {
		t.Errorf("document: %v", doc)
	}
}
