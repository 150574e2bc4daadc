// `txupd state`, which txupd-state.service calls at both ends of a boot: what was
// edited outside of the snapshot that is booted next comes along.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/txupd/txupd/internal/daemon"
	"github.com/txupd/txupd/internal/fault"
)

func state(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("txupd state", flag.ContinueOnError)
	flags.SetOutput(stderr)
	boot := flags.Bool("boot", false, "early in a boot, before anything reads /etc")
	shutdown := flags.Bool("shutdown", false, "late in a shutdown, when no service runs any more")
	root := flags.String("root", "/", "`directory` at which the system is mounted")
	debug := flags.Bool("debug", false, "say more")
	if err := flags.Parse(args); err != nil {
		return fault.Usage
	}
	if *boot == *shutdown || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "txupd state: one of --boot and --shutdown is accepted, and needed")
		return fault.Usage
	}
	moment := daemon.TurnBoot
	if *shutdown {
		moment = daemon.TurnShutdown
	}
	words, err := daemon.Turn(context.Background(), daemon.Config{Root: *root, Version: version, Log: logger(stderr, *debug)}, moment)
	for _, w := range words {
		fmt.Fprintln(stdout, w)
	}
	if err != nil {
		fmt.Fprintln(stderr, "txupd:", err)
		return fault.Exit(err)
	}
	return 0
}
