// The server's life on the bus: connecting, taking the name, noticing callers
// that leave, leaving itself when idle.

package busserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/update"
)

// Server is the daemon's face on the bus.
type Server struct {
	ctx     context.Context
	refuse  error
	log     *slog.Logger
	version string
	updater *update.Updater
	address string
	link    *link
	conn    *dbus.Conn
	// connected is closed once conn is set, or there will be none.
	connected chan struct{}
	callers   *callers
	turns     *turns
	documents *documents
	ledger    *ledger
	pace      pace // of the loop alone
	authority *polkit.Authority
	asking    asking
	handling  sync.WaitGroup // of calls

	manager, transaction, snapshot, branch kind

	mu       sync.Mutex
	busy     int       // calls under way
	lastCall time.Time // when the last one ended
	owners   map[string]map[owned]bool
	events   []update.Event
	wake     chan struct{}
	// announced are the snapshots that listeners know of.
	announced map[uint64]bool
}

// Config is what a server needs.
type Config struct {
	Log     *slog.Logger
	Version string
	// Refuse, where it is set, is what every call is answered with: the system cannot be served, and
	// callers are told why.
	Refuse error
	// Address is the bus's, "" for that of the system bus.
	Address string
}

// New makes a server; callers reach it after Serve.
func New(ctx context.Context, c Config) (*Server, error) {
	s := &Server{
		ctx: ctx, refuse: c.Refuse, log: c.Log, version: c.Version, lastCall: time.Now(),
		address: c.Address, connected: make(chan struct{}), callers: newCallers(ctx), turns: newTurns(), owners: map[string]map[owned]bool{}, wake: make(chan struct{}, 1), announced: map[uint64]bool{},
	}
	s.documents = newDocuments(s.enter)
	s.ledger = newLedger(s.kept)
	if err := s.kinds(); err != nil {
		return nil, err
	}
	return s, nil
}

// Notify is the updater's way to tell of events; it never blocks.
func (s *Server) Notify(e update.Event) {
	s.mu.Lock()
	if n := len(s.events); n > 0 && overtakes(e, s.events[n-1]) {
		s.events[n-1] = e
	} else {
		s.events = append(s.events, e)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// overtakes reports whether an event says all that the one before it did, which
// was not told yet: where the bus is slow, news of progress must not pile up.
func overtakes(e, before update.Event) bool {
	return e.Kind == before.Kind && e.Transaction == before.Transaction && (e.Kind == update.Progressed || e.Kind == update.TransactionChanged)
}

// ErrTaken: another daemon serves this bus.
var ErrTaken = errors.New("another txupd serves this bus")

// Serve serves u, nil where everything is refused: it connects, takes the name and answers until ctx ends, the bus goes away,
// or nobody has asked for anything during idle (0: never). Where everything is
// refused it is for idle only, however many ask: the next daemon looks again.
// ready is called once callers are served.
func (s *Server) Serve(u *update.Updater, idle time.Duration, ready func()) error {
	s.updater = u // before anybody can call
	if err := s.connect(); err != nil {
		return fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	gone := make(chan *dbus.Signal, 64)
	s.conn.Signal(gone)
	if err := s.conn.AddMatchSignal(dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(2, "")); err != nil {
		return fmt.Errorf("cannot watch for callers that leave: %w", err)
	}
	if u != nil {
		if list, err := u.List(); err == nil {
			for _, one := range list.Snapshots {
				s.announced[one.Number] = true
			}
		}
	}
	if err := s.takeName(); err != nil {
		return err
	}
	ready()
	began := time.Now()
	var tick <-chan time.Time
	if idle > 0 {
		ticker := time.NewTicker(max(idle/4, 10*time.Millisecond))
		defer ticker.Stop()
		tick = ticker.C
	}
	var later <-chan time.Time // progress that was held back is due
	for {
		select {
		case <-s.ctx.Done():
			return nil
		case <-s.conn.Context().Done():
			return errors.New("the bus went away")
		case sig, ok := <-gone:
			if !ok {
				return errors.New("the bus went away")
			}
			s.left(sig)
		case <-s.wake:
			s.emitAll()
			later = s.catchUp()
		case <-later:
			later = s.catchUp()
		case <-tick:
			if !s.idleFor(idle) && (s.refuse == nil || time.Since(began) < idle) {
				continue
			}
			if leave, err := s.retire(); leave || err != nil {
				return err
			}
		}
	}
}

// connect makes the connection on which calls come in.
func (s *Server) connect() error {
	defer close(s.connected)
	socket, err := dial(s.address)
	if err != nil {
		return err
	}
	s.link = newLink(socket, s.receive())
	if s.conn, err = s.link.connect(); err != nil {
		return err
	}
	s.authority = polkit.New(s.conn, s.link.hear)
	return nil
}

func (s *Server) takeName() error {
	reply, err := s.conn.RequestName(bus.Name, dbus.NameFlagDoNotQueue)
	if err != nil {
		return fmt.Errorf("cannot take the name %s on the bus: %w", bus.Name, err)
	}
	if reply != dbus.RequestNameReplyPrimaryOwner {
		return ErrTaken
	}
	return nil
}

// retire gives the name up, so that whoever calls from now on starts a new
// daemon, and takes it back if somebody called just before.
func (s *Server) retire() (leave bool, err error) {
	if _, err := s.conn.ReleaseName(bus.Name); err != nil {
		return false, err
	}
	if s.idleFor(0) {
		return true, nil
	}
	return false, s.takeName()
}

// Close gives the name up, tells the last news and disconnects. The updater is closed before: nothing is changed any more.
func (s *Server) Close() {
	if s.conn == nil {
		return
	}
	if _, err := s.conn.ReleaseName(bus.Name); err != nil && !errors.Is(err, dbus.ErrClosed) {
		s.log.Warn("cannot release the name", "error", err)
	}
	s.emitAll()
	s.conn.Close()
	s.documents.close()
	s.handling.Wait()
}

// enter counts a call under way.
func (s *Server) enter() (leave func()) {
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.busy--
		s.lastCall = time.Now()
		s.mu.Unlock()
	}
}

func (s *Server) idleFor(d time.Duration) bool {
	s.mu.Lock()
	quiet := s.busy == 0 && len(s.events) == 0 && time.Since(s.lastCall) >= d
	s.mu.Unlock()
	return quiet && (s.updater == nil || !s.updater.Busy() && !s.updater.RebootPending())
}

// owned is what goes with its caller: a transaction of one go, or a command in
// an open one. By the time the caller leaves, somebody else's may run there.
type owned struct {
	transaction *update.Transaction
	command     int // whole for all of it
}

// whole stands for no command of its own.
const whole = -1

func (o owned) cancel() {
	if o.command == whole {
		o.transaction.Cancel(errLeft)
	} else {
		o.transaction.CancelCommand(o.command, errLeft)
	}
}

// own ties what was asked for to its caller: when that leaves the bus, it is cancelled.
func (s *Server) own(from *caller, o owned) {
	sender := from.name
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners[sender] == nil {
		s.owners[sender] = map[owned]bool{}
	}
	s.owners[sender][o] = true
	// Who left before we noted it has been announced already.
	go func() {
		var there bool
		err := s.conn.BusObject().CallWithContext(s.ctx, "org.freedesktop.DBus.NameHasOwner", 0, sender).Store(&there)
		if err == nil && !there {
			o.cancel()
		}
	}()
}

// errLeft is why a transaction ends whose caller is gone.
var errLeft = errors.New("who asked for it left the bus")

func (s *Server) left(sig *dbus.Signal) {
	// Anybody may send a signal of any name; only the bus knows who left.
	if sig.Sender != busName || sig.Name != busName+".NameOwnerChanged" || len(sig.Body) != 3 || sig.Body[2] != "" {
		return
	}
	name, _ := sig.Body[0].(string)
	if c := s.callers.gone(name); c != nil {
		s.ledger.forget(c)
	}
	s.mu.Lock()
	orphans := s.owners[name]
	delete(s.owners, name)
	s.mu.Unlock()
	for o := range orphans {
		o.cancel()
	}
}

// disown forgets a transaction that has ended.
func (s *Server) disown(t *update.Transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, list := range s.owners {
		for o := range list {
			if o.transaction == t {
				delete(list, o)
			}
		}
		if len(list) == 0 {
			delete(s.owners, name)
		}
	}
}
