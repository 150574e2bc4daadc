// Command testsummary reads the events of `go test -json` and prints what a
// person wants to know: a line a package, the attributes that tests have set, the
// whole output of what failed, what was skipped and why, and a count. It exits 1
// if anything failed.
//
// usage: testsummary [-each] <EVENTS
// -each: a line for every test that passed, too, as suits tests of minutes.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	each := flag.Bool("each", false, "a line for every test that passed")
	flag.Parse()
	os.Exit(run(os.Stdin, os.Stdout, *each))
}

// event is one line of `go test -json`. Format: `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
	Key, Value  string // of an attribute
}

type test struct{ pkg, name string }

// tally collects what the events say.
type tally struct {
	each    bool
	output  map[test][]string // of tests that have not ended, and of packages under the name ""
	builds  map[string][]string
	passed  map[string]int // by package
	failed  map[string]int
	skipped []string
}

func run(in io.Reader, out io.Writer, each bool) int {
	t := tally{each: each, output: map[test][]string{}, builds: map[string][]string{}, passed: map[string]int{}, failed: map[string]int{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(out, line) // the go command itself has something to say
			} else {
				t.add(e, out)
			}
		}
		if err != nil {
			break
		}
	}
	for _, skip := range t.skipped {
		fmt.Fprintln(out, skip)
	}
	passed, failed := sum(t.passed), sum(t.failed)
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, len(t.skipped))
	if failed > 0 || passed == 0 {
		return 1
	}
	return 0
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

func (t *tally) add(e event, out io.Writer) {
	key := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		t.builds[e.ImportPath] = append(t.builds[e.ImportPath], e.Output)
	case "attr":
		fmt.Fprintf(out, "         %s: %s\n", e.Test, e.Value)
	case "output":
		t.output[key] = append(t.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e, out)
		} else {
			t.endTest(e, out)
		}
		delete(t.output, key)
	}
}

func (t *tally) endTest(e event, out io.Writer) {
	said := strings.Join(t.output[test{e.Package, e.Test}], "")
	switch e.Action {
	case "pass":
		t.passed[e.Package]++
		if t.each && !strings.Contains(e.Test, "/") {
			fmt.Fprintf(out, "passed   %-50s %7.1f s\n", e.Test, e.Elapsed)
		}
	case "skip":
		t.skipped = append(t.skipped, fmt.Sprintf("skipped  %s %s: %s", short(e.Package), e.Test, reason(said)))
	case "fail":
		t.failed[e.Package]++
		fmt.Fprintf(out, "FAILED   %s %s\n%s", short(e.Package), e.Test, indent(said))
	}
}

func (t *tally) endPackage(e event, out io.Writer) {
	switch {
	case e.Action == "skip": // no test files
	case e.Action == "pass":
		fmt.Fprintf(out, "ok       %-28s %4d tests %7.1f s\n", short(e.Package), t.passed[e.Package], e.Elapsed)
	default:
		said := strings.Join(t.builds[e.FailedBuild], "") + strings.Join(t.output[test{e.Package, ""}], "")
		// What a test said that never ended, as at a panic or a timeout, is all there is to go by.
		for key, lines := range t.output {
			if key.pkg == e.Package && key.name != "" {
				said += strings.Join(lines, "")
				t.failed[e.Package]++
			}
		}
		if t.failed[e.Package] == 0 { // it did not build, or failed outside of its tests
			t.failed[e.Package] = 1
		}
		fmt.Fprintf(out, "FAILED   %s\n%s", short(e.Package), indent(said))
	}
}

// short is the package's path in the module.
func short(pkg string) string { return strings.TrimPrefix(pkg, "github.com/txupd/txupd/") }

// reason finds the text of t.Skip in a test's output, which looks like
// "    file_test.go:12: why".
func reason(said string) string {
	for line := range strings.Lines(said) {
		if _, why, ok := strings.Cut(line, ".go:"); ok {
			_, why, _ = strings.Cut(why, ": ")
			return strings.TrimSpace(why)
		}
	}
	return "no reason given"
}

func indent(said string) string {
	var b strings.Builder
	for line := range strings.Lines(said) {
		b.WriteString("    " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}
