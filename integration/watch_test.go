package integration

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
)

// TestWatch: who watches sees what anybody does, also of a daemon that was
// started after the one it asked first had ended.
func TestWatch(t *testing.T) {
	s := newSystem(t, options{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := s.command("watch", "--json")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := bufio.NewScanner(r)
	// until reads up to an event and lists what came; progress is not always the same.
	until := func(last string) (names []string) {
		t.Helper()
		for lines.Scan() {
			var e bus.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			if e.Event != bus.EventProgress {
				names = append(names, e.Event+" "+itoa64(e.Number)+" "+e.Phase)
			}
			if e.Event == last {
				return names
			}
		}
		t.Fatalf("the watch ended before %s, after %q", last, names)
		return nil
	}
	until(bus.EventWatching)
	s.txctl("run", "--", "false")
	failed := until(bus.EventEnded)
	s.stopDaemon()
	s.must("run", "-m", "seen", "--", "touch", "/usr/seen")
	n := itoa64(s.pending())
	made := until(bus.EventEnded)
	if !slices.ContainsFunc(made, func(name string) bool { return name == bus.EventNext+" "+n+" " }) {
		made = append(made, until(bus.EventNext)...)
	}
	slices.Sort(made)
	if len(failed) != 3 || failed[0] != bus.EventBegan+" 2 " || failed[2] != bus.EventEnded+" 2 failed" {
		t.Errorf("of a command that failed it saw %q", failed)
	}
	want := []string{bus.EventNext + " " + n + " ", bus.EventCommand + " " + n + " ", bus.EventAdded + " " + n + " committed", bus.EventBegan + " " + n + " ", bus.EventEnded + " " + n + " committed"}
	slices.Sort(want)
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("of a change it saw (-want +got):\n%s", diff)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
