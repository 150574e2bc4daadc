package window

import (
	"testing"
	"time"
	_ "time/tzdata" // the laws hold in zones that a small machine does not have

	"pgregory.net/rapid"
)

// zones jump forward and back, by half an hour, at midnight, over a whole day,
// hardly ever, and never.
var zones = []string{
	"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Havana",
	"Asia/Kolkata", "Asia/Gaza", "Asia/Tehran", "Africa/Casablanca", "Africa/Cairo", "Australia/Lord_Howe", "Australia/Sydney",
	"Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Antarctica/Troll",
}

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	z, err := ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(t *testing.T, zoneName, text string) time.Time {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04", text, zone(t, zoneName))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func daily(t *testing.T, zoneName, start string, length time.Duration, days ...string) Window {
	t.Helper()
	d, err := ParseDays(days)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStart(start)
	if err != nil {
		t.Fatal(err)
	}
	return Window{Days: d, Start: s, Length: length, Zone: zone(t, zoneName)}
}

func TestNext(t *testing.T) {
	const berlin = "Europe/Berlin"
	for _, c := range []struct {
		name        string
		calendar    Calendar
		now         time.Time
		open, close string // in UTC
	}{
		{"later today", Calendar{daily(t, "UTC", "03:30", time.Hour)}, at(t, "UTC", "2026-06-01 01:00"), "2026-06-01 03:30", "2026-06-01 04:30"},
		{"it is open", Calendar{daily(t, "UTC", "03:30", time.Hour)}, at(t, "UTC", "2026-06-01 03:30"), "2026-06-01 03:30", "2026-06-01 04:30"},
		{"it has just closed", Calendar{daily(t, "UTC", "03:30", time.Hour)}, at(t, "UTC", "2026-06-01 04:30"), "2026-06-02 03:30", "2026-06-02 04:30"},
		{"over midnight", Calendar{daily(t, "UTC", "23:00", 3*time.Hour)}, at(t, "UTC", "2026-06-01 01:00"), "2026-05-31 23:00", "2026-06-01 02:00"},
		{"from Saturday to Monday", Calendar{daily(t, "UTC", "22:00", 36*time.Hour, "Sat")}, at(t, "UTC", "2026-06-08 09:59"), "2026-06-06 22:00", "2026-06-08 10:00"},
		{"the other zone's day", Calendar{daily(t, "Pacific/Kiritimati", "01:00", time.Hour, "Sun")}, at(t, "UTC", "2026-06-06 00:00"), "2026-06-06 11:00", "2026-06-06 12:00"},
		{"the start is skipped", Calendar{daily(t, berlin, "02:30", time.Hour)}, at(t, "UTC", "2026-03-29 00:00"), "2026-03-29 01:00", "2026-03-29 02:00"},
		{"the start comes twice", Calendar{daily(t, berlin, "02:30", time.Hour)}, at(t, "UTC", "2026-10-25 00:00"), "2026-10-25 00:30", "2026-10-25 01:30"},
		{"and not again", Calendar{daily(t, berlin, "02:30", 10*time.Minute)}, at(t, "UTC", "2026-10-25 01:30"), "2026-10-26 01:30", "2026-10-26 01:40"},
		{"the day is skipped", Calendar{daily(t, "Pacific/Apia", "03:00", time.Hour, "Fri")}, at(t, "UTC", "2011-12-30 00:00"), "2011-12-30 10:00", "2011-12-30 11:00"},
		{"two touch", Calendar{daily(t, "UTC", "04:00", time.Hour), daily(t, "UTC", "03:00", time.Hour)}, at(t, "UTC", "2026-06-01 04:30"), "2026-06-01 03:00", "2026-06-01 05:00"},
		{"one in another", Calendar{daily(t, "UTC", "01:00", 4*time.Hour), daily(t, "UTC", "02:00", time.Hour)}, at(t, "UTC", "2026-06-01 00:00"), "2026-06-01 01:00", "2026-06-01 05:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.calendar.Next(c.now)
			want := Span{at(t, "UTC", c.open), at(t, "UTC", c.close)}
			if !got.Open.Equal(want.Open) || !got.Close.Equal(want.Close) {
				t.Errorf("%v from %v on\n is %v to %v\nnot %v to %v", c.calendar, c.now, got.Open.UTC(), got.Close.UTC(), want.Open, want.Close)
			}
		})
	}
	if got := (Calendar{}).Next(time.Now()); got != (Span{}) {
		t.Errorf("an empty calendar opens at %v", got)
	}
}

func drawnWindow(t *rapid.T, label string, length time.Duration) Window {
	return Window{
		Days:   Days(rapid.IntRange(0, 127).Draw(t, label+"days")),
		Start:  time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, label+"start")) * time.Minute,
		Length: time.Duration(rapid.IntRange(1, int(length/time.Minute)).Draw(t, label+"length")) * time.Minute,
		Zone:   zone(t, rapid.SampledFrom(zones).Draw(t, label+"zone")),
	}
}

// drawnTime is some moment, often one near to a jump of the clock.
func drawnTime(t *rapid.T, z *time.Location) time.Time {
	v := time.Unix(rapid.Int64Range(946_684_800, 2_145_916_800).Draw(t, "now"), 0).In(z) // 2000 to 2037
	if rapid.Bool().Draw(t, "near") {
		if _, end := v.ZoneBounds(); !end.IsZero() {
			v = end.Add(time.Duration(rapid.IntRange(-3*24*60, 3*24*60).Draw(t, "minutes")) * time.Minute)
		}
	}
	return v
}

// TestAWindowOpensOnceOnEachOfItsDays: walking from opening to opening meets
// each day of the calendar once, in order, at the time that the clock shows.
func TestAWindowOpensOnceOnEachOfItsDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawnWindow(t, "", time.Minute) // so short that none touches another
		now := drawnTime(t, w.Zone)
		c := Calendar{w}
		first := c.Next(now)
		met := map[string]int{}
		last := first
		for range 20 {
			shown := last.Open.In(w.Zone)
			clock := time.Duration(shown.Hour())*time.Hour + time.Duration(shown.Minute())*time.Minute
			begin, _ := shown.ZoneBounds()
			switch {
			case clock == w.Start:
				if w.Days != 0 && w.Days&(1<<shown.Weekday()) == 0 {
					t.Fatalf("%v opens on a %v: %v", w, shown.Weekday(), shown)
				}
				// At the first time that the clock shows it.
				for _, earlier := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
					if e := shown.Add(-earlier); e.In(w.Zone).Format("2006-01-02 15:04") == shown.Format("2006-01-02 15:04") {
						t.Fatalf("%v opens at %v, the clock showed that at %v", w, shown, e)
					}
				}
				met[shown.Format(time.DateOnly)]++
			case !shown.Equal(begin):
				t.Fatalf("%v opens at %v, and no clock jumped there", w, shown)
			default:
				// Skipped: the minute before the jump was earlier than the start.
				met["before "+shown.Format(time.RFC3339)]++
			}
			next := c.Next(last.Close)
			if !next.Open.After(last.Open) {
				t.Fatalf("after %v comes %v", last, next)
			}
			last = next
		}
		for day, n := range met {
			if n != 1 {
				t.Fatalf("%v opens %d times: %s", w, n, day)
			}
		}
		// No day is missed: as many openings as days are between the first and the last.
		days := 0
		y, m, d := first.Open.In(w.Zone).Date()
		yl, ml, dl := last.Open.In(w.Zone).Date()
		end := time.Date(yl, ml, dl, 12, 0, 0, 0, time.UTC)
		for day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC); day.Before(end); day = day.AddDate(0, 0, 1) {
			if w.Days == 0 || w.Days&(1<<day.Weekday()) != 0 {
				days++
			}
		}
		// A skipped day opens on the one after it, which counts for one at either end.
		if opened := 21; days < opened-1 || days > opened+1 {
			t.Fatalf("%v opened %d times on %d days from %v to %v", w, opened, days, first.Open, last.Open)
		}
	})
}

// TestACalendarIsOpenWhenOneOfItsWindowsIs, by asking each for each of its days.
func TestACalendarIsOpenWhenOneOfItsWindowsIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Calendar
		for i := range rapid.IntRange(1, 4).Draw(t, "windows") {
			c = append(c, drawnWindow(t, string(rune('a'+i)), MaxLength))
		}
		now := drawnTime(t, c[0].Zone)
		open := func(at time.Time) bool {
			for _, w := range c {
				y, m, d := at.UTC().Date()
				for back := -2; back <= 9; back++ {
					day := time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC)
					if w.Days != 0 && w.Days&(1<<day.Weekday()) == 0 {
						continue
					}
					if from := w.opening(day); (Span{from, from.Add(w.Length)}).Contains(at) {
						return true
					}
				}
			}
			return false
		}
		s := c.Next(now)
		if s.Contains(now) != open(now) {
			t.Fatalf("%v at %v: %v, open is %v", c, now, s, open(now))
		}
		if !s.Close.After(now) || !s.Open.Before(s.Close) {
			t.Fatalf("%v at %v: %v", c, now, s)
		}
		if s.Open.After(now) {
			for range 20 {
				between := now.Add(time.Duration(rapid.Int64Range(0, int64(s.Open.Sub(now))-1).Draw(t, "between")))
				if open(between) {
					t.Fatalf("%v is open at %v, before %v", c, between, s.Open)
				}
			}
		}
		inside := s.Open.Add(time.Duration(rapid.Int64Range(0, int64(s.Close.Sub(s.Open))-1).Draw(t, "inside")))
		if !open(inside) {
			t.Fatalf("%v is closed at %v, in %v", c, inside, s)
		}
		if all := s.Close.Sub(now) >= MaxLength; !all && open(s.Close) {
			t.Fatalf("%v is open at its close, %v", c, s.Close)
		}
	})
}

func TestDaysAreReadAndWritten(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
	}{
		{nil, "daily"}, {[]string{"Mon-Sun"}, "daily"}, {[]string{"sat", "SUN"}, "Sat,Sun"}, {[]string{"Mon-Fri"}, "Mon-Fri"},
		{[]string{"Fri-Mon"}, "Mon,Fri-Sun"}, {[]string{"Tue", "Thu"}, "Tue,Thu"}, {[]string{"Mon", "Mon"}, "Mon"},
	} {
		days, err := ParseDays(c.in)
		if err != nil || days.String() != c.want {
			t.Errorf("%q is %s (%v), not %s", c.in, days, err, c.want)
		}
	}
	for _, wrong := range []string{"", "Monday", "Mon-", "-Fri", "Mon-Fri-Sun", " Mon"} {
		if days, err := ParseDays([]string{wrong}); err == nil {
			t.Errorf("%q is %s", wrong, days)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		days := Days(rapid.IntRange(1, 126).Draw(t, "days"))
		var list []string
		for i, name := range names {
			if days&(1<<i) != 0 {
				list = append(list, name)
			}
		}
		if again, err := ParseDays(list); err != nil || again != days {
			t.Fatalf("%v is read as %v (%v)", list, again, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("Mon-Fri", "03:30", "Europe/Berlin")
	f.Add("", "24:00", "../../etc/passwd")
	f.Add("So", "3:30", "Local")
	f.Fuzz(func(t *testing.T, day, start, zoneName string) {
		days, err := ParseDays([]string{day})
		if err == nil && days == 0 {
			t.Errorf("%q is no day at all", day)
		}
		at, err := ParseStart(start)
		if err == nil && (at < 0 || at >= 24*time.Hour) {
			t.Errorf("%q is %s", start, at)
		}
		if err == nil && (Window{Start: at, Length: time.Hour, Zone: time.UTC}).String() != "daily "+start+" for 1h, UTC" {
			t.Errorf("%q is written as %s", start, Window{Start: at, Length: time.Hour, Zone: time.UTC})
		}
		if z, err := ParseZone(zoneName); err == nil && z == nil {
			t.Errorf("%q is no zone", zoneName)
		}
	})
}
