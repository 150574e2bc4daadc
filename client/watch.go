// What happens, as it happens.

package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
)

// Watch calls fn for everything that happens until ctx ends, whichever daemon
// tells it: one that leaves for lack of work, and is started again, is no end.
func (c *Client) Watch(ctx context.Context, fn func(Event)) error {
	signals := make(chan *dbus.Signal, 256)
	c.conn.Signal(signals)
	defer c.conn.RemoveSignal(signals)
	if err := c.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(bus.Name), dbus.WithMatchPathNamespace(bus.Path)); err != nil {
		return fmt.Errorf("cannot listen to the daemon: %w", err)
	}
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	var w watcher
	if st.Default != nil {
		w.next = st.Default.Number
	}
	tell := func(e Event) {
		e.Time = time.Now()
		fn(e)
	}
	tell(Event{Event: bus.EventWatching, Number: w.next})
	if t := st.Transaction; t != nil {
		tell(Event{Event: bus.EventBegan, Number: t.Number, Kind: t.Kind, Message: t.Message})
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case sig, ok := <-signals:
			if !ok {
				return errEnded
			}
			if e, ok := w.event(sig); ok {
				tell(e)
			}
		}
	}
}

// watcher makes events of signals.
type watcher struct{ next uint64 }

func (w *watcher) event(sig *dbus.Signal) (Event, bool) {
	path := string(sig.Path)
	switch sig.Name {
	case bus.ObjectsInterface + ".InterfacesAdded":
		var object dbus.ObjectPath
		var interfaces map[string]map[string]dbus.Variant
		if dbus.Store(sig.Body, &object, &interfaces) != nil {
			return Event{}, false
		}
		return added(string(object), interfaces)
	case bus.ObjectsInterface + ".InterfacesRemoved":
		var object dbus.ObjectPath
		var interfaces []string
		if dbus.Store(sig.Body, &object, &interfaces) != nil {
			return Event{}, false
		}
		n, err := bus.NumberIn(string(object), bus.SnapshotPrefix)
		return Event{Event: bus.EventRemoved, Number: n}, err == nil
	case bus.PropertiesInterface + ".PropertiesChanged":
		return w.changed(path, sig.Body)
	}
	if sig.Name == bus.ManagerInterface+".RebootSoon" {
		var at int64
		e := Event{Event: bus.EventReboot, Number: w.next}
		err := dbus.Store(sig.Body, &at, &e.Message)
		return e, err == nil
	}
	n, err := bus.NumberIn(path, bus.TransactionPrefix)
	if err != nil {
		return Event{}, false
	}
	e := Event{Number: n}
	switch strings.TrimPrefix(sig.Name, bus.TransactionInterface+".") {
	case "Progress":
		var p Progress
		err = dbus.Store(sig.Body, &p.Phase, &p.Fraction, &p.Text)
		e.Event, e.Phase, e.Fraction, e.Text = bus.EventProgress, p.Phase, p.Known(), p.Text
	case "CommandFinished":
		var command uint32
		e.Exit = new(int32)
		e.Event, err = bus.EventCommand, dbus.Store(sig.Body, &command, e.Exit)
	case "Finished":
		e.Event, err = bus.EventEnded, dbus.Store(sig.Body, &e.Phase, &e.Error, &e.ErrorMessage)
	default:
		return Event{}, false
	}
	return e, err == nil
}

// added is a new object.
func added(path string, interfaces map[string]map[string]dbus.Variant) (Event, bool) {
	text := func(properties map[string]dbus.Variant, name string) string {
		s, _ := properties[name].Value().(string)
		return s
	}
	if p, ok := interfaces[bus.TransactionInterface]; ok {
		n, err := bus.NumberIn(path, bus.TransactionPrefix)
		return Event{Event: bus.EventBegan, Number: n, Kind: text(p, "Kind"), Message: text(p, "Message")}, err == nil
	}
	if p, ok := interfaces[bus.SnapshotInterface]; ok {
		n, err := bus.NumberIn(path, bus.SnapshotPrefix)
		return Event{Event: bus.EventAdded, Number: n, Phase: text(p, "Phase"), Message: text(p, "Message")}, err == nil
	}
	return Event{}, false
}

// changed: of the manager's properties what boots next is of interest.
func (w *watcher) changed(path string, body []any) (Event, bool) {
	var name string
	var properties map[string]dbus.Variant
	var gone []string
	if path != bus.Path || dbus.Store(body, &name, &properties, &gone) != nil || name != bus.ManagerInterface {
		return Event{}, false
	}
	object, _ := properties["Default"].Value().(dbus.ObjectPath)
	n, err := bus.NumberIn(string(object), bus.SnapshotPrefix)
	if err != nil || n == w.next {
		return Event{}, false
	}
	w.next = n
	return Event{Event: bus.EventNext, Number: n}, true
}
