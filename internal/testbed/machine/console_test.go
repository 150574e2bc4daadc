package machine

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// menuText draws a menu as GRUB 2.12 does on a serial terminal.
func menuText(entries []string, marked int) string {
	var b strings.Builder
	b.WriteString("\x1b[?25l\x1b[m\x1b[H\x1b[J\x1b[1;1H\x1b[2;25HGNU GRUB  version 2.12-9+deb13u2\n\n\x1b[m\x1b[4;2H+" + strings.Repeat("-", 76) + "+")
	for row := 5; row < 17; row++ {
		fmt.Fprintf(&b, "\x1b[%d;2H|\x1b[%d;79H|", row, row)
	}
	b.WriteString("\x1b[17;2H+" + strings.Repeat("-", 76) + "+\x1b[m\x1b[18;2H\x1b[19;2H     Use the ^ and v keys to select which entry is highlighted.          \n")
	for i, e := range entries {
		b.WriteString(entryText(e, i, i == marked))
	}
	b.WriteString("\x1b[22;1H   The highlighted entry will be executed automatically in 1s.                 ")
	return b.String()
}

func entryText(title string, i int, marked bool) string {
	if marked {
		return fmt.Sprintf("\x1b[7m\x1b[%d;3H*%-75.75s\x1b[m\x1b[%d;78H", 5+i, title, 5+i)
	}
	return fmt.Sprintf("\x1b[m\x1b[%d;3H %-75.75s\x1b[m\x1b[%d;78H", 5+i, title, 5+i)
}

// fakeGRUB is a menu that obeys keys.
type fakeGRUB struct {
	console *console
	entries []string
	marked  int
	chosen  string
}

func (g *fakeGRUB) show(text string) {
	g.console.change(func() { g.console.text = append(g.console.text, text...) })
}

// press draws what a key changes a while later: the mark goes before it comes.
func (g *fakeGRUB) press(key string) error {
	before := g.marked
	switch key {
	case keyUp:
		g.marked = max(g.marked-1, 0)
	case keyDown:
		g.marked = min(g.marked+1, len(g.entries)-1)
	case keyEnter:
		g.chosen = g.entries[g.marked]
	}
	if g.marked == before {
		return nil
	}
	after := g.marked
	go func() {
		g.show(entryText(g.entries[before], before, false))
		g.show(entryText(g.entries[after], after, true))
	}()
	return nil
}

func TestAnEntryIsChosenAsAPersonWould(t *testing.T) {
	entries := []string{"1: greet (2026-11-23)", "0: the system as found", "Debian GNU/Linux", "Advanced options for Debian GNU/Linux", "UEFI Firmware Settings"}
	for title, c := range map[string]struct {
		from int
		want string
	}{
		"^0: ":       {0, entries[1]},
		"^1: ":       {0, entries[0]},
		"Firmware":   {1, entries[4]},
		"^1: .*gree": {4, entries[0]},
		"^Debian":    {2, entries[2]},
		"Linux$":     {4, entries[2]}, // the first of two
	} {
		t.Run(title, func(t *testing.T) {
			g := &fakeGRUB{console: &console{}, entries: entries, marked: c.from}
			go func() { // piece by piece, as it comes over a line
				text := "\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: starting Boot0001\r\n" + menuText(entries, c.from)
				for ; len(text) > 7; text = text[7:] {
					g.show(text[:7])
				}
				g.show(text)
			}()
			if err := g.console.choose(limited(t), regexp.MustCompile(title), g.press); err != nil {
				t.Fatal(err)
			}
			if g.chosen != c.want {
				t.Errorf("%q was chosen, not %q", g.chosen, c.want)
			}
		})
	}
}

func ignored(string) error { return nil }

func TestAnEntryThatIsNotThereIsToldWithThoseThatAre(t *testing.T) {
	t.Parallel() // it waits for what never comes
	c := &console{}
	c.text = []byte(menuText([]string{"one", "two"}, 1))
	err := c.choose(limited(t), regexp.MustCompile("three"), ignored)
	if err == nil || !strings.Contains(err.Error(), `["one" "two"]`) {
		t.Errorf("choosing it gave %v", err)
	}
}

func TestTheMenuOfAFormerBootIsNotLookedAt(t *testing.T) {
	t.Parallel() // it waits for what never comes
	c := &console{}
	c.text = []byte(menuText([]string{"old"}, 0))
	c.reset()
	c.text = append(c.text, menuText([]string{"new"}, 0)...)
	if err := c.choose(limited(t), regexp.MustCompile("old"), ignored); err == nil {
		t.Error("an entry of the former boot was chosen")
	}
}

func TestTheConsoleIsReadWithoutWhatATerminalObeys(t *testing.T) {
	c := &console{}
	c.text = []byte("before\r\n")
	c.reset()
	c.text = append(c.text, "\x1b[0;1;39mWelcome\x1b[0m\r\r\n[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mtxupd.service\x1b[0m\r\n\x1b[!p\x1b]104\x07\x1b[?7h"...)
	if got, err := c.wait(limited(t), regexp.MustCompile(`OK  \] Started \S+`)); err != nil || got != "OK  ] Started txupd.service" {
		t.Errorf("found %q, %v", got, err)
	}
	if got := c.all(); got != "before\nWelcome\n[  OK  ] Started txupd.service\n" {
		t.Errorf("the console shows %q", got)
	}
}
