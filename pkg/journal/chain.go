// Walks the chain of events and names what does not fit.

package journal

import (
	"context"
	"fmt"
)

// chain goes through stored events in order of their keys.
type chain struct {
	from uint64 // the first event that is looked at
	// next is the sequence number that should come, prev the hash of the event
	// before it, "" where it cannot be known because that one is not in its place.
	next     uint64
	prev     string
	count    uint64
	problems []Problem
	each     func(Event) // for every event that is readable and in its place
}

func newChain(id string) *chain {
	return &chain{from: 1, next: 1, prev: genesis(id)}
}

// skipTo starts at event seq: the link to the one before it is not checked.
func (c *chain) skipTo(seq uint64) { c.from, c.next, c.prev = seq, seq, "" }

func (c *chain) problem(kind string, seq uint64, format string, args ...any) {
	c.problems = append(c.problems, Problem{Kind: kind, Seq: seq, Text: fmt.Sprintf(format, args...)})
}

// run goes through all events from the first one on. Only an end of ctx is an error.
func (c *chain) run(ctx context.Context, tx *Tx) error {
	cursor := tx.events.Cursor()
	key, stored, err := tx.seek(cursor, numberKey(c.from))
	for ; key != nil && err == nil; key, stored, err = tx.step(cursor.Next) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err = c.event(tx, key, stored); err != nil {
			break
		}
	}
	if err != nil {
		c.problem(Damaged, c.next, "the events after %d: %v", c.next-1, err)
	}
	return nil
}

// event looks at one event. An error means that it could not even be read.
func (c *chain) event(tx *Tx, key, stored []byte) (err error) {
	defer tx.guard(&err)
	c.count++
	seq, ok := keyNumber(key)
	if !ok {
		c.problem(Reordered, 0, "an event is stored under the key %x", key)
		return nil
	}
	if seq > c.next {
		c.missing(c.next, seq-1)
		c.prev = ""
	}
	prev := c.prev
	c.next, c.prev = seq+1, sum(stored)
	payload, err := tx.unpackAt(key, stored)
	if err != nil {
		c.problem(Edited, seq, "event %d was changed: %v", seq, err)
		return nil
	}
	e, err := decodeEvent(payload)
	if err != nil {
		c.problem(Edited, seq, "event %d was changed: %v", seq, err)
		return nil
	}
	if e.Seq != seq {
		c.problem(Reordered, seq, "event %d stands in the place of event %d", e.Seq, seq)
		c.prev = ""
		return nil
	}
	if prev != "" && e.Prev != prev && !c.named(seq-1) {
		if seq == 1 {
			c.problem(Edited, seq, "event 1 was changed: it does not begin this journal")
		} else {
			c.problem(Edited, seq-1, "event %d was changed: event %d carries another hash of it", seq-1, seq)
		}
	}
	if c.each != nil {
		e.Hash = c.prev
		c.each(e)
	}
	return nil
}

// named reports whether the last problem is about event seq already.
func (c *chain) named(seq uint64) bool {
	return len(c.problems) > 0 && c.problems[len(c.problems)-1].Seq == seq
}

func (c *chain) missing(first, last uint64) {
	if first == last {
		c.problem(Removed, first, "event %d was removed", first)
		return
	}
	c.problem(Removed, first, "events %d to %d were removed", first, last)
}

// finish compares the end of the chain with the head that is kept beside it.
func (c *chain) finish(head Head) {
	last := c.next - 1
	switch {
	case head.Seq > last:
		c.missing(c.next, head.Seq)
	case head.Seq < last:
		c.problem(Edited, head.Seq, "the head is event %d, but events go up to %d", head.Seq, last)
	case c.prev != "" && head.Hash != c.prev && !c.named(last):
		c.problem(Edited, last, "event %d was changed: the head carries another hash of it", last)
	}
}

// VerifyHead checks that the journal still contains a head that was seen before, as printed to the system
// journal: then nothing up to it was changed, given that Verify finds no
// problem. ErrChain says that it does not, ErrNotFound that the head is of another
// journal, from before this one was made anew.
func (j *Journal) VerifyHead(head Head) error {
	if head.Journal != j.id {
		return fmt.Errorf("head of journal %q, this one is %q: %w", head.Journal, j.id, ErrNotFound)
	}
	return j.View(func(tx *Tx) error {
		if head.Seq == 0 {
			if head.Hash != genesis(j.id) {
				return fmt.Errorf("%w: the journal began with another hash", ErrChain)
			}
			return nil
		}
		key := numberKey(head.Seq)
		stored, err := tx.storedEvent(key)
		switch {
		case err != nil:
			return err
		case stored == nil:
			return fmt.Errorf("%w: event %d, which was there, is missing", ErrChain, head.Seq)
		case sum(stored) != head.Hash:
			return fmt.Errorf("%w: event %d is not the one that was there", ErrChain, head.Seq)
		}
		return nil
	})
}

func (tx *Tx) storedEvent(key []byte) (stored []byte, err error) {
	defer tx.guard(&err)
	return tx.events.Get(key), nil
}
