// The daemon in this process: what the kernel does not tell of another one,
// goroutines and the heap, comes back to where it was.

package integration

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/daemon"
	"github.com/txupd/txupd/internal/testbed"
)

// inside runs the daemon in this process until the test ends.
func inside(t *testing.T) *system {
	t.Helper()
	testbed.NeedRoot(t)
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, programs: built, log: &logBuffer{}}
	s.machine = testbed.RealRoot(t, testbed.DebianRoot(t), "opensuse", testbed.MachineOptions{})
	s.bus = testbed.PrivateBus(t, testbed.BusOptions{Log: s.log})
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", s.bus.Address)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{Root: s.machine.Root, Version: "inside", Log: slog.New(slog.NewTextHandler(s.log, nil))})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", s.log)
		}
	})
	s.eventually("the daemon takes its name", func() bool { return s.daemonPID() != 0 })
	return s
}

// at rest is how many goroutines there are and how large the heap is, once what ends by itself has ended.
func (s *system) atRest() (goroutines int, heap uint64) {
	s.t.Helper()
	least, same := runtime.NumGoroutine(), 0
	s.eventually("goroutines end", func() bool {
		if n := runtime.NumGoroutine(); n < least {
			least, same = n, 0
		}
		same++
		return same > 20
	})
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers hold is freed by the second
	runtime.ReadMemStats(&m)
	return least, m.HeapAlloc - s.log.size() // what the bus says of an attack is kept by the test
}

func TestNothingOfCallersStays(t *testing.T) {
	s := inside(t)
	warm, err := client.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience/4)
		defer cancel()
		if _, err := warm.Status(ctx); err != nil {
			t.Errorf("the status is not to be had: %v", err)
			buf := make([]byte, 1<<20)
			t.Fatalf("%s", buf[:runtime.Stack(buf, true)])
		}
	}
	s.must("run", "--", "touch", "/usr/one")
	all := questions()
	each := func(r *testbed.RawBus) { // one of everything, so that what is found once is found
		for _, c := range all {
			serial, err := r.Send(c)
			if err == nil {
				_, err = r.Answer(serial)
			}
			if err != nil {
				t.Fatalf("%s: %v", c.Member, err)
			}
		}
	}
	r := s.raw()
	each(r)
	r.Close()
	tr, err := warm.Begin(t.Context(), client.About{})
	if err != nil {
		t.Fatal(err)
	}
	goroutines, heap := s.atRest()
	for _, attack := range []struct {
		what string
		do   func()
	}{
		{"10,000 questions whose answers nobody reads", func() {
			r := s.rawAs(stranger)
			defer r.Close()
			for i := range 10_000 {
				if _, err := r.Send(all[i%len(all)]); err != nil {
					t.Fatal(err)
				}
				if i%1000 == 0 {
					ask()
				}
			}
		}},
		{"a crowd", func() {
			var crowd sync.WaitGroup
			for range 50 {
				crowd.Go(func() {
					r := s.rawAs(stranger)
					defer r.Close()
					for i := range 200 {
						if _, err := r.Send(all[i%len(all)]); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			ask()
			crowd.Wait()
			ask()
		}},
		{"clients that leave at once", func() {
			for i := range 1000 {
				r := s.rawAs(stranger)
				if _, err := r.Send(all[i%len(all)]); err != nil {
					t.Fatal(err)
				}
				r.Close()
			}
		}},
		{"readers that come and go", func() {
			for range 300 {
				r := s.raw()
				c := raw(target{path: bus.TransactionPath(tr.Number()), iface: bus.TransactionInterface, method: "Attach"}, map[string]dbus.Variant{})
				if _, err := r.Send(c); err != nil {
					t.Fatal(err)
				}
				r.Close()
			}
		}},
		{"arguments of every size", func() {
			r := s.raw()
			defer r.Close()
			for size := 1 << 10; size <= 16<<20; size *= 2 {
				for range 4 {
					if _, err := r.Send(question(bus.ManagerInterface, "Blame", strings.Repeat("x", size), map[string]dbus.Variant{})); err != nil {
						t.Fatal(err)
					}
				}
				ask()
			}
		}},
	} {
		began := time.Now()
		attack.do()
		ask()
		var now int
		s.eventually(attack.what+": goroutines end", func() bool { now = runtime.NumGoroutine(); return now <= goroutines })
		_, left := s.atRest()
		const slack = 8 << 20
		if left > heap+slack {
			t.Errorf("%s: the heap has %d KiB, %d before", attack.what, left>>10, heap>>10)
		}
		t.Logf("%s: %d goroutines and %d KiB, before %d and %d KiB; %v", attack.what, now, left>>10, goroutines, heap>>10, time.Since(began).Round(time.Millisecond))
	}
	if err := tr.Discard(t.Context()); err != nil {
		t.Error(err)
	}
	warm.Close()
}
