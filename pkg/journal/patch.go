// Differences between two states of a record as JSON merge patches (RFC 7386).
// Only what this version knows is compared; members that a newer one wrote are
// neither seen nor touched, also inside the elements of lists.

package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/txupd/txupd/pkg/journal/record"
)

// object is a JSON object whose members are not parsed further.
type object map[string]json.RawMessage

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// encodeJSON is json.Marshal without escaping for HTML, which nobody reads here.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// parseTree keeps numbers as they are written: a newer version's may not fit a float.
func parseTree(raw []byte) (any, error) {
	var tree any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	return tree, nil
}

// members renders a record's JSON members without those that are null: a
// merge patch cannot tell null from absent, so a stored record has no nulls.
func members(rec record.Record) (object, error) {
	rec.FileChanges = nil // kept apart, see files.go
	raw, err := encodeJSON(rec)
	if err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	for name, value := range o {
		if isNull(value) {
			delete(o, name)
		}
	}
	return o, nil
}

// diffRecord returns the merge patch that leads from the stored record old (nil
// for none) to rec.
func diffRecord(old []byte, rec record.Record) (object, error) {
	next, err := members(rec)
	if err != nil {
		return nil, err
	}
	stored := object{}
	if old != nil {
		if err := json.Unmarshal(old, &stored); err != nil {
			return nil, fmt.Errorf("cannot read the stored record: %w", err)
		}
	}
	patch, changed := object{}, object{}
	for name, value := range next {
		was, ok := stored[name]
		switch {
		case !ok:
			patch[name] = value
		case !bytes.Equal(was, value):
			changed[name] = was
		}
	}
	for name, was := range stored {
		if _, ok := next[name]; !ok {
			changed[name] = was
		}
	}
	if len(changed) == 0 {
		return patch, nil
	}
	known, err := reread(changed)
	if err != nil {
		return nil, err
	}
	for name, was := range changed {
		seen, isKnown := known[name]
		value, wanted := next[name]
		switch {
		case !wanted && isKnown:
			patch[name] = json.RawMessage("null")
		case wanted && !isKnown:
			patch[name] = value
		case wanted:
			if err := diffMember(patch, name, seen, was, value); err != nil {
				return nil, err
			}
		}
	}
	return patch, nil
}

// reread passes members of a stored record through the types of this version: what it does not know is gone.
func reread(stored object) (object, error) {
	raw, err := encodeJSON(stored)
	if err != nil {
		return nil, err
	}
	var rec record.Record
	if err := json.Unmarshal(raw, &rec); err != nil {
		return nil, fmt.Errorf("cannot read the stored record: %w", err)
	}
	return members(rec)
}

func diffMember(patch object, name string, known, stored, next json.RawMessage) error {
	var trees [3]any
	for i, raw := range []json.RawMessage{known, stored, next} {
		tree, err := parseTree(raw)
		if err != nil {
			return err
		}
		trees[i] = tree
	}
	p, changed := diffTree(trees[0], trees[1], trees[2])
	if !changed {
		return nil
	}
	raw, err := encodeJSON(p)
	if err != nil {
		return err
	}
	patch[name] = raw
	return nil
}

// diffTree compares known (stored as this version reads it) with next, and
// returns what to patch stored with.
func diffTree(known, stored, next any) (any, bool) {
	if reflect.DeepEqual(known, next) {
		return nil, false
	}
	switch n := next.(type) {
	case map[string]any:
		k, ok1 := known.(map[string]any)
		s, ok2 := stored.(map[string]any)
		if !ok1 || !ok2 {
			return next, true
		}
		patch := map[string]any{}
		for name, value := range n {
			was, ok := k[name]
			if !ok {
				patch[name] = value
			} else if p, changed := diffTree(was, s[name], value); changed {
				patch[name] = p
			}
		}
		for name := range k {
			if _, ok := n[name]; !ok {
				patch[name] = nil
			}
		}
		return patch, len(patch) > 0
	case []any:
		k, ok1 := known.([]any)
		s, ok2 := stored.([]any)
		if !ok1 || !ok2 || len(k) != len(s) {
			return next, true
		}
		return mergeList(k, s, n), true
	default:
		return next, true
	}
}

// mergeList carries what stored holds beyond known over to next. Equal elements
// at both ends are matched, and those between them one to one if as many are
// left; otherwise it cannot be told which became which.
func mergeList(known, stored, next []any) []any {
	out := slices.Clone(next) // not nil where next is not: null would mean absent
	head := 0
	for head < len(known) && head < len(next) && reflect.DeepEqual(known[head], next[head]) {
		out[head] = stored[head]
		head++
	}
	tail := 0
	for tail < len(known)-head && tail < len(next)-head &&
		reflect.DeepEqual(known[len(known)-1-tail], next[len(next)-1-tail]) {
		out[len(next)-1-tail] = stored[len(known)-1-tail]
		tail++
	}
	if len(known) == len(next) {
		for i := head; i < len(next)-tail; i++ {
			if p, changed := diffTree(known[i], stored[i], next[i]); changed {
				out[i] = mergeTree(stored[i], p)
			} else {
				out[i] = stored[i]
			}
		}
	}
	return out
}

// mergeTree is MergePatch of RFC 7386, section 2.
func mergeTree(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		for name, value := range t {
			merged[name] = value
		}
	}
	for name, value := range p {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = mergeTree(merged[name], value)
		}
	}
	return merged
}

// applyPatch merges patch into the stored record old (nil for none). The result depends on
// nothing else, so that replaying the events gives the stored bytes again.
func applyPatch(old []byte, patch object) ([]byte, error) {
	stored := object{}
	if old != nil {
		if err := json.Unmarshal(old, &stored); err != nil {
			return nil, fmt.Errorf("cannot read the stored record: %w", err)
		}
	}
	for name, value := range patch {
		switch {
		case isNull(value):
			delete(stored, name)
		case len(value) > 0 && value[0] == '{':
			merged, err := mergeMember(stored[name], value)
			if err != nil {
				return nil, err
			}
			stored[name] = merged
		default:
			stored[name] = value
		}
	}
	return encodeJSON(stored)
}

func mergeMember(target, patch json.RawMessage) (json.RawMessage, error) {
	p, err := parseTree(patch)
	if err != nil {
		return nil, err
	}
	var t any
	if target != nil {
		if t, err = parseTree(target); err != nil {
			return nil, err
		}
	}
	return encodeJSON(mergeTree(t, p))
}
