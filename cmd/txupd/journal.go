// `txupd journal`: work on the journal as a whole while the daemon is stopped.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/txupd/txupd/internal/daemon"
	"github.com/txupd/txupd/internal/fault"
)

const journalUsage = "usage: txupd journal [--root DIRECTORY] export|check|compact|import FILE (\"-\" is standard input)"

func journalVerb(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("txupd journal", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintln(stderr, journalUsage) }
	root := flags.String("root", "/", "`directory` at which the system is mounted")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return fault.Usage
	}
	words := flags.Args()
	wanted := 1
	if len(words) > 0 && words[0] == "import" {
		wanted = 2
	}
	if len(words) != wanted {
		fmt.Fprintln(stderr, journalUsage)
		return fault.Usage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch words[0] {
	case "export":
		err = daemon.ExportJournal(ctx, *root, stdout)
	case "compact":
		err = daemon.CompactJournal(*root)
	case "check":
		err = checkJournal(ctx, *root, stdout)
	case "import":
		err = importJournal(ctx, *root, words[1], stdin)
	default:
		fmt.Fprintf(stderr, "txupd journal: %q: there is no such verb\n%s\n", words[0], journalUsage)
		return fault.Usage
	}
	if err != nil {
		fmt.Fprintln(stderr, "txupd:", err)
	}
	return fault.Exit(err)
}

func checkJournal(ctx context.Context, root string, stdout io.Writer) error {
	report, err := daemon.CheckJournal(ctx, root)
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		fmt.Fprintln(stdout, p.Text)
	}
	if n := len(report.Problems); n > 0 {
		return fmt.Errorf("%d problems in %d events, %d records and %d lists of files", n, report.Events, report.Records, report.Lists)
	}
	fmt.Fprintf(stdout, "nothing is wrong in %d events, %d records and %d lists of files\n", report.Events, report.Records, report.Lists)
	return nil
}

func importJournal(ctx context.Context, root, file string, stdin io.Reader) error {
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", fault.ErrNotFound, err)
		} else if err != nil {
			return err
		}
		defer f.Close()
		stdin = f
	}
	return daemon.ImportJournal(ctx, root, stdin)
}
