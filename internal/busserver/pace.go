// How often progress is told: bus and clients must not be kept busy by it.

package busserver

import (
	"time"

	"github.com/txupd/txupd/internal/update"
)

const (
	// In any second no more than so many signals of progress are sent,
	maxPaces, pacesIn = 10, time.Second
	// and within a phase one at most every
	paceTime = 150 * time.Millisecond
)

// pace holds progress back that comes too soon; what comes after it takes its place.
type pace struct {
	sent  [maxPaces]time.Time // a ring
	next  int
	phase string
	held  *update.Event
}

// due is from when on e may be sent.
func (p *pace) due(e update.Event) time.Time {
	due := p.sent[p.next].Add(pacesIn)
	if p.phase == e.Progress.Phase && e.Progress.Fraction >= 0 {
		if soon := p.sent[(p.next+maxPaces-1)%maxPaces].Add(paceTime); soon.After(due) {
			return soon
		}
	}
	return due
}

// take is whether e may be sent now; else it is held.
func (p *pace) take(e update.Event, now time.Time) bool {
	if now.Before(p.due(e)) {
		p.held = &e
		return false
	}
	p.sent[p.next], p.next = now, (p.next+1)%maxPaces
	p.phase, p.held = e.Progress.Phase, nil
	return true
}

// again is what is held, if it may be sent now, and else after how long; 0 is for nothing held.
func (p *pace) again(now time.Time) (e update.Event, ok bool, wait time.Duration) {
	if p.held == nil {
		return update.Event{}, false, 0
	}
	if wait := p.due(*p.held).Sub(now); wait > 0 {
		return update.Event{}, false, wait
	}
	e = *p.held
	return e, p.take(e, now), 0
}

// forget drops what is held of a transaction that has ended.
func (p *pace) forget(t *update.Transaction) {
	if p.held != nil && p.held.Transaction == t {
		p.held = nil
	}
}
