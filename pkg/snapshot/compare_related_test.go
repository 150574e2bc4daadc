package snapshot

import (
	"math"
	"testing"
)

func TestRelatedFindsTheDivergence(t *testing.T) {
	id := func(n byte) UUID { return UUID{n} }
	// Subvolume n was forked from `from` in generation `origin`.
	fork := func(n, from byte, origin uint64) Subvolume {
		return Subvolume{ID: SubvolumeID(256 + uint64(n)), UUID: id(n), ParentUUID: id(from), Origin: origin}
	}
	parent := fork(1, 0, 10)
	base := fork(2, 1, 20)
	writable := fork(3, 2, 21)
	after := fork(4, 3, 40)
	sibling := fork(5, 1, 15)
	later := fork(6, 3, 50)
	stranger := fork(7, 0, 12)
	nephew := fork(8, 9, 30) // of 9, which is gone
	niece := fork(10, 9, 25)
	nameless := Subvolume{ID: 300}
	loop1, loop2 := fork(11, 12, 60), fork(12, 11, 61)
	family := []Subvolume{parent, base, writable, after, sibling, later, stranger, nephew, niece, nameless, loop1, loop2}

	for _, c := range []struct {
		name string
		a, b Subvolume
		all  []Subvolume
		want uint64
		ok   bool
	}{
		{"base and after", base, after, family, 21, true},
		{"parent and after", parent, after, family, 20, true},
		{"two forks of one", base, sibling, family, 15, true},
		{"a fork and a sibling's descendant", after, sibling, family, 15, true},
		{"two images of one", after, later, family, 40, true},
		{"the source and its fork", writable, after, family, 40, true},
		{"one and the same", base, base, family, math.MaxUint64, true},
		{"strangers", base, stranger, family, 0, false},
		{"children of one that is gone", nephew, niece, family, 25, true},
		{"a chain that is broken", base, after, []Subvolume{parent, base, after}, 0, false},
		{"without uuids", nameless, stranger, family, 0, false},
		{"two without uuids", nameless, Subvolume{ID: 301}, family, 0, false},
		{"a chain that ends in itself", loop1, base, family, 0, false},
		{"neither is in the list", base, sibling, nil, 15, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, pair := range [][2]Subvolume{{c.a, c.b}, {c.b, c.a}} {
				got, ok := Related(pair[0], pair[1], c.all)
				if got != c.want || ok != c.ok {
					t.Errorf("got %d, %v, want %d, %v", got, ok, c.want, c.ok)
				}
			}
		})
	}
}
