// Package daemon wires the rooms together and runs until it is told to stop or
// nobody needs it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/busserver"
	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/reserve"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Config is what the command line says.
type Config struct {
	Root    string        // where the system that is served is mounted
	Idle    time.Duration // leave after so long without a call; 0 never
	Manager string        // name of the package manager, "" to find out
	// CommandLine is the kernel's that Root was booted with, "" for the running one where Root is "/".
	CommandLine string
	Version     string
	Log         *slog.Logger
}

// Run serves until ctx ends, a signal comes, or the daemon is idle. A system
// that cannot be served is an error of kind NotSupported, after callers were
// told so for as long as they ask.
func Run(ctx context.Context, c Config) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return err
	}
	store, err := snapshot.Open(root, driver(), snapshot.Options{})
	if err != nil {
		return c.unable(ctx, err)
	}
	return c.serve(ctx, root, store)
}

// serve serves the system in the store.
func (c Config) serve(ctx context.Context, root string, store *snapshot.Store) error {
	log, err := c.openJournal(store, 0)
	if err != nil {
		return c.unable(ctx, err)
	}
	defer log.Close()
	server, err := busserver.New(ctx, busserver.Config{Log: c.Log, Version: c.Version, Address: busAddress()})
	if err != nil {
		return err
	}
	defer server.Close()
	u, err := c.updater(root, store, log)
	if err != nil {
		return err
	}
	u.Notify = server.Notify
	defer u.Close()
	if err := u.Resume(ctx); err != nil {
		return err
	}
	endReboots, err := c.keepReboots(ctx, u, store)
	if err != nil {
		return err
	}
	defer endReboots()
	defer c.tell(sd.SdNotifyStopping)
	return server.Serve(u, c.Idle, c.ready)
}

// updater makes what does the work, for a system and its journal.
func (c Config) updater(root string, store *snapshot.Store, log *openedJournal) (*update.Updater, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("cannot tell one boot from another: %w", err)
	}
	// With defaults there is still everything to be seen; nothing is changed with them.
	settings, misconfigured := config.Load(root)
	if misconfigured != nil {
		c.Log.Error("the configuration cannot be read", "error", misconfigured)
		settings = config.Default()
	}
	line := c.CommandLine
	if line == "" {
		line = runningCommandLine(root)
	}
	mark := ""
	var heads func(context.Context) ([]journal.Head, error)
	if root == "/" { // another system's are not in this one's
		heads, mark = systemHeads, bus.RebootMark
	}
	return update.New(update.Deps{
		Heads: heads,
		Root:  root, Driver: driver(), Search: &btrfs.Searcher{}, Store: store, Journal: log.Journal, Damage: log.damage, Reserve: log.reserve,
		Boot: boot.New(boot.Host{
			Root: root, CommandLine: line, GrubDir: settings.Boot.GRUBDirectory, Log: c.Log,
		}),
		Config: settings, Misconfigured: misconfigured, Machine: c.machine(root, settings),
		Packages: func() (pkgmgr.Manager, error) { return pkgmgr.Detect(root, c.Manager) },
		BootID:   strings.TrimSpace(string(id)), CommandLine: line, RebootMark: mark,
		Now: time.Now, Log: c.Log, Metered: metered,
	}), nil
}

func (c Config) ready() { c.tell(sd.SdNotifyReady) }

// tell tells systemd, where it started us.
func (c Config) tell(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		c.Log.Warn("cannot tell systemd", "state", state, "error", err)
	}
}

// busAddress is where the system bus is, "" for where it always is.
func busAddress() string { return os.Getenv("DBUS_SYSTEM_BUS_ADDRESS") }

// runningCommandLine is the kernel's, where root is what it booted.
func runningCommandLine(root string) string {
	if root != "/" {
		return ""
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(line))
}

// openedJournal is the journal with what belongs to it.
type openedJournal struct {
	*journal.Journal
	reserve *reserve.File
	damage  string // of the one that was set aside
}

// openJournal opens the journal, waiting for whoever has it for at most so long.
// A damaged one is set aside, a fresh one opened in its place, and the damage told.
func (c Config) openJournal(store *snapshot.Store, wait time.Duration) (*openedJournal, error) {
	dir, err := store.StateDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "journal.db")
	o := &openedJournal{reserve: reserve.At(filepath.Join(dir, "reserve"))}
	options := journal.Options{Timeout: wait, Room: func() bool { return update.LetGo(o.reserve, c.Log) }}
	o.Journal, err = journal.Open(path, options)
	var damaged *journal.DamagedError
	if !errors.As(err, &damaged) {
		return o, err
	}
	aside, err := journal.SetAside(path)
	if err != nil {
		return nil, err
	}
	o.damage = fmt.Sprintf("the journal was damaged (%s) and is kept as %s", damaged.Reason, aside)
	o.Journal, err = journal.Open(path, options)
	return o, err
}
