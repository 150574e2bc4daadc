// `txctl config`: what is in force, and where it comes from.

package present

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/txupd/txupd/internal/bus"
)

// Config draws every setting; those that somebody set stand out.
func (s Screen) Config(c bus.Config) string {
	rows := make([][]string, len(c.Values))
	for i, v := range c.Values {
		origin := plain(v.Origin)
		if v.Origin == "default" {
			origin = faint(origin)
		}
		rows[i] = []string{plain(v.Key), bold(plain(setting(v.Value))), origin}
	}
	text := s.table([]column{{head: "Key"}, {head: "Value", least: 12}, {head: "From"}}, rows, 0)
	if c.Error == "" {
		return text
	}
	wrong := "the files cannot be read, so that these are the defaults, and nothing is changed until they can"
	return text + "\n" + s.Warnings(append([]string{wrong}, strings.Split(c.Error, "\n")...))
}

// setting writes a value as it would stand in a file.
func setting(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []any:
		all := make([]string, len(v))
		for i, one := range v {
			all[i] = setting(one)
		}
		return "[" + strings.Join(all, ", ") + "]"
	case map[string]any:
		var all []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, key+" = "+setting(v[key]))
		}
		return "{ " + strings.Join(all, ", ") + " }"
	}
	return fmt.Sprint(v)
}
