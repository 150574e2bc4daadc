// Events as they happen.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
)

// Watching makes lines of events.
type Watching struct {
	screen Screen
	doing  map[uint64]string // the last that was said of each transaction's progress
}

// NewWatching makes one for a screen.
func (s Screen) NewWatching() *Watching { return &Watching{s, map[uint64]string{}} }

// Line is what is said of an event, "" for nothing: of progress only what is new is.
func (w *Watching) Line(e bus.Event) string {
	words := w.words(e)
	if words == "" {
		return ""
	}
	clock := e.Time.In(w.screen.Now.Location()).Format("15:04:05")
	return faint(clock) + "  " + cut(words, max(0, w.screen.Width-len(clock)-2)) + "\n"
}

func (w *Watching) words(e bus.Event) string {
	about := func(words string) string {
		if message := firstLine(e.Message); message != "" {
			return words + ": " + message
		}
		return words
	}
	switch e.Event {
	case bus.EventWatching:
		return fmt.Sprintf("watching until Ctrl-C; snapshot %d boots next", e.Number)
	case bus.EventBegan:
		return about(fmt.Sprintf("transaction %d began (%s)", e.Number, plain(e.Kind)))
	case bus.EventProgress:
		what, _ := doing(e.Phase, e.Text)
		if what == w.doing[e.Number] {
			return ""
		}
		w.doing[e.Number] = what
		return fmt.Sprintf("transaction %d: %s", e.Number, what)
	case bus.EventCommand:
		if e.Exit != nil && *e.Exit != 0 {
			return fmt.Sprintf("transaction %d: %s", e.Number, red(fmt.Sprintf("a command ended with status %d", *e.Exit)))
		}
		return ""
	case bus.EventEnded:
		delete(w.doing, e.Number)
		words := plain(e.Phase)
		switch {
		case e.Phase == "committed":
			words = green(words)
		case e.ErrorMessage != "":
			words = red(words) + ": " + firstLine(e.ErrorMessage)
		}
		return fmt.Sprintf("transaction %d: %s", e.Number, words)
	case bus.EventAdded:
		return about(fmt.Sprintf("snapshot %d is there", e.Number))
	case bus.EventRemoved:
		return fmt.Sprintf("snapshot %d is gone", e.Number)
	case bus.EventReboot:
		return bold(firstLine(e.Message))
	case bus.EventNext:
		return bold(fmt.Sprintf("snapshot %d boots next", e.Number))
	}
	return plain(strings.TrimSpace(e.Event))
}
