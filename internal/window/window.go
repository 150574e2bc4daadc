// Package window knows when something may be done that disturbs: on certain
// days, from a time on, for so long, by the clock of some place.
//
// A window opens exactly once on each of its days, also where the clock of the
// place jumps: where its start is skipped, at the jump; where the clock shows
// its start twice, at the first time. From then on it is open for its length
// as a stopwatch has it.
package window

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxLength is a week: a longer window would open again while it is open.
const MaxLength = 7 * 24 * time.Hour

// Days is a set of days of the week; none stands for all of them.
type Days uint8

// Window is open from Start on each of Days, for Length.
type Window struct {
	Days   Days
	Start  time.Duration // since midnight, by the clock; less than a day
	Length time.Duration
	Zone   *time.Location
}

// Span is a time from Open on, up to and without Close.
type Span struct{ Open, Close time.Time }

// Contains reports whether t is in it.
func (s Span) Contains(t time.Time) bool { return !t.Before(s.Open) && t.Before(s.Close) }

// Calendar is open when one of its windows is.
type Calendar []Window

// reach is more than clocks differ from each other and from what they were.
const reach = 36 * time.Hour

// Next is the time around t in which the calendar is open, or the first after
// it. Windows that overlap or touch are one. It is empty for an empty calendar.
func (c Calendar) Next(t time.Time) Span {
	// Spans that begin in two weeks: one of each window is among them, however
	// long the ones before are that it is to be united with.
	var spans []Span
	for _, w := range c {
		spans = append(spans, w.between(t.Add(-2*MaxLength), t.Add(2*MaxLength))...)
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.Open.Compare(b.Open) })
	var united Span
	for _, s := range spans {
		switch {
		case united.Close.IsZero() || s.Open.After(united.Close):
			if united.Close.After(t) {
				return united
			}
			united = s
		case s.Close.After(united.Close):
			united.Close = s.Close
		}
	}
	if united.Close.After(t) {
		return united
	}
	return Span{}
}

// between lists the spans that belong to days around from up to to, by their days.
func (w Window) between(from, to time.Time) []Span {
	var spans []Span
	y, m, d := from.Add(-reach).UTC().Date()
	for day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC); !day.After(to.Add(reach)); day = day.AddDate(0, 0, 1) {
		if w.Days == 0 || w.Days&(1<<day.Weekday()) != 0 {
			open := w.opening(day)
			spans = append(spans, Span{open, open.Add(w.Length)})
		}
	}
	return spans
}

// opening is the first moment at which the clock shows the start of the day, or
// a later time where it is skipped. The day is given as its midnight in UTC.
func (w Window) opening(day time.Time) time.Time {
	shown := day.Add(w.Start) // as if the clock showed UTC
	for at := shown.Add(-reach).In(w.Zone); ; {
		_, offset := at.Zone()
		begin, end := at.ZoneBounds()
		open := shown.Add(-time.Duration(offset) * time.Second)
		if !begin.IsZero() && open.Before(begin) {
			open = begin
		}
		if end.IsZero() || open.Before(end) {
			return open.In(w.Zone)
		}
		at = end
	}
}

var names = [...]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// ParseDays reads days and ranges of them: "Sat", "mon-fri", "Fri-Mon".
func ParseDays(list []string) (Days, error) {
	var days Days
	for _, item := range list {
		first, last, ranged := strings.Cut(item, "-")
		from, to := slices.IndexFunc(names[:], same(first)), slices.IndexFunc(names[:], same(last))
		if !ranged {
			to = from
		}
		if from < 0 || to < 0 {
			return 0, fmt.Errorf(`%q is no day: Mon, Tue, Wed, Thu, Fri, Sat, Sun and ranges such as Mon-Fri are accepted`, item)
		}
		for d := from; ; d = (d + 1) % len(names) {
			days |= 1 << d
			if d == to {
				break
			}
		}
	}
	return days, nil
}

func same(day string) func(string) bool {
	return func(name string) bool { return strings.EqualFold(name, day) }
}

// ParseStart reads a time of day, "03:30".
func ParseStart(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf(`%q is no time of day such as "03:30"`, text)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// ParseZone reads the name of a time zone; "" is that of this machine.
func ParseZone(name string) (*time.Location, error) {
	if name == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf(`%q is no time zone that this machine knows, such as "Europe/Berlin" or "UTC"`, name)
	}
	return zone, nil
}

// String is the window as people write it: "Mon-Fri 03:30 for 1h30m, Europe/Berlin".
func (w Window) String() string {
	zone := ""
	if w.Zone != time.Local {
		zone = ", " + w.Zone.String()
	}
	start := time.Time{}.Add(w.Start).Format("15:04")
	length := strings.TrimSuffix(w.Length.String(), "0s")
	if strings.HasSuffix(length, "h0m") {
		length = strings.TrimSuffix(length, "0m")
	}
	return fmt.Sprintf("%s %s for %s%s", w.Days, start, length, zone)
}

// String lists the days from Monday on, three and more in a row as a range.
func (d Days) String() string {
	if d == 0 || d == 1<<len(names)-1 {
		return "daily"
	}
	has := func(i int) bool { return i < 7 && d&(1<<((i+1)%7)) != 0 }
	name := func(i int) string { return names[(i+1)%7] }
	var list []string
	for i := 0; i < 7; i++ {
		if !has(i) {
			continue
		}
		last := i
		for has(last + 1) {
			last++
		}
		if last-i >= 2 {
			list = append(list, name(i)+"-"+name(last))
			i = last
		} else {
			list = append(list, name(i))
		}
	}
	return strings.Join(list, ",")
}
