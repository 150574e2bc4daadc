package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"
)

func TestText(t *testing.T) {
	got := Text([]Family{
		{Name: "b", Help: "of\nb", Samples: []Sample{{Value: 1.5}}},
		{Name: "none", Help: "nothing"},
		{Name: "a", Help: `of \a`, Samples: []Sample{{Labels: map[string]string{"y": "2", "x": "\"\\\n"}, Value: 1767225600}, {Labels: map[string]string{"x": "", "y": ""}}}},
	})
	const want = `# HELP a of \\a
# TYPE a gauge
a{x="\"\\\n",y="2"} 1.7672256e+09
a{x="",y=""} 0
# HELP b of\nb
# TYPE b gauge
b 1.5
`
	if got != want {
		t.Errorf("the text is\n%s\nnot\n%s", got, want)
	}
}

// TestPrometheusReadsWhatIsWritten: its own parser finds every label and value again.
func TestPrometheusReadsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		families := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Family {
			f := Family{Name: rapid.StringMatching(`txupd_[a-z_]{1,9}`).Draw(t, "name"), Help: rapid.String().Draw(t, "help")}
			for i := range rapid.IntRange(0, 3).Draw(t, "samples") {
				f.Samples = append(f.Samples, Sample{
					Labels: map[string]string{"a": rapid.String().Draw(t, "label"), "i": string(rune('0' + i))},
					Value:  rapid.Float64().Draw(t, "value"),
				})
			}
			return f
		}), 0, 4, func(f Family) string { return f.Name }).Draw(t, "families")
		parser := expfmt.NewTextParser(model.UTF8Validation)
		read, err := parser.TextToMetricFamilies(strings.NewReader(Text(families)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if len(f.Samples) == 0 {
				continue
			}
			got := read[f.Name]
			if got == nil || len(got.GetMetric()) != len(f.Samples) {
				t.Fatalf("of %s there is %v", f.Name, got)
			}
			for i, s := range f.Samples {
				m := got.GetMetric()[i]
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				if m.GetGauge().GetValue() != s.Value || labels["a"] != strings.ToValidUTF8(s.Labels["a"], "\uFFFD") || labels["i"] != s.Labels["i"] {
					t.Errorf("of %+v there is %v", s, m)
				}
			}
		}
	})
}
