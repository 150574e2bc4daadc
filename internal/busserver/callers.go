// How much of us callers may have: so many calls at a time, so much memory.
// What is beyond is refused at once and by name, so that nobody's flood grows
// here, and nobody waits because of somebody else's.

package busserver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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

	asking sync.Mutex                  // while the bus is asked who it is
	known  atomic.Pointer[credentials] // once the bus was asked

	// What the callers' lock guards:
	calls       int         // under way
	queue       []*incoming // calls that came before it was known who calls
	identifying bool        // somebody sees to the queue
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
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all[in.sender]
	if c == nil {
		c = &caller{name: in.sender}
		c.ctx, c.leave = context.WithCancelCause(cs.ctx)
		cs.all[in.sender] = c
	}
	in.from = c
	if in.size > maxCall {
		return errLimits("the call is %d bytes long, at most %d are accepted", in.size, maxCall)
	}
	if c.calls >= maxCalls {
		return errLimits("%d calls of yours are under way, at most so many are accepted: wait for answers", maxCalls)
	}
	if in.size > smallCall && cs.pending+in.size > maxPending {
		return errLimits("the call is %d bytes long, and too many such calls are under way: try again", in.size)
	}
	if known := c.known.Load(); known != nil {
		if err := cs.enterUser(in, known.uid); err != nil {
			return err
		}
	}
	if in.size > smallCall {
		cs.pending += in.size
	}
	c.calls++
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
	if uid := in.user; uid != nil {
		if cs.users[*uid]--; cs.users[*uid] == 0 {
			delete(cs.users, *uid)
		}
	}
}

// enterUser counts a call for its user; cs.mu is held.
func (cs *callers) enterUser(in *incoming, uid uint32) error {
	if uid != 0 && cs.users[uid] >= maxUserCalls {
		return errLimits("%d calls of yours are under way, at most so many are accepted of one user: wait for answers", maxUserCalls)
	}
	if uid != 0 && in.size > maxStranger {
		return errLimits("the call is %d bytes long, at most %d are accepted of who is not root", in.size, maxStranger)
	}
	cs.users[uid]++
	in.user = &uid
	return nil
}

// waits puts a call into its caller's queue if it is not known who that is.
// first tells that nobody sees to the queue yet.
func (cs *callers) waits(in *incoming) (queued, first bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if in.user != nil {
		return false, false
	}
	c := in.from
	c.queue = append(c.queue, in)
	first = !c.identifying
	c.identifying = true
	return true, first
}

// dequeue empties the queue of a caller.
func (cs *callers) dequeue(c *caller) []*incoming {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	queue := c.queue
	c.queue, c.identifying = nil, false
	return queue
}

// count is enterUser for a call that waited.
func (cs *callers) count(in *incoming, uid uint32) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.enterUser(in, uid)
}

// gone forgets who has left the bus: what was only asked for its sake ends. It is nil for one who never called.
func (cs *callers) gone(name string) *caller {
	cs.mu.Lock()
	c := cs.all[name]
	delete(cs.all, name)
	cs.mu.Unlock()
	if c != nil {
		c.leave(errLeft)
	}
	return c
}

// uid is the user's, and nobody's as long as it is not known.
func (c *caller) uid() uint32 {
	if known := c.known.Load(); known != nil {
		return known.uid
	}
	return ^uint32(0)
}
