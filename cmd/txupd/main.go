// txupd is the daemon: it serves one system on the bus.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/txupd/txupd/internal/busserver"
	"github.com/txupd/txupd/internal/daemon"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/sandbox"
)

// version is set when a release is built.
var version = "devel"

func main() {
	// The daemon starts itself again as the first process of each sandbox.
	if sandbox.IsInit() {
		os.Exit(sandbox.Init())
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("txupd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", "/", "`directory` at which the system to serve is mounted")
	idle := flags.Duration("idle", time.Minute, "leave after so long without a call; 0 stays")
	manager := flags.String("package-manager", "", "`name` of the package manager; found out if not given")
	debug := flags.Bool("debug", false, "say more")
	show := flags.Bool("version", false, "print the version and leave")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return fault.Usage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "txupd: %q: no arguments are accepted, only options\n", flags.Arg(0))
		return fault.Usage
	}
	if *show {
		fmt.Fprintln(stdout, "txupd", version)
		return 0
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	err := daemon.Run(context.Background(), daemon.Config{Root: *root, Idle: *idle, Manager: *manager, Version: version, Log: log})
	if errors.Is(err, busserver.ErrTaken) {
		fmt.Fprintln(stderr, "txupd:", err)
		return fault.Exit(fault.ErrBusy)
	}
	if err != nil {
		fmt.Fprintln(stderr, "txupd:", err)
		return fault.Exit(err)
	}
	return 0
}
