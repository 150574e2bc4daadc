package busserver

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/update"
)

// TestPace: whatever comes, there are never more than ten in a second, and the
// last one is sent in the end.
func TestPace(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var p pace
		var sent []time.Time
		var last string
		now := time.Unix(1000, 0)
		send := func(e update.Event) { sent, last = append(sent, now), e.Progress.Text }
		step := func() {
			if e, ok, wait := p.again(now); ok {
				send(e)
			} else if wait < 0 || wait > pacesIn {
				t.Fatalf("the next is due in %s", wait)
			}
		}
		newest := ""
		for i := range 500 {
			now = now.Add(time.Duration(random.IntN(60)) * time.Millisecond)
			step()
			newest = time.Duration(i).String()
			e := update.Event{Kind: update.Progressed, Progress: bus.Progress{Phase: []string{"download", "install", "commit"}[random.IntN(3)], Fraction: random.Float64() - 0.3, Text: newest}}
			if p.take(e, now) {
				send(e)
			}
		}
		for range 20 {
			now = now.Add(100 * time.Millisecond)
			step()
		}
		if last != newest {
			t.Fatalf("the last that was sent is %s, not %s", last, newest)
		}
		for i := maxPaces; i < len(sent); i++ {
			if sent[i].Sub(sent[i-maxPaces]) < time.Second {
				t.Fatalf("%d signals in %s", maxPaces+1, sent[i].Sub(sent[i-maxPaces]))
			}
		}
	}
	var p pace
	tr := &update.Transaction{}
	for range 2 * maxPaces {
		p.take(update.Event{Transaction: tr}, time.Unix(1000, 0))
	}
	p.forget(tr)
	if _, ok, wait := p.again(time.Unix(2000, 0)); ok || wait != 0 {
		t.Error("progress of what has ended is sent")
	}
}
