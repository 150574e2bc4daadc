package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
)

func TestWatchTellsWhatHappens(t *testing.T) {
	half, two := 0.5, int32(2)
	f := newFake(t)
	f.events = []bus.Event{
		{Event: bus.EventWatching, Number: 3},
		{Event: bus.EventBegan, Number: 4, Kind: "pkg-add", Message: "greet\nall"},
		{Event: bus.EventProgress, Number: 4, Phase: "install", Fraction: &half, Text: "Unpacking hello"},
		{Event: bus.EventProgress, Number: 4, Phase: "install", Fraction: &half, Text: "Configuring hello"},
		{Event: bus.EventProgress, Number: 4, Phase: "commit", Text: "making it the default"},
		{Event: bus.EventAdded, Number: 4, Phase: "committed", Message: "greet all"},
		{Event: bus.EventEnded, Number: 4, Phase: "committed"},
		{Event: bus.EventNext, Number: 4},
		{Event: bus.EventBegan, Number: 5, Kind: "run"},
		{Event: bus.EventCommand, Number: 5, Exit: &two},
		{Event: bus.EventEnded, Number: 5, Phase: "failed", Error: "x", ErrorMessage: "the command \x1b[2J failed\nand more"},
		{Event: bus.EventRemoved, Number: 3},
	}
	for i := range f.events {
		f.events[i].Time = now.Add(time.Duration(i-1) * time.Second)
	}
	got := f.txctl(nil, "watch")
	want := `15:09:25  watching until Ctrl-C; snapshot 3 boots next
15:09:26  transaction 4 began (pkg-add): greet …
15:09:27  transaction 4: installing
15:09:29  transaction 4: making it the default
15:09:30  snapshot 4 is there: greet all
15:09:31  transaction 4: committed
15:09:32  snapshot 4 boots next
15:09:33  transaction 5 began (run)
15:09:34  transaction 5: a command ended with status 2
15:09:35  transaction 5: failed: the command \x1b[2J failed …
15:09:36  snapshot 3 is gone
`
	if got.code != 0 || got.stdout != want {
		t.Errorf("exit %d (-want +got):\n%s", got.code, cmp.Diff(want, got.stdout))
	}
	got = f.txctl(nil, "watch", "--json")
	all := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	if len(all) != len(f.events) {
		t.Fatalf("%d documents of %d events:\n%s", len(all), len(f.events), got.stdout)
	}
	for i, line := range all {
		var e bus.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.events[i], e); diff != "" {
			t.Errorf("document %d (-want +got):\n%s", i, diff)
		}
	}
}
