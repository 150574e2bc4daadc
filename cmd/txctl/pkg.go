// `txctl pkg add|remove|list` and what `txctl update` has in common with them.

package main

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) pkgCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pkg",
		Short: "Add, remove and list packages",
		Long: "pkg changes the packages of the system with its own package manager, apt or zypper, in a new snapshot.\n" +
			"\"txctl update\" brings all of them up to date.",
		Args: a.noVerb,
		RunE: func(*cobra.Command, []string) error {
			return usagef("\"txctl pkg --help\" lists what there is", "txctl pkg: add, remove or list is missing")
		},
		SuggestionsMinimumDistance: 2,
	}
	add := a.changePackages("add", "adding", func(d daemon, names []string, about client.About) (transaction, error) {
		return d.PackageAdd(a.urged, names, about)
	})
	add.Short = "Install packages in a new snapshot and make that what boots next"
	add.Long = "add installs packages, or brings them up to date where they are installed, with what they need. A name is\n" +
		"what the package manager takes, with apt also NAME=VERSION. Configuration files that were edited stay as\n" +
		"they are. If the package manager fails, nothing is changed (3)."
	add.Example = "  txctl pkg add htop -m \"for the on-call team\"\n  txctl pkg add --dry-run nginx"
	add.SuggestFor = []string{"install", "in", "get"}
	remove := a.changePackages("remove", "removing", func(d daemon, names []string, about client.About) (transaction, error) {
		return d.PackageRemove(a.urged, names, about)
	})
	remove.Short = "Remove packages in a new snapshot and make that what boots next"
	remove.Long = "remove removes packages, and those that need them. Configuration files that were edited stay, as the\n" +
		"package manager leaves them. --dry-run shows what would go."
	remove.Example = "  txctl pkg remove telnetd -m \"nobody needs it\""
	remove.Aliases, remove.SuggestFor = []string{"rm"}, []string{"uninstall", "erase", "del"}
	c.AddCommand(add, remove, a.pkgListCommand())
	return c
}

func (a *app) changePackages(verb, doing string, call func(daemon, []string, client.About) (transaction, error)) *cobra.Command {
	var m making
	c := &cobra.Command{Use: verb + " PACKAGE…"}
	c.RunE = func(c *cobra.Command, names []string) error {
		if len(names) == 0 {
			return usagef("usage: "+c.CommandPath()+" PACKAGE…", "%s: PACKAGE is missing", c.CommandPath())
		}
		list := describe(names)
		return a.runPackages(&m, verb+" "+list, doing+" "+list, func(d daemon, about client.About) (transaction, error) {
			return call(d, names, about)
		})
	}
	m.packageFlags(a, c)
	return c
}

func (m *making) packageFlags(a *app, c *cobra.Command) {
	m.flags(a, c.Flags())
	m.once(c.Flags())
	c.Flags().BoolVar(&m.dryRun, "dry-run", false, "show what would be done, and do nothing")
	c.Flags().BoolVar(&m.progress, "progress", false, "with --json: print progress too, as documents on a line each before the last one")
}

// runPackages runs a change of packages, with progress. what is the message
// where none was given, doing names the work while it lasts.
func (a *app) runPackages(m *making, what, doing string, call func(daemon, client.About) (transaction, error)) error {
	about, err := m.about(a, what)
	if err != nil {
		return err
	}
	if m.progress && !a.json {
		return usagef("people see it anyhow; programs use it with --json", "--progress: --json is missing")
	}
	if m.dryRun && m.detach {
		return usagef("leave one of them out", "--dry-run and --detach: nobody would see the result")
	}
	b, err := a.start(func(d daemon) (transaction, error) { return call(d, about) })
	if err != nil {
		return err
	}
	if m.detach {
		return a.detached(b)
	}
	var kept bytes.Buffer
	o, err := a.watch(b, m, doing, &kept)
	if err != nil {
		return err
	}
	if m.dryRun && o.Error == "" {
		return a.wouldDo(m, o, kept.String())
	}
	return a.told(b, o, m, a.out, a.out, false)
}

// wouldDo tells what a dry run found: the package manager's own words.
func (a *app) wouldDo(m *making, o bus.Outcome, output string) error {
	doc := m.document(o)
	doc.Output = output
	return a.result(doc, func(present.Screen) string { return output + "\nNothing was changed: this was a dry run.\n" })
}

// watch follows a change of packages. The package manager's output is kept for
// a dry run, shown with -v, and else only its latest line.
func (a *app) watch(b begun, m *making, doing string, kept io.Writer) (bus.Outcome, error) {
	if m.progress {
		defer a.printProgress(b.Number())()
		out, errs := io.Discard, io.Discard
		if a.verbose {
			out, errs = a.stderr, a.stderr
		}
		if m.dryRun {
			out = io.MultiWriter(kept, out)
		}
		return a.await(b, pipes{nil, out, errs})
	}
	if a.verbose {
		return a.await(b, pipes{nil, a.stderr, a.stderr})
	}
	var width func() int
	if isTerminal(a.stderr) && a.getenv("TERM") != "dumb" {
		width = func() int { return a.width(a.stderr) }
	}
	progress := present.NewProgress(a.err, width, doing)
	latest := latestLine(progress.Output)
	a.followed.Store(&follower{b.Number(), progress.Step})
	stop := ticking(progress)
	defer stop()
	if m.dryRun {
		return a.await(b, pipes{nil, io.MultiWriter(kept, latest), latest})
	}
	return a.await(b, pipes{nil, latest, latest})
}

// progressLine is a document that tells how far a transaction is.
type progressLine struct {
	Progress progressDocument `json:"progress"`
}

type progressDocument struct {
	Transaction uint64   `json:"transaction"`
	Phase       string   `json:"phase"`
	Fraction    *float64 `json:"fraction"` // null where it is not known
	Text        string   `json:"text"`
}

// printProgress prints a document for each step of a transaction until stop.
func (a *app) printProgress(number uint64) (stop func()) {
	a.lines = true
	var mu sync.Mutex
	ended := false
	a.followed.Store(&follower{number, func(p bus.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		line := progressLine{progressDocument{Transaction: number, Phase: p.Phase, Fraction: p.Known(), Text: p.Text}}
		if err := a.encode(line); err != nil {
			ended = true // nobody reads them; the last document will say so
		}
	}})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
	}
}

// frameTime is how often the line of progress is drawn.
const frameTime = 120 * time.Millisecond

// ticking keeps progress alive until stop, which takes its line away.
func ticking(p *present.Progress) (stop func()) {
	ended := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		tick := time.NewTicker(frameTime)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.Tick()
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		drawing.Wait()
		p.End()
	}
}

// latestLine is a writer that hands on what was written last.
type latestLine func(string)

func (l latestLine) Write(p []byte) (int, error) {
	l(string(p))
	return len(p), nil
}

func (a *app) pkgListCommand() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the packages of a snapshot",
		Example: "  txctl pkg list\n  txctl pkg list --from booted --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if from != "" {
				if err := snapshotName("--from", from); err != nil {
					return err
				}
			}
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.PackageList(a.asked, from)
			if err != nil {
				return err
			}
			if doc.Packages == nil {
				doc.Packages = []bus.Package{}
			}
			return a.look(doc, func(s present.Screen) string { return s.Packages(doc) })
		},
	}
	c.Flags().StringVar(&from, "from", "", "of this `snapshot`: a number, booted, default, pending or last-good (default: the pending one, else the booted one)")
	return c
}
