// A system that cannot be served: callers are told why, instead of that no
// daemon starts.

package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/txupd/txupd/internal/busserver"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/snapshot"
)

// refusing is how long the answer is given to those who ask in a row. The next
// one after that is for a daemon that looks again: somebody may have mounted, or
// deleted, what it takes.
const refusing = time.Second

// unable answers every call with why the system cannot be served, where callers
// can do something about it, and returns that.
func (c Config) unable(ctx context.Context, err error) error {
	why := reason(err)
	if why == nil {
		return err
	}
	c.Log.Error(why.Error())
	server, err := busserver.New(ctx, busserver.Config{Log: c.Log, Version: c.Version, Address: busAddress(), Refuse: why})
	if err != nil {
		return errors.Join(why, err)
	}
	defer server.Close()
	if err := server.Serve(nil, refusing, c.ready); err != nil {
		c.Log.Error("cannot tell callers", "error", err)
	}
	return why
}

// reason gives an error its kind and its remedy, nil where none is known.
func reason(err error) error {
	var unfit *snapshot.LayoutError
	switch {
	case errors.As(err, &unfit):
		return fmt.Errorf("%w: %w\n%s", fault.ErrNotSupported, err, unfit.Remedy)
	case errors.Is(err, journal.ErrLocked):
		return &elsewhere{err}
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w\nmount it writable: mount -o remount,rw DIRECTORY", fault.ErrNotSupported, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w\nremove files that nobody needs, or add a disk: btrfs device add", fault.ErrNoSpace, err)
	}
	return nil
}

// elsewhere: another daemon serves the same system.
type elsewhere struct{ err error }

func (e *elsewhere) Error() string   { return "another txupd serves this system: " + e.err.Error() }
func (e *elsewhere) Unwrap() []error { return []error{fault.ErrBusy, e.err} }
