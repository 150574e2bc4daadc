package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/fault"
)

func TestHelpIsTheSameHoweverItIsAskedFor(t *testing.T) {
	f := newFake(t)
	text := f.txctl(nil, "help", "pkg", "add")
	if text.code != 0 || text.stderr != "" || !strings.Contains(text.stdout, "--dry-run") {
		t.Errorf("exit %d, %q, %q", text.code, text.stderr, text.stdout)
	}
	if flag := f.txctl(nil, "pkg", "add", "--help"); flag != text {
		t.Errorf("--help says something else: %q", flag.stdout)
	}
	doc := f.txctl(nil, "help", "pkg", "add", "--json")
	if got := doc.document(t); got["name"] != "txctl pkg add" {
		t.Errorf("the document is of %v", got["name"])
	}
	if flag := f.txctl(nil, "pkg", "add", "--help", "--json"); flag != doc {
		t.Errorf("--help --json says something else: %q", flag.stdout)
	}
	for line, want := range map[string]string{"help stauts": `"txctl status"`, "help pkg install": `"txctl pkg add"`, "help status 3": `"3"`} {
		if got := f.txctl(nil, strings.Split(line, " ")...); got.code != fault.Usage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d, %q", line, got.code, got.stderr)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("help asked the daemon for %q", f.calls)
	}
}

// The document says all that the man pages need, and --help is long enough to help.
func TestEveryVerbSaysWhatItDoes(t *testing.T) {
	var root helpVerb
	if err := json.Unmarshal([]byte(newFake(t).txctl(nil, "help", "--json").stdout), &root); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(root.Options, func(o helpOption) bool { return o.Name == "message" && o.Shorthand == "m" && o.Value != "" }) {
		t.Errorf("-m is not among %v", root.Options)
	}
	seen := 0
	var check func(helpVerb)
	check = func(v helpVerb) {
		seen++
		if v.Short == "" || strings.HasSuffix(v.Short, ".") || len(v.Short) > 100 {
			t.Errorf("%s: its short text is %q", v.Name, v.Short)
		}
		if v.Long == "" && v.Example == "" {
			t.Errorf("%s: neither a long text nor an example", v.Name)
		}
		if v.Long != "" && !strings.HasSuffix(v.Long, ".") {
			t.Errorf("%s: its long text does not end with a sentence", v.Name)
		}
		for line := range strings.Lines(v.Long + "\n" + v.Example) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 112 {
				t.Errorf("%s: a line of %d letters", v.Name, n)
			}
		}
		for _, o := range v.Options {
			if o.Usage == "" {
				t.Errorf("%s --%s: nothing says what it does", v.Name, o.Name)
			}
			if slices.Contains([]string{"string", "stringArray", "uint"}, o.Value) {
				t.Errorf("%s --%s: nothing says what its value is", v.Name, o.Name)
			}
		}
		for _, below := range v.Verbs {
			check(below)
		}
	}
	check(root)
	if seen < 35 {
		t.Errorf("only %d verbs", seen)
	}
}

func TestHelpListsEveryVerbOnce(t *testing.T) {
	root := newApp(nil, &locked{}, &locked{}, func(string) string { return "" }).root()
	root.InitDefaultHelpCmd()
	eachVerb(root, func(c *cobra.Command) {
		seen := map[string]int{}
		for _, g := range groupsOf(c) {
			for _, verb := range g.Verbs {
				seen[verb]++
			}
		}
		for _, below := range c.Commands() {
			if want := map[bool]int{true: 0, false: 1}[below.Hidden]; seen[below.Name()] != want {
				t.Errorf("%s is listed %d times", below.CommandPath(), seen[below.Name()])
			}
			delete(seen, below.Name())
		}
		if len(seen) > 0 {
			t.Errorf("%s: %v are listed, and are no verbs", c.CommandPath(), seen)
		}
	})
	got := newFake(t).txctl(nil, "help").stdout
	for _, want := range []string{"\nUsage: txctl [OPTION…] [VERB]\n", "\nChange the system:\n  pkg ", "\nMore verbs:\n", "\nOptions of all verbs:\n  -h, --help "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "completion") || strings.Contains(got, "[command]") || strings.Contains(got, "help for") {
		t.Errorf("words of the library's, or what is hidden:\n%s", got)
	}
}
