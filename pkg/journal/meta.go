// Small values: the journal's own (schema, id, head), those of its users, and
// the steps of unfinished transactions.

package journal

import (
	"encoding/json"
	"fmt"
)

// Keys in the bucket meta. Those of users have a prefix of their own.
const (
	metaSchema = "schema"
	metaID     = "id"
	metaHead   = "head"
	metaUser   = "user/"
)

func (tx *Tx) metaJSON(key string, v any) error {
	stored := tx.meta.Get([]byte(key))
	if stored == nil {
		return tx.damaged("its %s is missing", key)
	}
	raw, err := tx.j.pack.unpack([]byte(key), stored)
	if err != nil {
		return tx.damaged("its %s: %v", key, err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return tx.damaged("its %s: %v", key, err)
	}
	return nil
}

func (tx *Tx) putMetaJSON(key string, v any) error {
	raw, err := encodeJSON(v)
	if err != nil {
		return err
	}
	return tx.meta.Put([]byte(key), tx.j.pack.pack([]byte(key), raw))
}

// Meta returns the value that PutMeta stored under key, nil if there is none.
func (tx *Tx) Meta(key string) (value []byte, err error) {
	defer tx.guard(&err)
	k := []byte(metaUser + key)
	stored := tx.meta.Get(k)
	if stored == nil {
		return nil, nil
	}
	if value, err = tx.j.pack.unpack(k, stored); err != nil {
		return nil, tx.damaged("the value of %q: %v", key, err)
	}
	return value, nil
}

// PutMeta stores a small value that belongs to no record; nil removes it. It is not part of the event log.
func (tx *Tx) PutMeta(key string, value []byte) error {
	err := tx.write(func() error {
		k := []byte(metaUser + key)
		if value == nil {
			return tx.meta.Delete(k)
		}
		return tx.meta.Put(k, tx.j.pack.pack(k, value))
	})
	if err != nil {
		return fmt.Errorf("cannot store %q in the journal: %w", key, err)
	}
	return nil
}

// Steps returns the steps of transaction n as PutSteps stored them, nil if it has none.
func (tx *Tx) Steps(n uint64) (steps []byte, err error) {
	defer tx.guard(&err)
	key := numberKey(n)
	stored := tx.steps.Get(key)
	if stored == nil {
		return nil, nil
	}
	if steps, err = tx.j.pack.unpack(key, stored); err != nil {
		return nil, tx.damaged("the steps of transaction %d: %v", n, err)
	}
	return steps, nil
}

// PutSteps stores status and undo data of transaction n's steps, JSON that only
// the engine understands, in the place of those before. They are working
// state, not history: no event tells of them.
func (tx *Tx) PutSteps(n uint64, steps []byte) error {
	err := tx.write(func() error {
		if !json.Valid(steps) {
			return fmt.Errorf("internal error: they are not JSON: %.40q", steps)
		}
		key := numberKey(n)
		return tx.steps.Put(key, tx.j.pack.pack(key, steps))
	})
	if err != nil {
		return fmt.Errorf("cannot record the steps of transaction %d: %w", n, err)
	}
	return nil
}

// DeleteSteps forgets the steps of transaction n: it is finished. None is no error.
func (tx *Tx) DeleteSteps(n uint64) error {
	if err := tx.write(func() error { return tx.steps.Delete(numberKey(n)) }); err != nil {
		return fmt.Errorf("cannot delete the steps of transaction %d: %w", n, err)
	}
	return nil
}

// Unfinished returns the numbers of all transactions that have steps, lowest first.
func (tx *Tx) Unfinished() ([]uint64, error) {
	var numbers []uint64
	c := tx.steps.Cursor()
	key, _, err := tx.step(c.First)
	for ; key != nil && err == nil; key, _, err = tx.step(c.Next) {
		n, ok := keyNumber(key)
		if !ok {
			return nil, tx.damaged("steps are stored under the key %x", key)
		}
		numbers = append(numbers, n)
	}
	return numbers, err
}
