// The event log: what happened, in order, each event carrying the SHA-256 of
// the one before it. It is only ever appended to.

package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Event is one entry of the log.
type Event struct {
	Seq  uint64    `json:"seq"` // from 1, without gaps
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	// Number is the transaction that Patch belongs to.
	Number uint64        `json:"number"`
	Actor  *record.Actor `json:"actor,omitempty"`
	// Patch is the JSON merge patch (RFC 7386) from the record's former state to the new one.
	Patch json.RawMessage `json:"patch,omitempty"`
	// Words say what was done where no record can: see Tell.
	Words []string `json:"words,omitempty"`
	// Prev is the Hash of the event before; of the first one, the SHA-256 of the journal's ID.
	Prev string `json:"prev"`
	// Hash is the SHA-256, in hexadecimal digits, of the event's stored bytes.
	Hash string `json:"-"`
}

// Head names the last event. A printed head proves later that nothing before it was changed.
type Head struct {
	// Journal is the ID of the journal: one that was rebuilt has another.
	Journal string `json:"journal"`
	Seq     uint64 `json:"seq"` // 0 while there are no events
	Hash    string `json:"hash"`
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func keyNumber(key []byte) (uint64, bool) {
	if len(key) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key), true
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// decodeEvent reads the payload of a stored event.
func decodeEvent(payload []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(payload, &e); err != nil {
		return Event{}, fmt.Errorf("cannot read it: %w", err)
	}
	if h, err := hex.DecodeString(e.Prev); err != nil || len(h) != sha256.Size {
		return Event{}, errors.New("it does not hold the hash of the event before")
	}
	if len(e.Patch) > 0 && e.Patch[0] != '{' {
		return Event{}, errors.New("its patch is not an object")
	}
	return e, nil
}

// Tell appends an event that belongs to no record: what was done to the system
// as a whole, one sentence each.
func (tx *Tx) Tell(kind string, actor *record.Actor, words []string) error {
	err := tx.write(func() error { return tx.appendEvent(Event{Kind: kind, Actor: actor, Words: words}) })
	if err != nil {
		return fmt.Errorf("cannot record what was done: %w", err)
	}
	return nil
}

// appendEvent gives an event its place in the log and moves the head.
func (tx *Tx) appendEvent(e Event) error {
	if e.Kind == "" {
		return errors.New("internal error: an event without a kind")
	}
	head, err := tx.Head()
	if err != nil {
		return err
	}
	e.Seq, e.Time, e.Prev = head.Seq+1, tx.j.now().UTC(), head.Hash
	payload, err := encodeJSON(e)
	if err != nil {
		return err
	}
	key := numberKey(e.Seq)
	stored := tx.j.pack.pack(key, payload)
	if err := tx.events.Put(key, stored); err != nil {
		return err
	}
	head.Seq, head.Hash = e.Seq, sum(stored)
	return tx.putMetaJSON(metaHead, head)
}

// Head returns the last event's sequence number and hash.
func (tx *Tx) Head() (head Head, err error) {
	defer tx.guard(&err)
	err = tx.metaJSON(metaHead, &head)
	return head, err
}

// Events iterates over the log in order, starting with event from. The caller must not write meanwhile.
func (tx *Tx) Events(from uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c := tx.events.Cursor()
		key, value, err := tx.seek(c, numberKey(from))
		for ; key != nil || err != nil; key, value, err = tx.step(c.Next) {
			var e Event
			if err == nil {
				e, err = tx.decodeStored(key, value)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// decodeStored reads an event from where it is stored.
func (tx *Tx) decodeStored(key, stored []byte) (e Event, err error) {
	defer tx.guard(&err)
	seq, ok := keyNumber(key)
	if !ok {
		return Event{}, tx.damaged("an event is stored under the key %x", key)
	}
	payload, err := tx.j.pack.unpack(key, stored)
	if err != nil {
		return Event{}, tx.damaged("event %d: %v", seq, err)
	}
	if e, err = decodeEvent(payload); err != nil {
		return Event{}, tx.damaged("event %d: %v", seq, err)
	}
	if e.Seq != seq {
		return Event{}, tx.damaged("event %d is stored as event %d", e.Seq, seq)
	}
	e.Hash = sum(stored)
	return e, nil
}
