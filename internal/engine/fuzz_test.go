package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
)

// FuzzDecode: recorded steps that are read are recorded again as the same, and a
// step that is not known stops everything before anything is done.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"kind":"a","status":"intended","data":{"number":12,"uuid":"8f2c7d1e-1111-4222-8333-444455556666"}},{"kind":"switch","status":"done","data":"x"}]`))
	f.Add([]byte(`[{"kind":"zz","status":"what","data":null,"more":1},{}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := Decode(raw)
		if err != nil {
			return
		}
		again, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		q, err := Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := q.Encode(); err != nil || !bytes.Equal(again, twice) || len(p.steps) != len(q.steps) {
			t.Fatalf("%s is %s, then %s (%v)", raw, again, twice, err)
		}
		acted := 0
		act := func(context.Context, json.RawMessage) error { acted++; return nil }
		e := New(map[string]Kind{
			"a": {Do: act, Undo: act}, "b": {Do: act},
			"switch": {Do: act, Happened: func(context.Context, json.RawMessage) (bool, error) { return false, nil }},
		})
		known := true
		for _, s := range p.steps {
			_, ok := e.kinds[s.Kind]
			known = known && ok
		}
		ctx := context.Background()
		_, asked := e.Committed(ctx, p)
		for _, err := range []error{asked, e.Undo(ctx, q), e.Finish(ctx, p)} {
			if known != (err == nil) || !known && !errors.Is(err, ErrUnknownKind) {
				t.Fatalf("%s: %v", raw, err)
			}
		}
		if !known && acted > 0 {
			t.Fatalf("%s: %d steps acted", raw, acted)
		}
	})
}
