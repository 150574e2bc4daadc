// Events of the updater become signals, in the order in which they happened.

package busserver

import (
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
)

func (s *Server) emitAll() {
	s.mu.Lock()
	events := s.events
	s.events = nil
	s.mu.Unlock()
	for _, e := range events {
		s.emit(e)
	}
}

func (s *Server) emit(e update.Event) {
	switch e.Kind {
	case update.TransactionBegan:
		s.signal(bus.Path, bus.ObjectsInterface+".InterfacesAdded", transactionPath(e.Transaction),
			map[string]map[string]dbus.Variant{bus.TransactionInterface: transactionProperties(e.Transaction.State())})
	case update.TransactionChanged:
		s.changed(e.Transaction)
	case update.CommandFinished:
		s.signal(transactionPath(e.Transaction), bus.TransactionInterface+".CommandFinished", uint32(e.Command), int32(e.Exit))
	case update.Progressed:
		if s.pace.take(e, time.Now()) {
			s.progressed(e)
		}
	case update.TransactionFinished:
		s.pace.forget(e.Transaction)
		s.disown(e.Transaction)
		s.enter()() // its client has questions now
		st := e.Transaction.State()
		message := ""
		if st.Failure != nil {
			message = text(st.Failure.Error(), maxErrorText)
		}
		path := transactionPath(e.Transaction)
		s.changed(e.Transaction)
		s.signal(path, bus.TransactionInterface+".Finished", string(st.Phase), fault.Name(st.Failure), message)
		s.signal(bus.Path, bus.ManagerInterface+".TransactionFinished", path, string(st.Phase))
		s.signal(bus.Path, bus.ObjectsInterface+".InterfacesRemoved", path, []string{bus.TransactionInterface})
	case update.RebootSoon:
		s.signal(bus.Path, bus.ManagerInterface+".RebootSoon", e.At.Unix(), text(e.Words, maxErrorText))
	case update.SnapshotsChanged:
		s.announce()
	}
}

func (s *Server) changed(t *update.Transaction) {
	properties := transactionProperties(t.State())
	delete(properties, "Progress") // it has a signal of its own
	s.signal(transactionPath(t), bus.PropertiesInterface+".PropertiesChanged", bus.TransactionInterface, properties, []string{})
}

func (s *Server) progressed(e update.Event) {
	p := progress(e.Progress)
	s.signal(transactionPath(e.Transaction), bus.TransactionInterface+".Progress", p.Phase, p.Fraction, p.Text)
}

// catchUp sends progress that was held back, if it is due, and says when to look
// again, nil for not at all.
func (s *Server) catchUp() <-chan time.Time {
	for {
		e, ok, wait := s.pace.again(time.Now())
		switch {
		case ok:
			s.progressed(e)
		case wait > 0:
			return time.After(wait)
		default:
			return nil
		}
	}
}

// announce tells which snapshots came and went, and what boots now and next.
func (s *Server) announce() {
	list, err := s.updater.List()
	if err != nil {
		s.log.Error("cannot tell listeners about snapshots", "error", err)
		return
	}
	now := map[uint64]bool{}
	for _, one := range list.Snapshots {
		now[one.Number] = true
		if !s.announced[one.Number] {
			s.signal(bus.Path, bus.ObjectsInterface+".InterfacesAdded", dbus.ObjectPath(bus.SnapshotPath(one.Number)),
				map[string]map[string]dbus.Variant{bus.SnapshotInterface: snapshotProperties(one)})
		}
	}
	for n := range s.announced {
		if !now[n] {
			s.signal(bus.Path, bus.ObjectsInterface+".InterfacesRemoved", dbus.ObjectPath(bus.SnapshotPath(n)), []string{bus.SnapshotInterface})
		}
	}
	s.announced = now
	if p, err := s.managerProperties(); err == nil {
		s.signal(bus.Path, bus.PropertiesInterface+".PropertiesChanged", bus.ManagerInterface, p, []string{})
	}
}

func (s *Server) signal(path dbus.ObjectPath, name string, values ...any) {
	if err := s.conn.Emit(path, name, values...); err != nil {
		s.log.Warn("cannot send a signal", "signal", name, "error", err)
	}
}
