// How far a transaction is: what it does itself, and what the package manager
// tells of its work.

package update

import (
	"os"
	"sync"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/pkgmgr"
)

// progress tells what the transaction itself does now; the phase is "packages" or
// "commit", and the package manager has its own (pkgmgr).
func (t *Transaction) progress(phase, text string) {
	t.tell(bus.Progress{Phase: phase, Fraction: -1, Text: text})
}

func (t *Transaction) tell(p bus.Progress) {
	t.mu.Lock()
	same := t.now == p
	t.now = p
	t.mu.Unlock()
	if !same {
		t.u.notify(Event{Kind: Progressed, Transaction: t, Progress: p})
	}
}

// metering hands what a command of the package manager prints to its meter, and
// what it tells on to whoever follows the transaction.
type metering struct {
	t      *Transaction
	status *os.File // our end of the command's descriptor 3, nil where it has none

	mu    sync.Mutex
	meter pkgmgr.Meter
}

// metered makes a command tell how far it is, where its manager can: m is nil
// where not. status is the command's end of descriptor 3; it and ours are the caller's to close.
func (t *Transaction) metered(c Command) (argv []string, m *metering, status *os.File, err error) {
	if c.manager == nil {
		return c.Argv, nil, nil, nil
	}
	told, meter := c.manager.Metered(pkgmgr.Command{Argv: c.Argv, Env: c.Env})
	if meter == nil {
		return c.Argv, nil, nil, nil
	}
	m = &metering{t: t, meter: meter}
	if told.Status {
		m.status, status, err = os.Pipe()
	}
	return told.Argv, m, status, err
}

// then does something with the meter, and tells what it makes of it.
func (m *metering) then(do func(pkgmgr.Meter)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do(m.meter)
	if p := m.meter.Progress(); p != (pkgmgr.Progress{}) {
		m.t.tell(bus.Progress(p))
	}
}

// output keeps what of the command's standard output is meant for people; nil is its end.
func (m *metering) output(p []byte) {
	m.then(func(meter pkgmgr.Meter) { m.t.output.write(Stdout, meter.Output(p)) })
}

// told takes what the command tells on descriptor 3.
func (m *metering) told(p []byte) { m.then(func(meter pkgmgr.Meter) { meter.Status(p) }) }
