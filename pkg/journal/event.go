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

// appendEvent adds one event to the log and moves the head.
func (tx *Tx) appendEvent(kind string, number uint64, actor *record.Actor, patch object) error {
	if kind == "" {
		return errors.New("internal error: an event without a kind")
	}
	head, err := tx.Head()
	if err != nil {
		return err
	}
	raw, err := encodeJSON(patch)
	if err != nil {
		return err
	}
	e := Event{
		Seq: head.Seq + 1, Time: tx.j.now().UTC(), Kind: kind, Number: number,
		Actor: actor, Patch: raw, Prev: head.Hash,
	}
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
