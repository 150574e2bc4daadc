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

	"github.com/txupd/txupd/internal/boot"
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
	// And as the one that thaws a file system if the daemon dies while it is frozen.
	if boot.IsThaw() {
		os.Exit(boot.Thaw())
	}
	if len(os.Args) > 1 {
		switch rest := os.Args[2:]; os.Args[1] {
		case "assess":
			os.Exit(assess(rest, os.Stdout, os.Stderr))
		case "state":
			os.Exit(state(rest, os.Stdout, os.Stderr))
		case "metrics":
			os.Exit(metricsServer(rest, os.Stderr))
		case "journal":
			os.Exit(journalVerb(rest, os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("txupd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", "/", "`directory` at which the system to serve is mounted")
	idle := flags.Duration("idle", time.Minute, "leave after so long without a call; 0 stays")
	line := flags.String("command-line", "", "the kernel command `line` that a system elsewhere than at / was booted with, for its boot entries")
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
	log := logger(stderr, *debug)
	err := daemon.Run(context.Background(), daemon.Config{Root: *root, Idle: *idle, Manager: *manager, CommandLine: *line, Version: version, Log: log})
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

func logger(w io.Writer, debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
