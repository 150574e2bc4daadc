// What was reported as done is done, also where the power is cut in the next
// moment: the disks as they are then are looked at, and not what is in memory.

package integration

import (
	"testing"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/testbed"
)

func TestDoneSurvivesTheNextMoment(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T) *system{
		"default subvolume":        func(t *testing.T) *system { return newSystem(t, options{}) },
		"boot menu":                func(t *testing.T) *system { return withGRUB(t, 0, options{}) },
		"boot menu on a partition": func(t *testing.T) *system { return withGRUB(t, 64, options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			s.must("status")
			var told []oracle.Acknowledged
			done := func(what string, act func(), expect func(now oracle.Facts) oracle.Expect) {
				t.Helper()
				before := s.facts(false)
				act()
				at := testbed.CutSystem(t, s.machine.Root)
				cut, err := oracle.Look(oracle.Options{Root: at, Offline: true})
				if err != nil {
					t.Fatal(err)
				}
				e := expect(s.facts(false))
				e.Acknowledged = told
				for _, f := range oracle.Judge(before, cut, e) {
					t.Errorf("%s: %s", what, f)
				}
			}
			run := func(message string) (n uint64) {
				t.Helper()
				done(message, func() {
					s.must("run", "-m", message, "--", "sh", "-c", change)
				}, func(now oracle.Facts) oracle.Expect {
					n = now.Next()
					told = append(told, oracle.Acknowledged{Number: n, Message: message})
					return oracle.Expect{Next: []uint64{n}}
				})
				return n
			}
			one, two := run("one"), run("two")
			done("rollback", func() { s.must("rollback", "-y", itoa64(one)) }, func(oracle.Facts) oracle.Expect {
				return oracle.Expect{Next: []uint64{one}}
			})
			done("delete", func() { s.must("delete", "-y", itoa64(two)) }, func(oracle.Facts) oracle.Expect {
				told[1].Deleted = true
				return oracle.Expect{Next: []uint64{one}}
			})
		})
	}
}
