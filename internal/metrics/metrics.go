// Package metrics writes numbers in the text format of Prometheus, version 0.0.4.
//
// The format is described in "Exposition formats" of the documentation of
// Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/
package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ContentType is that of the text in HTTP.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Family is one metric: all its samples have other labels. All are gauges.
type Family struct {
	Name    string   `json:"name"`
	Help    string   `json:"help"`
	Samples []Sample `json:"samples"`
}

// Sample is one value.
type Sample struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

var (
	inHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	inLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// Text is the families as text, sorted by their names; those without a sample are left out.
func Text(families []Family) string {
	var b strings.Builder
	for _, f := range slices.SortedFunc(slices.Values(families), func(x, y Family) int { return cmp.Compare(x.Name, y.Name) }) {
		if len(f.Samples) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", f.Name, inHelp.Replace(f.Help), f.Name)
		for _, s := range f.Samples {
			b.WriteString(f.Name)
			sep := "{"
			for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
				fmt.Fprintf(&b, `%s%s="%s"`, sep, name, inLabel.Replace(strings.ToValidUTF8(s.Labels[name], "\uFFFD")))
				sep = ","
			}
			if len(s.Labels) > 0 {
				b.WriteString("}")
			}
			fmt.Fprintf(&b, " %s\n", strconv.FormatFloat(s.Value, 'g', -1, 64))
		}
	}
	return b.String()
}
