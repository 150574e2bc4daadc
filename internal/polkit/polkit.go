// Package polkit asks polkit who may do what.
//
// The interface is described in the reference manual of polkit,
// org.freedesktop.PolicyKit1.Authority.
package polkit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names on the bus.
const (
	Name      = "org.freedesktop.PolicyKit1"
	Path      = "/org/freedesktop/PolicyKit1/Authority"
	Interface = "org.freedesktop.PolicyKit1.Authority"
)

// AllowUserInteraction is the flag of CheckAuthorization that lets polkit ask for a password.
const AllowUserInteraction uint32 = 1

// MessageKey is the detail that an agent shows instead of the message of the policy file.
const MessageKey = "polkit.message"

const dbusError = "org.freedesktop.DBus.Error."

// Why somebody is not authorised.
var (
	// ErrAbsent: there is no polkit on this bus, and nothing can start it.
	ErrAbsent = errors.New("there is no polkit here")
	// ErrDenied: polkit says no, and no password changes that.
	ErrDenied = errors.New("polkit's rules do not allow it")
	// ErrChallenge: a password is needed, and polkit was not allowed to ask for it.
	ErrChallenge = errors.New("a password is needed")
	// ErrUnanswered: it was allowed to ask, and nobody gave a password that is good for it.
	ErrUnanswered = errors.New("nobody was there to give a password for it, or it was the wrong one")
	// ErrDismissed: whoever was asked did not want to.
	ErrDismissed = errors.New("the question for a password was dismissed")
)

// Bus is a connection to the bus.
type Bus interface {
	BusObject() dbus.BusObject
	Object(name string, path dbus.ObjectPath) dbus.BusObject
}

// Authority is polkit as seen by a service.
type Authority struct {
	Bus Bus
	// Hear lets answers of the connection with that unique name reach Bus until
	// done is called. It is for a connection that hears nobody by itself.
	Hear func(unique string) (done func())
	// Patience is how long polkit may take without asking anybody, Thinking
	// how long whoever is asked may take.
	Patience, Thinking time.Duration

	asked atomic.Uint64
}

// New makes an authority with the usual patience.
func New(bus Bus, hear func(unique string) (done func())) *Authority {
	return &Authority{Bus: bus, Hear: hear, Patience: 25 * time.Second, Thinking: 5 * time.Minute}
}

// Question is what polkit is asked.
type Question struct {
	Caller      string // its unique name on the bus
	Action      string
	Details     map[string]string // for rules, and for whoever is asked
	Interactive bool              // somebody may be asked for a password
}

// Check returns nil where polkit says yes. Where it does not, the error is one
// of the above; any other is no yes either. When ctx ends, whoever is being
// asked is asked no more.
func (a *Authority) Check(ctx context.Context, q Question) error {
	patience := a.Patience
	if q.Interactive {
		patience = a.Thinking
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("polkit has not answered within %v", patience))
	defer cancel()
	err := a.check(ctx, q)
	if isError(err, "ServiceUnknown", "NameHasNoOwner") {
		// It left between two questions, before it was asked the second: ask the next one.
		err = a.check(ctx, q)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isError(err, "NoReply", "Disconnected"):
		return fmt.Errorf("polkit ended before it answered: %w", err)
	}
	return err
}

func (a *Authority) check(ctx context.Context, q Question) error {
	owner, err := a.owner(ctx)
	if err != nil {
		return err
	}
	defer a.Hear(owner)()
	var flags uint32
	if q.Interactive {
		flags = AllowUserInteraction
	}
	subject := struct {
		Kind    string
		Details map[string]dbus.Variant
	}{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(q.Caller)}}
	details := q.Details
	if details == nil {
		details = map[string]string{}
	}
	// One for each question of this connection.
	id := "txupd-" + strconv.FormatUint(a.asked.Add(1), 10)
	var answer struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	authority := a.Bus.Object(owner, Path)
	err = authority.CallWithContext(ctx, Interface+".CheckAuthorization", 0, subject, q.Action, details, flags, id).Store(&answer)
	if ctx.Err() != nil {
		// Nobody waits for what comes of this.
		authority.Go(Interface+".CancelCheckAuthorization", dbus.FlagNoReplyExpected, nil, id)
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("polkit cannot tell: %w", err)
	}
	switch {
	case answer.Authorized:
		return nil
	case answer.Details["polkit.dismissed"] != "":
		return ErrDismissed
	case answer.Challenge && q.Interactive:
		return ErrUnanswered
	case answer.Challenge:
		return ErrChallenge
	}
	return ErrDenied
}

// owner is the unique name of polkit, which is started if need be.
func (a *Authority) owner(ctx context.Context) (unique string, err error) {
	const getOwner = "org.freedesktop.DBus.GetNameOwner"
	err = a.Bus.BusObject().CallWithContext(ctx, getOwner, 0, Name).Store(&unique)
	if !isError(err, "NameHasNoOwner") {
		return unique, err
	}
	err = a.Bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.StartServiceByName", 0, Name, uint32(0)).Err
	if isError(err, "ServiceUnknown") {
		return "", ErrAbsent
	}
	if err != nil {
		return "", fmt.Errorf("polkit does not start: %w", err)
	}
	err = a.Bus.BusObject().CallWithContext(ctx, getOwner, 0, Name).Store(&unique)
	return unique, err
}

// isError reports whether an error is one of these of the bus.
func isError(err error, names ...string) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, name := range names {
		if e.Name == dbusError+name {
			return true
		}
	}
	return false
}
