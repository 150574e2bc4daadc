package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// completed runs what a shell runs for a line whose last word is being typed.
func (f *fake) completed(prepare func(*app), line string) (offered []string, how string) {
	f.t.Helper()
	got := f.txctlWith(prepare, nil, append([]string{cobra.ShellCompRequestCmd}, strings.Split(line, " ")...)...)
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	last := lines[len(lines)-1]
	if got.code != 0 || !strings.HasPrefix(last, ":") {
		f.t.Fatalf("%q: exit %d, %q", line, got.code, got.stdout)
	}
	// The library's own word on what it did is all that may be said; the scripts drop it.
	if strings.Count(got.stderr, "\n") != 1 || !strings.HasPrefix(got.stderr, "Completion ended with directive") {
		f.t.Errorf("%q: a person reads %q", line, got.stderr)
	}
	return lines[:len(lines)-1], last
}

func TestShellsCompleteWhatThereIs(t *testing.T) {
	const files, none, ordered = ":0", ":4", ":36"
	numbers := []string{"3\tpending: step 3", "2\tstep 2", "1\tbooted: step 1"}
	roles := []string{"pending\t3: step 3", "booted\t1: step 1"}
	transactions := []string{"4\tfailed: lost", "3\tin two lines", "booted", "default", "pending", "last-good"}
	for line, want := range map[string]struct {
		offered []string
		how     string
	}{
		"roll":                      {[]string{"rollback\tMake another snapshot what boots next"}, ordered},
		"comp":                      {nil, none}, // hidden
		"completion ":               {[]string{"bash", "fish", "zsh"}, none},
		"rollback ":                 {append(numbers[:3:3], roles...), ordered},
		"rollback 3 ":               {nil, none},
		"rollback --etc=":           {[]string{"restore", "keep"}, ordered},
		"boot-once ":                {append(numbers[:3:3], roles...), ordered},
		"delete ":                   {numbers[1:2], ordered},
		"delete 2 ":                 {nil, ordered},
		"show ":                     {transactions, ordered},
		"show 3 ":                   {nil, none},
		"note ":                     {transactions, ordered},
		"note 3 ":                   {nil, none},
		"tag ":                      {transactions, ordered},
		"tag 3 ":                    {[]string{"kept", "release:1", "wild"}, ordered},
		"tag 3 --remove ":           {[]string{"kept", "release:1"}, ordered},
		"pin ":                      {append(numbers[:3:3], roles...), ordered},
		"unpin ":                    {nil, ordered},
		"output ":                   {transactions, ordered},
		"replay ":                   {transactions, ordered},
		"diff ":                     {append(append(numbers[:3:3], roles...), "base\twhat the second one was made from"), ordered},
		"diff 3 ":                   {append(numbers[1:3:3], roles[1:]...), ordered},
		"diff 3 2 ":                 {nil, files},
		"diff /e":                   {nil, files},
		"diff 3 /etc ":              {nil, files},
		"blame /e":                  {nil, files},
		"blame ":                    {[]string{"bash\t5.2", "htop\t3.4"}, ordered},
		"blame bash ":               {nil, none},
		"pkg ":                      {[]string{"add\tInstall packages in a new snapshot and make that what boots next", "list\tList the packages of a snapshot", "remove\tRemove packages in a new snapshot and make that what boots next"}, ordered},
		"pkg add ":                  {nil, none},
		"pkg add ht":                {[]string{"htop", "httpd"}, ordered},
		"pkg add htop ht":           {[]string{"httpd"}, ordered},
		"pkg remove h":              {[]string{"htop\t3.4"}, ordered},
		"pkg remove bash ":          {[]string{"htop\t3.4"}, ordered},
		"pkg list --from ":          {append(numbers[:3:3], roles...), ordered},
		"log --state ":              {bus.States, ordered},
		"log --tag ":                {[]string{"kept", "release:1", "wild"}, ordered},
		"log --package b":           {[]string{"bash\t5.2"}, ordered},
		"log --path ":               {nil, files},
		"log --grep ":               {nil, ordered},
		"run -m ":                   {nil, ordered},
		"run --from ":               {append(numbers[:3:3], roles...), ordered},
		"run -- ":                   {nil, files},
		"run -- ls --from ":         {nil, files}, // the command's own
		"exec ":                     {[]string{"4\ttry it"}, ordered},
		"exec -- ":                  {nil, files},
		"exec 4 -- ":                {nil, files},
		"exec 4 ":                   {nil, none},
		"commit ":                   {[]string{"4\ttry it"}, ordered},
		"discard ":                  {[]string{"4\ttry it"}, ordered},
		"etc resolve ":              {[]string{"/etc/motd\tkept in 3: /etc/motd.txupd-3"}, ordered},
		"etc diff /etc/":            {nil, files},
		"etc diff --snapshot ":      {append(numbers[:3:3], roles...), ordered},
		"status ":                   {nil, ordered},
		"nonsense ":                 {nil, none},
		"show --nonsense=":          {nil, files},
		"pkg remove --from 2 htop ": {[]string{"bash\t5.2"}, ordered},
	} {
		t.Run(line, func(t *testing.T) {
			f := newFake(t)
			f.open = &bus.Transaction{Number: 4, Message: "try it"}
			f.packages = []bus.Package{{Name: "bash", Version: "5.2"}, {Name: "htop", Version: "3.4"}, {Name: "htop", Arch: "i386", Version: "3.4"}}
			f.conflicts = []bus.EtcConflict{{Path: "/etc/motd", Kept: "/etc/motd.txupd-3", Snapshot: 3}}
			f.records = []record.Record{
				{Number: 4, Phase: record.Failed, Message: "lost", Tags: []string{"wild"}},
				{Number: 3, Phase: record.Committed, Message: "in two lines\nor three\t", Tags: []string{"release:1", "kept"}},
			}
			offered, how := f.completed(func(*app) {}, line)
			if diff := cmp.Diff(append([]string{}, want.offered...), append([]string{}, offered...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if how != want.how && !(want.offered == nil && want.how == none && how == ordered) {
				t.Errorf("directive %s, want %s", how, want.how)
			}
			if line == "pkg remove --from 2 htop " && !strings.Contains(strings.Join(f.calls, ";"), `packages "2"`) {
				t.Errorf("asked for %q", f.calls)
			}
		})
	}
}

func TestNothingIsCompletedWhereTheDaemonDoesNotAnswer(t *testing.T) {
	for name, prepare := range map[string]func(*app){
		"no bus": func(a *app) {
			a.connect = func(context.Context, func(uint64, bus.Progress)) (daemon, error) { return nil, errNoBus }
		},
		"refused": func(a *app) { a.client = mute{} },
	} {
		for _, line := range []string{"show ", "rollback ", "tag 3 ", "pkg remove ", "pkg add h", "exec ", "etc resolve ", "diff "} {
			t.Run(name+" "+line, func(t *testing.T) {
				if offered, how := newFake(t).completed(prepare, line); len(offered) > 0 || how == ":0" {
					t.Errorf("offered %q, directive %s", offered, how)
				}
			})
		}
	}
}

// mute is a daemon that refuses to answer.
type mute struct{ daemon }

func (mute) Status(context.Context) (bus.Status, error) { return bus.Status{}, fault.ErrFailed }
func (mute) List(context.Context) (bus.List, error)     { return bus.List{}, fault.ErrFailed }
func (mute) Log(context.Context, client.LogFilter) (bus.Log, error) {
	return bus.Log{}, fault.ErrFailed
}
func (mute) PackageNames(context.Context, string) (bus.PackageNames, error) {
	return bus.PackageNames{}, fault.ErrFailed
}
func (mute) PackageList(context.Context, string) (bus.Packages, error) {
	return bus.Packages{}, fault.ErrFailed
}
func (mute) Close() error { return nil }

// A daemon that does not come to an answer keeps nobody waiting.
func TestCompletionIsNotWaitedForWithoutEnd(t *testing.T) {
	asked := false
	newFake(t).completed(func(a *app) {
		a.client = hesitant{asked: func(ctx context.Context) { _, asked = ctx.Deadline() }}
	}, "delete ")
	if !asked {
		t.Error("the daemon was not asked, or has all the time that it wants")
	}
}

// hesitant tells how long it is waited for.
type hesitant struct {
	mute
	asked func(context.Context)
}

func (h hesitant) List(ctx context.Context) (bus.List, error) {
	h.asked(ctx)
	return bus.List{}, context.DeadlineExceeded
}

// What nobody thought of must not offer the names of files, and a new verb that
// takes what is known has to complete it.
func TestWhatCanBeListedIsCompleted(t *testing.T) {
	a := newApp(nil, &locked{}, &locked{}, func(string) string { return "" })
	root := a.root()
	a.complete(root)
	arguments, options := a.completedArguments(), a.completedOptions()
	listed := regexp.MustCompile(`NUMBER|PATH|PACKAGE|\[A`)
	eachVerb(root, func(c *cobra.Command) {
		if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			t.Errorf("%s offers the names of files", c.CommandPath())
		}
		if listed.MatchString(c.Use) && arguments[c.CommandPath()] == nil && c.CommandPath() != "txctl pkg add" {
			t.Errorf("%s completes nothing", c.Use)
		}
		c.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if _, decided := c.GetFlagCompletionFunc(flag.Name); !decided && flag.NoOptDefVal == "" {
				t.Errorf("%s --%s offers the names of files", c.CommandPath(), flag.Name)
			}
			value, _ := pflag.UnquoteUsage(flag)
			if slices.Contains([]string{"snapshot", "path", "package", "tag", "state"}, value) && options[flag.Name] == nil {
				t.Errorf("%s --%s completes no %s", c.CommandPath(), flag.Name, value)
			}
		})
	})
	for path := range arguments {
		if c, rest, err := root.Find(strings.Fields(path)[1:]); err != nil || len(rest) > 0 || c.CommandPath() != path {
			t.Errorf("%q is completed, and is no verb", path)
		}
	}
}

func TestCompletionScriptsAskTxctl(t *testing.T) {
	for _, shell := range []string{"bash", "fish", "zsh"} {
		got := newFake(t).txctl(nil, "completion", shell)
		if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, cobra.ShellCompRequestCmd) || !strings.Contains(got.stdout, "txctl") {
			t.Errorf("%s: exit %d, %q, %d bytes", shell, got.code, got.stderr, len(got.stdout))
		}
		doc := newFake(t).txctl(nil, "completion", shell, "--json").document(t)
		if doc["shell"] != shell || doc["script"] != got.stdout {
			t.Errorf("%s: the document is another script", shell)
		}
	}
	for line, want := range map[string]string{"completion": "the shell is missing", "completion tcsh": fmt.Sprintf("%q", "tcsh"), "completion zsh bash": `"bash"`} {
		if got := newFake(t).txctl(nil, strings.Split(line, " ")...); got.code != fault.Usage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d, %q", line, got.code, got.stderr)
		}
	}
}
