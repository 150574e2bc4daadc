// Times as people say them. The exact ones are in the JSON.

package present

import (
	"fmt"
	"time"
)

const day = 24 * time.Hour

// ago says how long t is past: "5 minutes ago"; what is longer past than two
// months, or yet to come, by its date.
func (s Screen) ago(t time.Time) string {
	d := s.Now.Sub(t)
	switch {
	case t.IsZero():
		return "at an unknown time"
	case d < -time.Minute, d >= 60*day:
		return t.In(s.Now.Location()).Format(time.DateOnly)
	case d < 5*time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

// span says a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return count(int(d/time.Second), "second")
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < day:
		return count(int(d/time.Hour), "hour")
	case d < 14*day:
		return count(int(d/day), "day")
	}
	return count(int(d/(7*day)), "week")
}

// date is the exact local time.
func (s Screen) date(t time.Time) string {
	return t.In(s.Now.Location()).Format("2006-01-02 15:04:05")
}

// took says how long work took.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return "<0.01 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}
