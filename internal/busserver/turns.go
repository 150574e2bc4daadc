// Questions are answered a few at a time, and those who ask take turns: neither
// a client that asks a lot nor a user with a lot of clients makes others wait.

package busserver

import (
	"context"
	"slices"
	"sync"
)

const (
	// perCaller is how many questions of one caller are answered at the same time, perUser
	// of all callers of one user; root's are more different ones.
	perCaller = 2
	perUser   = 4
	perRoot   = 16
)

// turns are the lines in which callers wait. The quick questions of a user do not wait for the slow ones.
type turns struct {
	mu    sync.Mutex
	lines map[lineKey]*line
}

type lineKey struct {
	uid  uint32
	slow bool
}

// line is that of one user.
type line struct {
	limit, running int
	askers         map[string]*asker
	order          []*asker // who waits, in the order of their turns
}

type asker struct {
	name    string
	running int
	waiting []chan struct{} // closed when it is one's turn
}

func newTurns() *turns { return &turns{lines: map[lineKey]*line{}} }

// take waits for a turn; done gives it back.
func (t *turns) take(ctx context.Context, key lineKey, name string) (done func(), err error) {
	t.mu.Lock()
	l := t.lines[key]
	if l == nil {
		l = &line{limit: perUser, askers: map[string]*asker{}}
		if key.uid == 0 {
			l.limit = perRoot
		}
		t.lines[key] = l
	}
	a := l.askers[name]
	if a == nil {
		a = &asker{name: name}
		l.askers[name] = a
	}
	turn := make(chan struct{})
	a.waiting = append(a.waiting, turn)
	if len(a.waiting) == 1 {
		l.order = append(l.order, a)
	}
	l.admit()
	t.mu.Unlock()
	done = func() { t.done(key, a) }
	select {
	case <-turn:
		return done, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(a.waiting, turn)
	if i >= 0 {
		a.waiting = slices.Delete(a.waiting, i, i+1)
		l.tidy(a)
	}
	t.mu.Unlock()
	if i < 0 { // it came just now
		done()
	}
	return nil, context.Cause(ctx)
}

func (t *turns) done(key lineKey, a *asker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[key]
	l.running--
	a.running--
	l.tidy(a)
	l.admit()
	if len(l.askers) == 0 {
		delete(t.lines, key)
	}
}

// admit gives turns as long as there are any: to each who waits one, then round again.
func (l *line) admit() {
	for l.running < l.limit {
		i := slices.IndexFunc(l.order, func(a *asker) bool { return a.running < perCaller })
		if i < 0 {
			return
		}
		a := l.order[i]
		l.order = slices.Delete(l.order, i, i+1)
		close(a.waiting[0])
		a.waiting = a.waiting[1:]
		a.running++
		l.running++
		if len(a.waiting) > 0 {
			l.order = append(l.order, a)
		}
	}
}

// tidy forgets who neither waits nor has a turn.
func (l *line) tidy(a *asker) {
	if len(a.waiting) == 0 {
		l.order = slices.DeleteFunc(l.order, func(o *asker) bool { return o == a })
		if a.running == 0 {
			delete(l.askers, a.name)
		}
	}
}
