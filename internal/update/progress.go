// How far a transaction is: what it does itself, and what the package manager
// tells of its work.

package update

import (
	"os"
	"sync"

	"github.com/txupd/txupd/internal/pkgmgr"
)

// Progress is how far a transaction is.
type Progress struct {
	// Phase is "packages", one of the package manager's (pkgmgr), or "commit".
	Phase string
	// Fraction of the phase that is done, from 0 to 1; negative where it is not known.
	Fraction float64
	// Text is what is being done now.
	Text string
}

// progress tells what the transaction itself does now.
func (t *Transaction) progress(phase, text string) { t.tell(Progress{phase, -1, text}) }

func (t *Transaction) tell(p Progress) {
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
		m.t.tell(Progress(p))
	}
}

// output keeps what of the command's standard output is meant for people; nil is its end.
func (m *metering) output(p []byte) {
	m.then(func(meter pkgmgr.Meter) { m.t.output.write(Stdout, meter.Output(p)) })
}

// told takes what the command tells on descriptor 3.
func (m *metering) told(p []byte) { m.then(func(meter pkgmgr.Meter) { meter.Status(p) }) }
