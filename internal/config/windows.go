// A list of tables: the windows in which the machine may reboot.

package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/txupd/txupd/internal/window"
)

// WindowTable is one [[reboot.window]] as it is written.
type WindowTable struct {
	Days   []string `json:"days,omitempty"`
	Start  string   `json:"start"`
	Length string   `json:"length"`
	Zone   string   `json:"zone,omitempty"`
}

// standardWindow is there where none is configured: at night, when others update too.
var standardWindow = WindowTable{Start: "03:30", Length: "1h30m"}

// Calendar is when the machine may reboot.
func (r Reboot) Calendar() window.Calendar {
	tables := r.Window
	if len(tables) == 0 {
		tables = []WindowTable{standardWindow}
	}
	var c window.Calendar
	for _, t := range tables {
		w, err := t.window()
		if err != nil {
			panic(err) // it was checked when it was read
		}
		c = append(c, w)
	}
	return c
}

func (t WindowTable) window() (w window.Window, err error) {
	if w.Days, err = window.ParseDays(t.Days); err != nil {
		return w, fmt.Errorf("days: %w", err)
	}
	if w.Start, err = window.ParseStart(t.Start); err != nil {
		return w, fmt.Errorf("start: %w", err)
	}
	w.Length, err = time.ParseDuration(t.Length)
	if err != nil || w.Length < time.Minute || w.Length > window.MaxLength || w.Length%time.Second != 0 {
		return w, fmt.Errorf(`length: %q is not from "1m" to "168h"`, t.Length)
	}
	if w.Zone, err = window.ParseZone(t.Zone); err != nil {
		return w, fmt.Errorf("zone: %w", err)
	}
	return w, nil
}

// set sets one key of the table.
func (t *WindowTable) set(key string, n *unstable.Node) error {
	texts := map[string]*string{"start": &t.Start, "length": &t.Length, "zone": &t.Zone}
	switch field := texts[key]; {
	case field != nil:
		if n.Kind != unstable.String {
			return fmt.Errorf("%s cannot be %s: it takes a text", key, shown(n))
		}
		*field = string(n.Data)
	case key == "days":
		if n.Kind != unstable.Array {
			return fmt.Errorf(`days cannot be %s: it takes a list such as ["Sat", "Sun"]`, shown(n))
		}
		t.Days = []string{}
		for items := n.Children(); items.Next(); {
			if item := items.Node(); item.Kind == unstable.String {
				t.Days = append(t.Days, string(item.Data))
			} else if item.Kind != unstable.Comment {
				return fmt.Errorf("days cannot hold %s", shown(item))
			}
		}
		if len(t.Days) == 0 {
			return errors.New("days is empty: leave it out for every day")
		}
	default:
		return fmt.Errorf("a window has no %q: it has days, start, length and zone", key)
	}
	return nil
}

const windowKey = "reboot.window"

func windows(field *[]WindowTable, doc string) setting {
	return setting{
		key: windowKey, doc: doc, wants: "tables [[" + windowKey + `]] with start = "03:30" and length = "1h30m", and days and zone where they matter`,
		reset: func() { *field = nil },
		get:   func() any { return append([]WindowTable{}, *field...) },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.Array {
				return errUnfit
			}
			list := []WindowTable{}
			for items := n.Children(); items.Next(); {
				item := items.Node()
				if item.Kind == unstable.Comment {
					continue
				}
				if item.Kind != unstable.InlineTable {
					return errUnfit
				}
				var t WindowTable
				for pairs := item.Children(); pairs.Next(); {
					if pair := pairs.Node(); pair.Kind == unstable.KeyValue {
						if err := t.set(dotted(pair), pair.Value()); err != nil {
							return err
						}
					}
				}
				if _, err := t.window(); err != nil {
					return err
				}
				list = append(list, t)
			}
			*field = list
			return nil
		},
	}
}

// dotted is the key of a pair as it is written.
func dotted(pair *unstable.Node) string {
	var k key
	for parts := pair.Key(); parts.Next(); {
		k.parts = append(k.parts, string(parts.Node().Data))
	}
	return k.String()
}

// literal writes the table as a value.
func (t WindowTable) literal() string {
	var pairs []string
	if len(t.Days) > 0 {
		pairs = append(pairs, "days = "+literal(t.Days))
	}
	pairs = append(pairs, "start = "+literal(t.Start), "length = "+literal(t.Length))
	if t.Zone != "" {
		pairs = append(pairs, "zone = "+literal(t.Zone))
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

// openTable is a [[reboot.window]] of a file, whose keys are still to come.
type openTable struct {
	WindowTable
	line int
}

// close checks the tables that a file had, and puts them in the place of those of earlier files.
func (r *reader) close(field *[]WindowTable) {
	if len(r.tables) == 0 {
		return
	}
	list := []WindowTable{}
	for _, t := range r.tables {
		if _, err := t.window(); err != nil {
			r.say(t.line, "[[%s]]: %v", windowKey, err)
		}
		list = append(list, t.WindowTable)
	}
	if len(r.problems) == 0 {
		*field = list
		r.origins[windowKey] = fmt.Sprintf("%s:%d", r.file, r.tables[0].line)
	}
}
