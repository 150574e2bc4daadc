// An authority that says what a test wants, in polkit's place on a private bus.

package testbed

import (
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/polkit"
)

// PolkitQuestion is what the authority was asked.
type PolkitQuestion struct {
	Kind, Caller, Action string
	Details              map[string]string
	Flags                uint32
	ID                   string
	// Cancelled is closed when whoever asked takes the question back.
	Cancelled <-chan struct{}
}

// Interactive: somebody may be asked for a password.
func (q PolkitQuestion) Interactive() bool { return q.Flags&polkit.AllowUserInteraction != 0 }

// PolkitAnswer is what it says to that.
type PolkitAnswer struct {
	Authorized, Challenge bool
	Details               map[string]string
}

// The answers that there are.
var (
	PolkitYes       = PolkitAnswer{Authorized: true}
	PolkitNo        = PolkitAnswer{}
	PolkitChallenge = PolkitAnswer{Challenge: true}
	PolkitDismissed = PolkitAnswer{Challenge: true, Details: map[string]string{"polkit.dismissed": "true"}}
)

// Polkit is such an authority. As the real one it answers many at the same time.
type Polkit struct {
	conn   *dbus.Conn
	answer func(PolkitQuestion) PolkitAnswer

	mu      sync.Mutex
	asked   []PolkitQuestion
	pending map[string]func()
}

// NewPolkit puts an authority on the bus. answer may take as long as it wants.
func NewPolkit(t testing.TB, b *Bus, answer func(PolkitQuestion) PolkitAnswer) *Polkit {
	t.Helper()
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	p := &Polkit{conn: conn, answer: answer, pending: map[string]func(){}}
	t.Cleanup(p.Leave)
	if err := conn.Export(exportedPolkit{p}, polkit.Path, polkit.Interface); err != nil {
		t.Fatal(err)
	}
	if r, err := conn.RequestName(polkit.Name, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("cannot be polkit on this bus: %v, %v", r, err)
	}
	return p
}

// Leave leaves the bus, whatever is being asked. The name is free when it returns.
func (p *Polkit) Leave() {
	_, _ = p.conn.ReleaseName(polkit.Name) // it may have left already
	p.conn.Close()
}

// Asked are the questions until now.
func (p *Polkit) Asked() []PolkitQuestion {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]PolkitQuestion{}, p.asked...)
}

// exportedPolkit has only the methods of the bus.
type exportedPolkit struct{ p *Polkit }

type polkitSubject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// CheckAuthorization is the method of org.freedesktop.PolicyKit1.Authority.
func (e exportedPolkit) CheckAuthorization(s polkitSubject, action string, details map[string]string, flags uint32, id string) (PolkitAnswer, *dbus.Error) {
	cancelled := make(chan struct{})
	caller, _ := s.Details["name"].Value().(string)
	q := PolkitQuestion{s.Kind, caller, action, details, flags, id, cancelled}
	e.p.mu.Lock()
	if e.p.pending[id] != nil {
		e.p.mu.Unlock()
		return PolkitAnswer{}, dbus.NewError("org.freedesktop.PolicyKit1.Error.CancellationIdNotUnique", []any{id})
	}
	e.p.asked = append(e.p.asked, q)
	e.p.pending[id] = sync.OnceFunc(func() { close(cancelled) })
	e.p.mu.Unlock()
	a := e.p.answer(q)
	e.p.mu.Lock()
	delete(e.p.pending, id)
	e.p.mu.Unlock()
	select {
	case <-cancelled:
		return PolkitAnswer{}, dbus.NewError("org.freedesktop.PolicyKit1.Error.Cancelled", []any{"cancelled"})
	default:
	}
	if a.Details == nil {
		a.Details = map[string]string{}
	}
	return a, nil
}

// CancelCheckAuthorization is the method of org.freedesktop.PolicyKit1.Authority.
func (e exportedPolkit) CancelCheckAuthorization(id string) *dbus.Error {
	e.p.mu.Lock()
	cancel := e.p.pending[id]
	e.p.mu.Unlock()
	if cancel == nil {
		return dbus.NewError("org.freedesktop.PolicyKit1.Error.Failed", []any{"no such question: " + id})
	}
	cancel()
	return nil
}
