// `txupd assess`, which the units of a boot call: it has the boot assessed by the
// daemon, or does it itself where the bus does not run.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/daemon"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal/record"
)

func assess(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("txupd assess", flag.ContinueOnError)
	flags.SetOutput(stderr)
	moments := []string{update.AssessCheck, update.AssessVerdict, update.AssessDeadline, update.AssessEmergency}
	chosen := map[string]*bool{}
	for _, m := range moments {
		chosen[m] = flags.Bool(m, false, "at this moment of the boot")
	}
	debug := flags.Bool("debug", false, "say more")
	if err := flags.Parse(args); err != nil {
		return fault.Usage
	}
	moments = slices.DeleteFunc(moments, func(m string) bool { return !*chosen[m] })
	if len(moments) != 1 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "txupd assess: one of --check, --verdict, --deadline and --emergency is accepted, and needed")
		return fault.Usage
	}
	c := daemon.Config{Root: "/", Version: version, Log: logger(stderr, *debug)}
	doc, err := daemon.Assess(context.Background(), c, moments[0])
	if err != nil {
		fmt.Fprintln(stderr, "txupd:", err)
		return fault.Exit(err)
	}
	for _, words := range doc.Warned {
		fmt.Fprintln(stdout, "warning:", words)
	}
	for _, words := range doc.Failed {
		fmt.Fprintln(stdout, "failed:", words)
	}
	switch {
	case doc.Note != "":
		fmt.Fprintln(stdout, doc.Note)
	case doc.Boot != "":
		fmt.Fprintln(stdout, strings.TrimSuffix(fmt.Sprintf("this boot of snapshot %d is %s: %s", doc.Number, doc.Boot, doc.Why), ": "))
	}
	if moments[0] == update.AssessCheck && len(doc.Failed) > 0 || doc.Boot == record.Bad {
		return 1
	}
	return 0
}
