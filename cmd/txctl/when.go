// Times and paths on the command line.

package main

import (
	"strings"
	"time"
)

// clocks are dates with a time of day, as they may be written.
var clocks = []string{"2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339}

// instant reads a point in time, in local time where it names none.
func (a *app) instant(name, text string) (time.Time, error) {
	now := a.now()
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	case "never", "":
	default:
		for _, layout := range append([]string{time.DateOnly}, clocks...) {
			// The zero time would be taken for none.
			if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil && !t.IsZero() {
				return t, nil
			}
		}
		if seconds, err := duration(name, text); err == nil {
			return now.Add(-time.Duration(seconds) * time.Second), nil
		}
	}
	return time.Time{}, usagef("accepted are a date (2026-03-14, \"2026-03-14 15:04\"), today, yesterday, or how long ago: 90m, 36h, 2d, 1w",
		"%s: %s is no time", name, short(text))
}

// coming reads a time that is still to come; a time of day is the next such.
func (a *app) coming(name, text string) (time.Time, error) {
	now := a.now()
	if clock, err := time.ParseInLocation("15:04", text, now.Location()); err == nil {
		t := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location())
		if !t.After(now) {
			t = time.Date(now.Year(), now.Month(), now.Day()+1, clock.Hour(), clock.Minute(), 0, 0, now.Location())
		}
		return t, nil
	}
	for _, layout := range clocks {
		t, err := time.ParseInLocation(layout, text, now.Location())
		if err != nil {
			continue
		}
		if !t.After(now) {
			return t, usagef("a time that is still to come is accepted", "%s: %s is over", name, short(text))
		}
		return t, nil
	}
	return time.Time{}, usagef("accepted are a time of day (22:30), or a date with it (\"2026-03-14 22:30\")", "%s: %s is no time", name, short(text))
}

// absolute refuses a path that does not begin at the root: snapshots have no working directory.
func absolute(name, path string) error {
	if strings.HasPrefix(path, "/") {
		return nil
	}
	return usagef("an absolute path is accepted, as it is in the snapshot: /etc/fstab", "%s: %s does not begin with \"/\"", name, short(path))
}
