package retention

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var now = time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)

// system has ten snapshots, one a day, of which 10 is the newest.
func system(change func(n uint64, s *Snapshot)) []Snapshot {
	var all []Snapshot
	for n := uint64(10); n > 0; n-- {
		s := Snapshot{Number: n, Created: now.Add(-time.Duration(10-n) * 24 * time.Hour)}
		if change != nil {
			change(n, &s)
		}
		all = append(all, s)
	}
	return all
}

func TestRules(t *testing.T) {
	special := func(n uint64, s *Snapshot) {
		switch n {
		case 1:
			s.Needed = "it is the last good one"
		case 3:
			s.Pinned = true
		case 5:
			s.Tags = []string{"x", "release"}
		case 10:
			s.Needed = "it runs"
		}
	}
	for name, c := range map[string]struct {
		all   []Snapshot
		rules Rules
		want  string
	}{
		"none":          {system(nil), Rules{}, "1 spare, 2 spare, 3 spare, 4 spare, 5 spare, 6 spare, 7 spare, 8 spare, 9 spare, 10 spare"},
		"most":          {system(nil), Rules{Most: 7}, "-1 most, -2 most, -3 most, 4 spare, 5 spare, 6 spare, 7 spare, 8 spare, 9 spare, 10 spare"},
		"age":           {system(nil), Rules{For: 7 * 24 * time.Hour}, "-1 age, -2 age, 3 spare, 4 spare, 5 spare, 6 spare, 7 spare, 8 spare, 9 spare, 10 spare"},
		"least":         {system(nil), Rules{Least: 4, Most: 2, For: time.Hour}, "-1 most, -2 most, -3 most, -4 most, -5 most, -6 most, 7 least, 8 least, 9 least, 10 least"},
		"special":       {system(special), Rules{Tags: []string{"release"}, Least: 2, Most: 3, For: time.Hour}, "1 needed, -2 most, 3 pinned, -4 most, 5 tagged, -6 most, -7 age, -8 age, 9 least, 10 needed"},
		"few":           {system(nil)[:2], Rules{Least: 5, Most: 5, For: time.Second}, "9 least, 10 least"},
		"nothing":       {nil, Rules{Least: 5}, ""},
		"wrong clock":   {[]Snapshot{{Number: 2, Created: now.Add(-time.Hour)}, {Number: 1, Created: now.Add(1000 * time.Hour)}}, Rules{Most: 1, For: 10 * time.Hour}, "-1 most, 2 spare"},
		"not its words": {system(special)[5:6], Rules{Tags: []string{"rel"}}, "5 spare"},
		"by a pattern":  {system(special)[5:6], Rules{Tags: []string{"no", "rel*"}}, "5 tagged"},
	} {
		var words []string
		for _, d := range Decide(c.all, c.rules, now) {
			sign := ""
			if d.Delete {
				sign = "-"
			}
			words = append(words, fmt.Sprintf("%s%d %s", sign, d.Number, d.Rule))
		}
		if got := strings.Join(words, ", "); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
	}
}

// TestLaws: what must stay stays, as many as are wanted stay, and of two that
// are alike the older goes first.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Snapshot
		for n := range rapid.IntRange(0, 40).Draw(t, "snapshots") {
			s := Snapshot{Number: uint64(n + 1), Created: now.Add(-time.Duration(rapid.IntRange(-10, 1000).Draw(t, "hours")) * time.Hour)}
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				s.Needed = "it runs"
			case 1:
				s.Pinned = true
			case 2:
				s.Tags = []string{"keep"}
			}
			all = append(all, s)
		}
		rules := Rules{
			Least: rapid.IntRange(0, 10).Draw(t, "least"), Most: rapid.IntRange(0, 20).Draw(t, "most"),
			For: time.Duration(rapid.IntRange(0, 500).Draw(t, "for")) * time.Hour, Tags: []string{"keep"},
		}
		shuffled := rapid.Permutation(all).Draw(t, "order")
		decided := Decide(shuffled, rules, now)
		if len(decided) != len(all) || !slices.IsSortedFunc(decided, func(a, b Decision) int { return int(a.Number) - int(b.Number) }) {
			t.Fatalf("%d decisions about %d snapshots, or not in order", len(decided), len(all))
		}
		standing := 0
		for i, d := range decided {
			holds := d.Needed != "" || d.Pinned || len(d.Tags) > 0
			if d.Delete && (holds || i >= len(all)-rules.Least) {
				t.Fatalf("%+v goes", d)
			}
			if !d.Delete && !holds {
				standing++
				if rules.For > 0 && now.Sub(d.Created) > rules.For && d.Rule != Least {
					t.Fatalf("%+v is too old, and stays", d)
				}
			}
			if d.Delete != (d.Rule == Most || d.Rule == Age) {
				t.Fatalf("%+v", d)
			}
		}
		if rules.Most > 0 && standing > max(rules.Most, rules.Least) {
			t.Fatalf("%d stay of at most %d", standing, rules.Most)
		}
		if rules.Most == 0 && rules.For == 0 && slices.ContainsFunc(decided, func(d Decision) bool { return d.Delete }) {
			t.Fatal("something goes where no rule says so")
		}
	})
}
