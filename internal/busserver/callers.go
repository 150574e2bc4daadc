// How much of us callers may have: so many calls at a time, so much memory.
// What is beyond is refused at once and by name, so that nobody's flood grows
// here, and nobody waits because of somebody else's.

package busserver

import (
	"context"
	"fmt"
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	// maxCalls is how many calls one caller may have under way, maxUserCalls all callers of one user.
	maxCalls     = 64
	maxUserCalls = 256
	// smallCall is the longest call that is always taken as far as memory goes; all longer
	// ones together may have maxPending (bytes).
	smallCall  = 4 << 10
	maxPending = 32 << 20
	// maxStranger is the longest call that is taken of who is not root (bytes).
	maxStranger = 128 << 10
)

// errLimits is a refusal because of too much of something.
func errLimits(format string, args ...any) error {
	return dbus.NewError("org.freedesktop.DBus.Error.LimitsExceeded", []any{fmt.Sprintf(format, args...)})
}

// caller is one connection to the bus that has called us and is still there.
type caller struct {
	name string
	// ctx ends when the caller leaves the bus.
	ctx   context.Context
	leave context.CancelCauseFunc

	asking sync.Mutex   // while the bus is asked who it is
	known  *credentials // once the bus was asked

	calls int // under way; the callers' lock
}

// callers are all of them.
type callers struct {
	ctx context.Context

	mu      sync.Mutex
	all     map[string]*caller
	users   map[uint32]int // calls under way of each user
	pending int64          // bytes of the longer calls under way
}

func newCallers(ctx context.Context) *callers {
	return &callers{ctx: ctx, all: map[string]*caller{}, users: map[uint32]int{}}
}

// enter lets a call in or says what it is too much of.
func (cs *callers) enter(in *incoming) error {
	if in.size > maxCall {
		return errLimits("the call is %d bytes long, at most %d are accepted", in.size, maxCall)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all[in.sender]
	if c == nil {
		c = &caller{name: in.sender}
		c.ctx, c.leave = context.WithCancelCause(cs.ctx)
		cs.all[in.sender] = c
	}
	if c.calls >= maxCalls {
		return errLimits("%d calls of yours are under way, at most so many are accepted: wait for answers", maxCalls)
	}
	if in.size > smallCall {
		if cs.pending+in.size > maxPending {
			return errLimits("the call is %d bytes long, and too many such calls are under way: try again", in.size)
		}
		cs.pending += in.size
	}
	c.calls++
	in.from = c
	return nil
}

// left is called when a call was answered.
func (cs *callers) left(in *incoming) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	in.from.calls--
	if in.size > smallCall {
		cs.pending -= in.size
	}
}

// enterUser counts a call for its user, once that is known.
func (cs *callers) enterUser(uid uint32) (leave func(), err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if uid != 0 && cs.users[uid] >= maxUserCalls {
		return nil, errLimits("%d calls of yours are under way, at most so many are accepted of one user: wait for answers", maxUserCalls)
	}
	cs.users[uid]++
	return func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if cs.users[uid]--; cs.users[uid] == 0 {
			delete(cs.users, uid)
		}
	}, nil
}

// gone forgets who has left the bus: what was only asked for its sake ends.
func (cs *callers) gone(name string) {
	cs.mu.Lock()
	c := cs.all[name]
	delete(cs.all, name)
	cs.mu.Unlock()
	if c != nil {
		c.leave(errLeft)
	}
}
