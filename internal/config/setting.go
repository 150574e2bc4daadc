// What a key may hold: the types of values, their bounds, and how they are
// written.

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// setting is one key, bound to its field of a Config.
type setting struct {
	key, doc string
	wants    string // what is accepted, for errors
	reset    func() // to the default
	get      func() any
	set      func(*unstable.Node) error // errUnfit, or more words than that
}

// errUnfit is a value that is not what the setting wants; nothing more is to be said.
var errUnfit = errors.New("does not fit")

func integer(key string, field *int, standard, least, most int, doc string) setting {
	return setting{
		key: key, doc: doc, wants: fmt.Sprintf("a whole number from %d to %d", least, most),
		reset: func() { *field = standard },
		get:   func() any { return *field },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.Integer {
				return errUnfit
			}
			// TOML writes them as Go does: 1_000, 0x10.
			v, err := strconv.ParseInt(string(n.Data), 0, 64)
			if err != nil || v < int64(least) || v > int64(most) {
				return errUnfit
			}
			*field = int(v)
			return nil
		},
	}
}

func boolean(key string, field *bool, standard bool, doc string) setting {
	return setting{
		key: key, doc: doc, wants: "true or false",
		reset: func() { *field = standard },
		get:   func() any { return *field },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.Bool {
				return errUnfit
			}
			*field = string(n.Data) == "true"
			return nil
		},
	}
}

// duration is in whole seconds: what waits for it rarely knows finer ones.
func duration(key string, field *time.Duration, standard, least, most time.Duration, doc string) setting {
	return setting{
		key: key, doc: doc,
		wants: fmt.Sprintf("a time in whole seconds from %s to %s, such as %q or %q", durationText(least), durationText(most), "90s", "2m"),
		reset: func() { *field = standard },
		get:   func() any { return durationText(*field) },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.String {
				return errUnfit
			}
			v, err := time.ParseDuration(string(n.Data))
			if err != nil || v < least || v > most || v%time.Second != 0 {
				return errUnfit
			}
			*field = v
			return nil
		},
	}
}

// durationText leaves out what is zero: "10m", not "10m0s".
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func directory(key string, field *string, standard, doc string) setting {
	return setting{
		key: key, doc: doc, wants: `an absolute path without ".." in it, or ""`,
		reset: func() { *field = standard },
		get:   func() any { return *field },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.String {
				return errUnfit
			}
			v := string(n.Data)
			if v != "" && (!path.IsAbs(v) || strings.ContainsRune(v, 0) || path.Clean(v) == "/" || path.Clean(v) != strings.TrimSuffix(v, "/")) {
				return errUnfit
			}
			*field = strings.TrimSuffix(v, "/")
			return nil
		},
	}
}

// text is what fits.
func text(key string, field *string, standard, wants string, fits func(string) bool, doc string) setting {
	return setting{
		key: key, doc: doc, wants: wants,
		reset: func() { *field = standard },
		get:   func() any { return *field },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.String || !fits(string(n.Data)) {
				return errUnfit
			}
			*field = string(n.Data)
			return nil
		},
	}
}

// choice is one of a few words; the first is the default.
func choice(key string, field *string, words []string, doc string) setting {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = strconv.Quote(word)
	}
	return text(key, field, words[0], "one of "+strings.Join(quoted, ", "), func(v string) bool { return slices.Contains(words, v) }, doc)
}

func globs(key string, field *[]string, doc string) setting {
	return patterns(key, field, doc, `a list of names such as ["snapd.service", "backup-*.service"]`, func(string) bool { return true })
}

// below is a list of patterns of paths below a directory.
func below(key, dir string, field *[]string, doc string) setting {
	wants := fmt.Sprintf(`a list of paths below %s such as ["app/state.conf", "site/**"]`, dir)
	return patterns(key, field, doc, wants, func(glob string) bool {
		rel := strings.TrimPrefix(glob, dir+"/")
		return path.Clean("/"+rel) == "/"+rel
	})
}

// patterns is empty unless it is set, and may then hold what fits.
func patterns(key string, field *[]string, doc, wants string, fits func(glob string) bool) setting {
	return setting{
		key: key, doc: doc, wants: wants,
		reset: func() { *field = nil },
		get:   func() any { return append([]string{}, *field...) },
		set: func(n *unstable.Node) error {
			if n.Kind != unstable.Array {
				return errUnfit
			}
			v := []string{}
			for items := n.Children(); items.Next(); {
				item := items.Node()
				if item.Kind == unstable.Comment {
					continue
				}
				if item.Kind != unstable.String || len(item.Data) == 0 {
					return errUnfit
				}
				glob := string(item.Data)
				if _, err := path.Match(glob, ""); err != nil {
					return fmt.Errorf("%q is not a pattern: a bracket or a backslash has no end", glob)
				}
				if !fits(glob) {
					return fmt.Errorf("%q does not belong into %s", glob, wants)
				}
				v = append(v, glob)
			}
			*field = v
			return nil
		},
	}
}

// literal writes a value in TOML.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		// A JSON string is a TOML string, but for the one control character
		// that JSON leaves alone.
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.Encode(v) // a string always encodes
		return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007F`)
	case []string:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = literal(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case []WindowTable:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = item.literal()
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v)
}
