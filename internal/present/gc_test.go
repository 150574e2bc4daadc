package present

import (
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/txupd/txupd/internal/bus"
)

func TestGC(t *testing.T) {
	all := []bus.GCSnapshot{
		{Number: 1, Created: now.Add(-90 * day), Rule: "needed", Why: "it is the system as txupd found it"},
		{Number: 4, Created: now.Add(-20 * day), Delete: true, Rule: "most", Why: "there are more than 2"},
		{Number: 5, Created: now.Add(-15 * day), Rule: "pinned", Why: "it is pinned"},
		{Number: 6, Created: now.Add(-3 * day), Delete: true, Rule: bus.GCRuleSpace, Why: "too little is free"},
		{Number: 7, Created: now.Add(-2 * time.Hour), Rule: "least", Why: "one of the newest 1"},
	}
	room := bus.GCSpace{Data: 12 << 30, DataWanted: 10 << 30, Metadata: 1 << 30, MetadataWanted: 1 << 29}
	little := bus.GCSpace{Data: 3 << 30, DataWanted: 10 << 30, Metadata: 1 << 30, MetadataWanted: 1 << 29}
	s := Screen{Width: 80, Now: now}
	for name, text := range map[string]string{
		"gc":          s.GC(bus.GC{Snapshots: all, Deleted: []uint64{4, 6}, Failed: []bus.GCFailure{{Number: 3, Message: "a container lies in it"}}, Before: little, After: room}, false),
		"gc-explain":  s.GC(bus.GC{Snapshots: all, DryRun: true, Before: little, After: little}, true),
		"gc-nothing":  s.GC(bus.GC{Snapshots: all[:1], Before: room, After: room}, false),
		"gc-metadata": s.GC(bus.GC{Snapshots: all[:1], DryRun: true, After: bus.GCSpace{Data: 1, Metadata: 1 << 20, MetadataWanted: 1 << 21}}, false),
	} {
		golden(t, name, ansi.Strip(text))
	}
}
