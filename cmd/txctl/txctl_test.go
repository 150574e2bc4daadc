package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

func TestBadArgumentsAreNamedAndNothingIsAskedFor(t *testing.T) {
	for line, want := range map[string]string{
		"stauts":                       `has no verb "stauts"|did you mean "txctl status"?`,
		"pkg install htop":             `has no verb "install"|"txctl pkg add"`,
		"pkg":                          "add, remove or list is missing",
		"pkg add":                      "PACKAGE is missing",
		"pkg add --root=/":             "unknown flag: --root",
		"pkg add x --dry-run --detach": "--dry-run and --detach",
		"update htop":                  `"htop"`,
		"list --bogus":                 "unknown flag: --bogus",
		"list 3":                       `"3": no argument`,
		"status 3":                     `"3": no argument`,
		"show":                         "NUMBER is missing",
		"show 1x":                      `"1x"`,
		"show +1":                      `"+1"`,
		"show 99999999999999999999":    `"99999999999999999999"`,
		"show 1 2":                     `"2": only one`,
		"run ls":                       `"--" is missing`,
		"run":                          "the command is missing",
		"run --":                       "the command is missing",
		"run x -- ls":                  `"x": not expected`,
		"run --from nowhere -- ls":     `--from: "nowhere"`,
		"run --tag= -- ls":             "--tag: it is empty",
		"run -m= -- ls":                "", // "=" is a message
		"run --message= -- ls":         "the message is empty",
		"exec four -- ls":              `"four"`,
		"exec 1 2 -- ls":               `"2": not expected`,
		"commit x":                     `"x"`,
		"discard x":                    `"x"`,
		"begin --expires soon":         `--expires: "soon"`,
		"begin --expires 0s":           `--expires: "0s"`,
		"begin --expires -5m":          `--expires: "-5m"`,
		"begin --expires 40000w":       `--expires: "40000w"`, // more than a number of nanoseconds holds
		"log --since 0001-01-01":       `--since: "0001-01-01"`,
		"log -n 0":                     `-n: "0"`,
		"log -n many":                  `-n: "many"`,
		"log --package=":               "--package: it is empty",
		"rollback nowhere":             `"nowhere"`,
		"rollback 1 2":                 `"2": only one`,
		"rollback 1 --etc=mine":        `--etc="mine"`,
		"rollback 1 --var=mine":        `--var="mine"`,
		"boot-once":                    `either NUMBER or --cancel`,
		"boot-once 1 --cancel":         `either NUMBER or --cancel`,
		"boot-once x":                  `"x"`,
		"delete":                       "NUMBER is missing",
		"delete 2 x":                   `"x"`,
		"delete 2":                     "-y says yes",
		"pkg list --from nowhere":      `--from: "nowhere"`,
		"version 3":                    `"3"`,
		"run -m " + strings.Repeat("x", 16<<10+1) + " -- ls": "at most 16384 are accepted",
	} {
		t.Run(line[:min(len(line), 40)], func(t *testing.T) {
			f := newFake(t)
			got := f.txctl(nil, strings.Split(line, " ")...)
			if want == "" {
				if got.code != 0 {
					t.Errorf("exit %d: %s", got.code, got.stderr)
				}
				return
			}
			if got.code != fault.Usage || got.stdout != "" || len(f.calls) > 0 {
				t.Errorf("exit %d, output %q, calls %q", got.code, got.stdout, f.calls)
			}
			for part := range strings.SplitSeq(want, "|") {
				if !strings.Contains(got.stderr, part) {
					t.Errorf("%q is not in:\n%s", part, got.stderr)
				}
			}
			if n := strings.Count(got.stderr, "\n"); n > 3 {
				t.Errorf("%d lines for one mistake:\n%s", n, got.stderr)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	named := func(err error) bus.Outcome {
		return bus.Outcome{Number: 4, Parent: 3, Phase: record.Failed, Exit: -1, Error: fault.Name(err), ErrorMessage: err.Error()}
	}
	commandFailed := named(fault.ErrCommandFailed)
	commandFailed.Exit = 42
	unchanged := bus.Outcome{Number: 4, Parent: 3, Phase: record.Discarded, Unchanged: true}
	committed := bus.Outcome{Number: 4, Parent: 3, Phase: record.Committed}
	shellLeft := committed
	shellLeft.Exit = 3
	for name, c := range map[string]struct {
		line    string
		refuse  error
		outcome bus.Outcome
		want    int
	}{
		"done":                         {"pkg add x", nil, committed, 0},
		"nothing to do":                {"pkg add x", nil, unchanged, 0},
		"nothing to do, asked":         {"pkg add x --unchanged-exit", nil, unchanged, 77},
		"nothing to do in run, asked":  {"run --unchanged-exit -- x", nil, unchanged, 77},
		"package manager failed":       {"pkg add x", nil, named(fault.ErrPackageManager), 3},
		"update failed":                {"update", nil, named(fault.ErrPackageManager), 3},
		"bad package name":             {"pkg add x", fault.ErrInvalidArgument, committed, 2},
		"failed":                       {"update", nil, named(fault.ErrFailed), 1},
		"busy":                         {"update", fault.ErrBusy, committed, 6},
		"stale":                        {"pkg remove x", nil, named(fault.ErrStale), 7},
		"no space":                     {"update", fault.ErrNoSpace, committed, 8},
		"not authorised":               {"update", fault.ErrNotAuthorized, committed, 9},
		"not supported":                {"begin", fault.ErrNotSupported, committed, 10},
		"unreconciled":                 {"update", nil, named(fault.ErrUnreconciled), 12},
		"cancelled by others":          {"update", nil, named(fault.ErrCancelled), 130},
		"the command's own":            {"run -- x", nil, commandFailed, 42},
		"a shell's own":                {"run -- x", nil, shellLeft, 3},
		"run, our own failure":         {"run -- x", nil, named(fault.ErrStale), 125},
		"run, refused":                 {"run -- x", fault.ErrBusy, committed, 125},
		"run, bad argument":            {"run -- x", fault.ErrInvalidArgument, committed, 2},
		"run, cancelled":               {"run -- x", nil, named(fault.ErrCancelled), 130},
		"exec, nothing open":           {"exec -- x", nil, committed, 125},
		"commit, nothing open":         {"commit", nil, committed, 4},
		"show, not there":              {"show 77", nil, committed, 4},
		"rollback, not there":          {"rollback 77", fault.ErrNotFound, committed, 4},
		"delete, not there":            {"delete 77 -y", nil, committed, 4},
		"delete, protected":            {"delete 1 -y", nil, committed, 5},
		"delete, one wrong among many": {"delete 2 77 -y", nil, committed, 4},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.refuse, f.outcome = c.refuse, c.outcome
			args := strings.Split(c.line, " ")
			if got := f.txctl(nil, args...); got.code != c.want {
				t.Errorf("exit %d, want %d: %s", got.code, c.want, got.stderr)
			}
			f = newFake(t)
			f.refuse, f.outcome = c.refuse, c.outcome
			got := f.txctl(nil, append([]string{"--json"}, args...)...)
			if got.code != c.want {
				t.Errorf("with --json: exit %d, want %d", got.code, c.want)
			}
			doc := got.document(t)
			if failed := c.refuse != nil || c.outcome.Error != ""; failed {
				e, ok := doc["error"].(map[string]any)
				if !ok || e["name"] == "" || e["message"] == "" || e["exit"] == 0.0 || e["exit"] == 125.0 {
					t.Errorf("the document of a failure has the error %v", doc["error"])
				}
			}
		})
	}
}

func TestDeleteWithAWrongNumberDeletesNothing(t *testing.T) {
	f := newFake(t)
	f.txctl(nil, "delete", "2", "77", "-y")
	if len(f.calls) > 0 {
		t.Errorf("called %q", f.calls)
	}
}

func TestDryRunsChangeNothing(t *testing.T) {
	for _, line := range []string{"rollback --dry-run", "rollback 2 --dry-run", "delete 2 3 --dry-run"} {
		f := newFake(t)
		got := f.txctl(nil, strings.Split(line, " ")...)
		f.calls = slices.DeleteFunc(f.calls, func(call string) bool { return strings.HasPrefix(call, "diff ") })
		if got.code != 0 || len(f.calls) > 0 || !strings.Contains(got.stdout, "othing was changed") {
			t.Errorf("%s: exit %d, calls %q\n%s%s", line, got.code, f.calls, got.stdout, got.stderr)
		}
	}
}

func TestRunKeepsTheStreamsApart(t *testing.T) {
	command := func(in io.Reader, out, errs io.Writer) int32 {
		read, _ := io.ReadAll(in)
		fmt.Fprintf(out, "out %s", read)
		fmt.Fprint(errs, "errs")
		return 0
	}
	f := newFake(t)
	f.command = command
	got := f.txctl(strings.NewReader("typed"), "run", "--", "cat")
	if got.stdout != "out typed" || !strings.HasPrefix(got.stderr, "errs") || !f.input.Stdin {
		t.Errorf("stdout %q, stderr %q, input %v", got.stdout, got.stderr, f.input)
	}
	if !strings.Contains(got.stderr, "snapshot 4 (from 3, the pending one) boots next: 1 file added") {
		t.Errorf("no summary: %q", got.stderr)
	}

	f = newFake(t)
	f.command = command
	got = f.txctl(strings.NewReader("typed"), "run", "--json", "--", "cat")
	if got.document(t)["number"] != 4.0 || !strings.Contains(got.stderr, "out typed") {
		t.Errorf("stdout %q, stderr %q", got.stdout, got.stderr)
	}
}

func TestRunWithoutInputLetsTheCommandReadNothing(t *testing.T) {
	f := newFake(t)
	f.txctl(nil, "run", "--", "cat")
	if f.input.Stdin {
		t.Error("the command waits for input that nobody sends")
	}
}

func TestFailedCommandSaysThatNothingChanged(t *testing.T) {
	f := newFake(t)
	f.outcome = bus.Outcome{Number: 4, Phase: record.Failed, Exit: 1, Error: "CommandFailed", ErrorMessage: "the command failed with status 1: false"}
	got := f.txctl(nil, "run", "--", "false")
	if want := "txctl: the command failed with status 1; nothing was changed\n"; got.stderr != want || got.code != 1 {
		t.Errorf("exit %d, %q", got.code, got.stderr)
	}
}

func TestExecReadsTheLastWordsOfItsCommand(t *testing.T) {
	f := newFake(t)
	f.open = &bus.Transaction{Number: 4, Kind: "begin"}
	long := strings.Repeat("0123456789abcdef", 20000)
	f.command = func(_ io.Reader, out, errs io.Writer) int32 {
		io.WriteString(out, long)
		io.WriteString(errs, "last")
		return 7
	}
	got := f.txctl(nil, "exec", "--", "x")
	if got.code != 7 || got.stdout != long || got.stderr != "last" {
		t.Errorf("exit %d, %d bytes, errors %q", got.code, len(got.stdout), got.stderr)
	}
}

func TestSignalCancelsAndExits130(t *testing.T) {
	for _, line := range []string{"run -- sleep 9", "pkg add x", "update --json", "exec -- sleep 9"} {
		t.Run(line, func(t *testing.T) {
			f := newFake(t)
			f.open = &bus.Transaction{Number: 4, Kind: "begin"}
			f.command = func(io.Reader, io.Writer, io.Writer) int32 {
				<-f.cancelled // runs until it is cancelled
				f.outcome = bus.Outcome{Number: 4, Phase: record.Failed, Exit: 137, Error: "Cancelled", ErrorMessage: "cancelled"}
				return 137
			}
			got := f.txctlWith(func(a *app) {
				asked, ask := context.WithCancel(context.Background())
				a.asked = asked
				go func() {
					<-f.began
					ask()
				}()
			}, nil, strings.Split(line, " ")...)
			if got.code != 130 {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
		})
	}
}

func TestSecondSignalLeavesAtOnce(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	defer close(release)
	f.command = func(io.Reader, io.Writer, io.Writer) int32 { <-release; return 0 } // does not hear of the first
	got := f.txctlWith(func(a *app) {
		asked, ask := context.WithCancel(context.Background())
		urged, urge := context.WithCancel(context.Background())
		a.asked, a.urged = asked, urged
		go func() {
			<-f.began
			ask()
			<-f.cancelled
			urge()
		}()
	}, nil, "run", "--", "sleep", "9")
	if got.code != 130 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestWaitSaysWhoHoldsTheLockOnce(t *testing.T) {
	f := newFake(t)
	f.busy = 3
	got := f.txctl(nil, "run", "--wait", "--", "x")
	if got.code != 0 || strings.Count(got.stderr, "waiting: a transaction is in progress: transaction 7 (run) of anna") != 1 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	f = newFake(t)
	f.busy = 1
	if got := f.txctl(nil, "update"); got.code != 6 || !strings.Contains(got.stderr, "--wait") {
		t.Errorf("without --wait: exit %d: %s", got.code, got.stderr)
	}
}

func TestDetachPrintsTheNumberAndReturns(t *testing.T) {
	f := newFake(t)
	if got := f.txctl(nil, "run", "--detach", "--", "x"); got.stdout != "4\n" || !f.about.Detach {
		t.Errorf("%q", got.stdout)
	}
	if got := f.txctl(nil, "update", "--detach", "--json"); got.document(t)["transaction"] != "/org/txupd1/transaction/4" {
		t.Errorf("%s", got.stdout)
	}
}

func TestWhatTheDaemonIsAsked(t *testing.T) {
	for line, want := range map[string]string{
		"pkg add -- --root=/":                  `add ["--root=/"] (add --root=/)`,
		"pkg remove a b -m because":            `remove ["a" "b"] (because)`,
		"run -- sh -c true":                    `run ["sh" "-c" "true"] (sh -c true)`,
		"shell":                                `run ["/bin/sh"] (shell)`, // there is no terminal
		"update":                               `update (update)`,
		"begin":                                `begin (no message)`,
		"commit -m x":                          `commit true false strict=false`,
		"commit 4 --keep-unchanged":            `commit false true strict=false`,
		"commit 4 --strict":                    `commit false false strict=true`,
		"discard":                              `discard`,
		"exec 4 -- -x":                         `exec ["-x"]`,
		"log -n 3 --package htop":              `log 3 "htop"`,
		"rollback":                             `rollback 1`,
		"rollback 2 --as-committed":            `rollback 2 as committed`,
		"rollback 2 --etc=keep":                `rollback 2 keeping /etc`,
		"rollback 3 --etc=keep":                `rollback 3 keeping /etc`, // a new one, though it boots next
		"rollback 1 --etc=keep":                `rollback 1`,              // it runs
		"rollback 2 --etc=keep --as-committed": `rollback 2 as committed keeping /etc`,
		"rollback 2 --etc=restore":             `rollback 2`,
		"rollback 2 --var=restore":             `rollback 2, restoring shared trees`,
		"rollback 2 --var=keep":                `rollback 2`,
		"boot-once 1":                          `boot once 1`,
		"boot-once pending":                    `boot once 3`,
		"boot-once --cancel":                   `boot once -1`,
		"setup":                                `setup`,
		"rollback booted":                      `rollback 1`,
		"rollback last-good":                   `rollback 1`,
		"rollback 2":                           `rollback 2`,
		"delete 3 2 3 -y":                      `delete 3|delete 2`,
		"pkg list --from pending":              `packages "pending"`,
	} {
		t.Run(line, func(t *testing.T) {
			f := newFake(t)
			f.open = &bus.Transaction{Number: 4, Kind: "begin"}
			if got := f.txctl(nil, strings.Split(line, " ")...); got.code != 0 {
				t.Fatalf("exit %d: %s", got.code, got.stderr)
			}
			if diff := cmp.Diff(strings.Split(want, "|"), f.calls); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestExpiresInSeconds(t *testing.T) {
	for text, want := range map[string]uint64{"90m": 5400, "36h": 36 * 3600, "2d": 2 * 86400, "1w": 7 * 86400, "never": 0} {
		f := newFake(t)
		f.txctl(nil, "begin", "--expires", text)
		if f.about.Expires == nil || *f.about.Expires != want {
			t.Errorf("%s: %v, want %d", text, f.about.Expires, want)
		}
	}
}

func TestEveryVerbPrintsOneDocument(t *testing.T) {
	for _, line := range []string{
		"", "status", "list", "show 2", "show booted", "log", "pkg list", "version", "begin", "rollback 2", "boot-once 1", "doctor", "setup", "config", "delete 2 -y", "delete 2 --dry-run", "gc", "gc --explain", "gc --dry-run",
		"pkg add x", "pkg add x --dry-run", "update", "run -- x", "shell", "exec -- x", "commit", "discard", "bogus", "list --bogus",
	} {
		f := newFake(t)
		f.open = &bus.Transaction{Number: 4, Kind: "begin"}
		args := slices.DeleteFunc(strings.Split(line, " "), func(s string) bool { return s == "" })
		at := slices.Index(args, "--")
		if at < 0 {
			at = len(args)
		}
		got := f.txctl(nil, slices.Insert(args, at, "--json")...)
		doc := got.document(t)
		if got.code == 0 && len(doc) == 0 {
			t.Errorf("%q: an empty document", line)
		}
		if strings.Contains(got.stdout, ": null,\n") && strings.Contains(got.stdout, `"snapshots": null`) {
			t.Errorf("%q: a list is null:\n%s", line, got.stdout)
		}
	}
}

func TestNoDaemonSaysWhatToDo(t *testing.T) {
	got := newFake(t).txctlWith(func(a *app) {
		a.connect = func(context.Context, func(uint64, bus.Progress)) (daemon, error) { return nil, errNoBus }
	}, nil, "status")
	if got.code != 1 || !strings.Contains(got.stderr, "journalctl -u txupd") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// With --progress there is a document on each line, and the last is that without it.
func TestProgressAsDocuments(t *testing.T) {
	f := newFake(t)
	var tell func(uint64, bus.Progress)
	f.command = func(_ io.Reader, out, _ io.Writer) int32 {
		tell(4, bus.Progress{Phase: "download", Fraction: -1, Text: "file 1 of 2"})
		tell(8, bus.Progress{Phase: "install", Fraction: 0.1, Text: "another's"})
		fmt.Fprintln(out, "words of the package manager")
		tell(4, bus.Progress{Phase: "install", Fraction: 0.5, Text: "Unpacking x"})
		return 0
	}
	follow := func(a *app) {
		a.connect = func(_ context.Context, progress func(uint64, bus.Progress)) (daemon, error) {
			tell = progress
			return f, nil
		}
	}
	got := f.txctlWith(follow, nil, "pkg", "add", "x", "--json", "--progress")
	all := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	want := []string{
		`{"progress":{"transaction":4,"phase":"download","fraction":null,"text":"file 1 of 2"}}`,
		`{"progress":{"transaction":4,"phase":"install","fraction":0.5,"text":"Unpacking x"}}`,
	}
	if got.code != 0 || len(all) != 3 || !slices.Equal(all[:2], want) {
		t.Fatalf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	tell(4, bus.Progress{Text: "too late"})
	var last, alone map[string]any
	without := newFake(t).txctl(nil, "pkg", "add", "x", "--json")
	if err := errors.Join(json.Unmarshal([]byte(all[2]), &last), json.Unmarshal([]byte(without.stdout), &alone)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(alone, last); diff != "" {
		t.Errorf("the last document (-alone +last):\n%s", diff)
	}
	if got := f.txctlWith(follow, nil, "pkg", "add", "x", "--progress"); got.code != 2 || !strings.Contains(got.stderr, "--json is missing") {
		t.Errorf("without --json: exit %d: %s", got.code, got.stderr)
	}
}
