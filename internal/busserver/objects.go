// The objects: which paths exist, what every one of them answers, and their properties.

package busserver

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/snapshot"
)

// kinds makes the four kinds of objects.
func (s *Server) kinds() error {
	standard := func(interfaceName string, more map[string]method) map[string]map[string]method {
		m := map[string]map[string]method{
			bus.IntrospectInterface: {"Introspect": {run: s.introspect}},
			bus.PeerInterface:       {"Ping": {run: ping}, "GetMachineId": {run: machineID}},
			bus.PropertiesInterface: {"Get": {run: s.get}, "GetAll": {run: s.getAll}, "Set": {run: s.set}},
		}
		if interfaceName != "" {
			m[interfaceName] = more
		}
		return m
	}
	var errs [4]error
	managed := standard(bus.ManagerInterface, s.managerMethods())
	managed[bus.ObjectsInterface] = map[string]method{"GetManagedObjects": {run: s.managedObjects}}
	s.manager, errs[0] = newKind(bus.ManagerXML, managed)
	s.transaction, errs[1] = newKind(bus.TransactionXML, standard(bus.TransactionInterface, s.transactionMethods()))
	s.snapshot, errs[2] = newKind(bus.SnapshotXML, standard(bus.SnapshotInterface, map[string]method{}))
	s.branch, errs[3] = newKind(bus.BranchXML, map[string]map[string]method{bus.IntrospectInterface: {"Introspect": {run: s.introspect}}})
	return errors.Join(errs[:]...)
}

// kindOf says what a path is, whether or not the object exists.
func (s *Server) kindOf(path dbus.ObjectPath) (kind, uint64, bool) {
	p := string(path)
	switch {
	case p == bus.Path:
		return s.manager, 0, true
	case p == "/" || p+"/" == bus.TransactionPrefix || p+"/" == bus.SnapshotPrefix || strings.HasPrefix(bus.Path, p+"/"):
		return s.branch, 0, true
	case s.updater == nil:
		return kind{}, 0, false
	}
	if n, err := bus.NumberIn(p, bus.TransactionPrefix); err == nil {
		return s.transaction, n, true
	}
	if n, err := bus.NumberIn(p, bus.SnapshotPrefix); err == nil {
		return s.snapshot, n, true
	}
	return kind{}, 0, false
}

// exists reports whether the object of a call does.
func (s *Server) exists(c *call) bool {
	var err error
	switch p := string(c.path); {
	case strings.HasPrefix(p, bus.TransactionPrefix):
		_, err = s.updater.Transaction(snapshot.Number(c.number))
	case strings.HasPrefix(p, bus.SnapshotPrefix):
		_, err = s.updater.Snapshot(snapshot.Number(c.number))
	}
	return err == nil
}

func ping(*call) ([]any, error) { return nil, nil }

func machineID(*call) ([]any, error) {
	id, err := os.ReadFile("/etc/machine-id")
	return []any{strings.TrimSpace(string(id))}, err
}

func (s *Server) introspect(c *call) ([]any, error) {
	k, _, ok := s.kindOf(c.path)
	if !ok {
		return nil, fmt.Errorf("object %s: %w", c.path, fault.ErrNotFound)
	}
	children, err := s.children(string(c.path))
	if err != nil {
		return nil, err
	}
	return []any{bus.Node(k.xml, children...)}, nil
}

func (s *Server) children(path string) ([]string, error) {
	if path == bus.Path {
		return []string{"transaction", "snapshot"}, nil
	}
	if rest, ok := strings.CutPrefix(bus.Path, strings.TrimSuffix(path, "/")+"/"); ok {
		first, _, _ := strings.Cut(rest, "/")
		return []string{first}, nil
	}
	if s.updater == nil {
		return nil, nil
	}
	var names []string
	switch path + "/" {
	case bus.TransactionPrefix:
		if t := s.updater.Current(); t != nil {
			names = append(names, fmt.Sprint(t.Number()))
		}
	case bus.SnapshotPrefix:
		list, err := s.updater.List()
		if err != nil {
			return nil, err
		}
		for _, one := range list.Snapshots {
			names = append(names, fmt.Sprint(one.Number))
		}
	}
	return names, nil
}

// properties of the object that the call names, by interface.
func (s *Server) properties(c *call) (string, map[string]dbus.Variant, error) {
	switch {
	case string(c.path) == bus.Path:
		p, err := s.managerProperties()
		return bus.ManagerInterface, p, err
	case strings.HasPrefix(string(c.path), bus.TransactionPrefix):
		t, err := s.updater.Transaction(snapshot.Number(c.number))
		if err != nil {
			return "", nil, err
		}
		return bus.TransactionInterface, transactionProperties(t.State()), nil
	default:
		one, err := s.updater.Snapshot(snapshot.Number(c.number))
		if err != nil {
			return "", nil, err
		}
		return bus.SnapshotInterface, snapshotProperties(one), nil
	}
}

func (s *Server) getAll(c *call) ([]any, error) {
	name, all, err := s.properties(c)
	if err != nil {
		return nil, err
	}
	if asked := c.args[0].(string); asked != name {
		return []any{map[string]dbus.Variant{}}, nil // the standard interfaces have none
	}
	return []any{all}, nil
}

func (s *Server) get(c *call) ([]any, error) {
	name, all, err := s.properties(c)
	if err != nil {
		return nil, err
	}
	v, ok := all[c.args[1].(string)]
	if !ok || c.args[0].(string) != name {
		return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", []any{fmt.Sprintf("no property %q on interface %q", c.args[1], c.args[0])})
	}
	return []any{v}, nil
}

func (s *Server) set(c *call) ([]any, error) {
	return nil, dbus.NewError("org.freedesktop.DBus.Error.PropertyReadOnly", []any{fmt.Sprintf("property %q is read-only", c.args[1])})
}

func (s *Server) managedObjects(*call) ([]any, error) {
	objects := map[dbus.ObjectPath]map[string]map[string]dbus.Variant{}
	p, err := s.managerProperties()
	if err != nil {
		return nil, err
	}
	objects[bus.Path] = map[string]map[string]dbus.Variant{bus.ManagerInterface: p}
	list, err := s.updater.List()
	if err != nil {
		return nil, err
	}
	for _, one := range list.Snapshots {
		objects[dbus.ObjectPath(bus.SnapshotPath(one.Number))] = map[string]map[string]dbus.Variant{bus.SnapshotInterface: snapshotProperties(one)}
	}
	if t := s.updater.Current(); t != nil {
		objects[transactionPath(t)] = map[string]map[string]dbus.Variant{bus.TransactionInterface: transactionProperties(t.State())}
	}
	return []any{objects}, nil
}

func (s *Server) managerProperties() (map[string]dbus.Variant, error) {
	st, err := s.updater.Status(s.ctx)
	if err != nil {
		return nil, err
	}
	current := dbus.ObjectPath("/")
	if st.Transaction != nil {
		current = dbus.ObjectPath(bus.TransactionPath(st.Transaction.Number))
	}
	return map[string]dbus.Variant{
		"Version":        dbus.MakeVariant(s.version),
		"Root":           dbus.MakeVariant(text(s.updater.Root, maxString)),
		"Booted":         dbus.MakeVariant(dbus.ObjectPath(bus.SnapshotPath(st.Booted.Number))),
		"Default":        dbus.MakeVariant(dbus.ObjectPath(bus.SnapshotPath(st.Default.Number))),
		"RebootRequired": dbus.MakeVariant(st.RebootRequired),
		"Transaction":    dbus.MakeVariant(current),
	}, nil
}

func transactionPath(t *update.Transaction) dbus.ObjectPath {
	return dbus.ObjectPath(bus.TransactionPath(uint64(t.Number())))
}

func transactionProperties(st update.State) map[string]dbus.Variant {
	message := ""
	if st.Failure != nil {
		message = text(st.Failure.Error(), maxErrorText)
	}
	return map[string]dbus.Variant{
		"Number":       dbus.MakeVariant(st.Number),
		"Parent":       dbus.MakeVariant(st.Parent),
		"Kind":         dbus.MakeVariant(st.Kind),
		"Message":      dbus.MakeVariant(st.Message),
		"Phase":        dbus.MakeVariant(string(st.Phase)),
		"Running":      dbus.MakeVariant(st.Running),
		"Finished":     dbus.MakeVariant(st.Finished),
		"Unchanged":    dbus.MakeVariant(st.Unchanged),
		"ExitStatus":   dbus.MakeVariant(int32(st.Exit)),
		"Error":        dbus.MakeVariant(fault.Name(st.Failure)),
		"ErrorMessage": dbus.MakeVariant(message),
		"Warnings":     dbus.MakeVariant(texts(st.Warnings)),
		"Progress":     dbus.MakeVariant(progress(st.Progress)),
	}
}

// progress is p as the bus can carry it.
func progress(p bus.Progress) bus.Progress {
	p.Text = text(p.Text, maxErrorText)
	return p
}

func snapshotProperties(one bus.Snapshot) map[string]dbus.Variant {
	return map[string]dbus.Variant{
		"Number":      dbus.MakeVariant(one.Number),
		"SubvolumeID": dbus.MakeVariant(one.SubvolumeID),
		"Phase":       dbus.MakeVariant(string(one.Phase)),
		"Verdict":     dbus.MakeVariant(string(one.Verdict)),
		"Roles":       dbus.MakeVariant(one.Roles),
		"Created":     dbus.MakeVariant(uint64(one.Created.Unix())),
		"Kernel":      dbus.MakeVariant(text(one.Kernel, maxString)),
		"Message":     dbus.MakeVariant(one.Message),
		"Tags":        dbus.MakeVariant(one.Tags),
		"Pinned":      dbus.MakeVariant(one.Pinned),
	}
}
