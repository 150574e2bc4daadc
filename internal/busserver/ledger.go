// What clients were sent and have not read. The bus keeps it for them, and
// counts it as ours: at 127 MiB, or 64 descriptors, it reads nothing of us any
// more, and nobody is answered, because of one client that does not read. So
// there is a bound for each, and who has reached it waits for its answer until
// it has read. Only the bus knows that.

package busserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// debt is what was sent and not read.
type debt struct{ bytes, files int }

func (d *debt) add(o debt)      { d.bytes += o.bytes; d.files += o.files }
func (d *debt) subtract(o debt) { d.bytes -= o.bytes; d.files -= o.files }

// The bounds of the bus's own configuration (system.conf, max_incoming_bytes and
// max_incoming_unix_fds) are 127 MiB and 64 for all that we send. One answer
// may be longer than the bound of who gets it, where it has read all others.
var (
	perCallerDebt = debt{64 << 10, 4}
	perUserDebt   = debt{16 << 20, 12}
	strangersDebt = debt{40 << 20, 32} // of all users but root
	allDebt       = debt{64 << 20, 48}
)

// fits reports whether more may be owed.
func (d debt) fits(more, limit debt) bool {
	return (d.bytes == 0 || d.bytes+more.bytes <= limit.bytes) && (d.files == 0 || d.files+more.files <= limit.files)
}

const (
	// ledgerPatience is how long an answer waits for its client to read others.
	ledgerPatience = 30 * time.Second
	// The bus is asked about a client that does not read this often, and less often the longer it does not.
	firstPause, lastPause = 10 * time.Millisecond, time.Second
)

// errDeaf: the client reads nothing.
var errDeaf = errors.New("the client does not read what it was sent")

// ledger is what everybody owes.
type ledger struct {
	// ask asks the bus what it keeps for a connection. Where that cannot be known, nothing is owed.
	ask func(ctx context.Context, name string) (debt, error)

	mu             sync.Mutex
	owing          map[*caller]*account
	users          map[uint32]debt
	strangers, all debt
}

// account is what one caller owes.
type account struct {
	debt
	// flying is what of it is booked and may not have come to the bus yet: the bus cannot count that.
	flying debt
	uid    uint32
	asked  time.Time // when the bus was asked last
	asking bool      // the bus has not answered yet
	pause  time.Duration
}

func newLedger(ask func(context.Context, string) (debt, error)) *ledger {
	return &ledger{ask: ask, owing: map[*caller]*account{}, users: map[uint32]debt{}}
}

// book notes an answer if there is room for it. It is to be sent now, and sent called then.
func (l *ledger) book(c *caller, uid uint32, answer debt) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.owing[c]
	if a == nil {
		a = &account{uid: uid, pause: firstPause}
	}
	if !a.fits(answer, perCallerDebt) || !l.users[a.uid].fits(answer, perUserDebt) || !l.all.fits(answer, allDebt) ||
		a.uid != 0 && !l.strangers.fits(answer, strangersDebt) {
		return false
	}
	if c.ctx.Err() != nil {
		return true // it has left, and what the bus kept for it is gone
	}
	l.owing[c] = a
	a.flying.add(answer)
	l.change(a, func(d *debt) { d.add(answer) })
	return true
}

// sent notes that an answer that was booked is with the bus, or never will be.
func (l *ledger) sent(c *caller, answer debt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.owing[c]; a != nil {
		a.flying.subtract(answer)
	}
}

// change changes an account and the sums that it is part of.
func (l *ledger) change(a *account, by func(*debt)) {
	user := l.users[a.uid]
	by(&a.debt)
	by(&user)
	by(&l.all)
	if a.uid != 0 {
		by(&l.strangers)
	}
	if l.users[a.uid] = user; user == (debt{}) {
		delete(l.users, a.uid)
	}
}

// wait is book, after what others and the caller itself have read.
func (l *ledger) wait(ctx context.Context, c *caller, uid uint32, answer debt) error {
	ctx, cancel := context.WithTimeoutCause(ctx, ledgerPatience, errDeaf)
	defer cancel()
	for pause := firstPause; !l.book(c, uid, answer); pause = min(2*pause, lastPause/4) {
		l.refresh(ctx, c, uid)
		if l.book(c, uid, answer) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// refresh asks the bus about those who keep an answer to c back, unless it was asked a moment ago.
func (l *ledger) refresh(ctx context.Context, c *caller, uid uint32) {
	now := time.Now()
	var due []*caller
	l.mu.Lock()
	full := !l.all.fits(debt{1, 1}, allDebt) || !l.strangers.fits(debt{1, 1}, strangersDebt)
	for other, a := range l.owing {
		if (other == c || a.uid == uid || full) && !a.asking && now.Sub(a.asked) >= a.pause {
			a.asked, a.asking = now, true
			due = append(due, other)
		}
	}
	l.mu.Unlock()
	for _, one := range due {
		l.settle(ctx, one)
	}
}

// settle corrects one account by what the bus says. One at a time: each takes away
// what was owed when it asked.
func (l *ledger) settle(ctx context.Context, c *caller) {
	l.mu.Lock()
	a := l.owing[c]
	if a == nil {
		l.mu.Unlock()
		return
	}
	before, flying := a.debt, a.flying
	l.mu.Unlock()
	now, err := l.ask(ctx, c.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.asking = false
	if ctx.Err() != nil || l.owing[c] != a {
		return
	}
	if err != nil {
		now = debt{}
	}
	// What had not come to the bus when it was asked comes on top. What came just
	// then is counted twice, until the bus is asked again.
	now.add(flying)
	l.change(a, func(d *debt) { d.subtract(before); d.add(now) })
	a.pause = firstPause
	if now.bytes >= before.bytes && before.bytes > 0 {
		a.pause = min(2*a.pause, lastPause)
	}
	if a.debt == (debt{}) && a.flying == (debt{}) {
		delete(l.owing, c)
	}
}

// forget strikes out who has left.
func (l *ledger) forget(c *caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.owing[c]; a != nil {
		owed := a.debt
		l.change(a, func(d *debt) { d.subtract(owed) })
		delete(l.owing, c)
	}
}

// kept asks the bus what it keeps for a connection. Root may ask that of a
// system bus. Other implementations than dbus-daemon have no such question, and
// do not need it: they count for each who receives.
func (s *Server) kept(ctx context.Context, name string) (debt, error) {
	var stats map[string]dbus.Variant
	err := s.conn.BusObject().CallWithContext(ctx, busName+".Debug.Stats.GetConnectionStats", 0, name).Store(&stats)
	if err != nil {
		return debt{}, err
	}
	bytes, _ := stats["OutgoingBytes"].Value().(uint32)
	files, _ := stats["OutgoingFDs"].Value().(uint32)
	return debt{int(bytes), int(files)}, nil
}
