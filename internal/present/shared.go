// What a transaction captured of shared trees, and what became of it.

package present

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/txupd/txupd/pkg/journal/record"
)

// mostShared are shown of each tree.
const mostShared = 20

// shared lists what was captured, and where the live tree did not get it as it was, why.
func (s Screen) shared(b *strings.Builder, r record.Record) {
	for _, tree := range r.Shared {
		fmt.Fprintf(b, "\n%s  %s, %s\n", bold("Captured of "+plain(tree.Tree)), count(tree.Paths, "path"), s.handedOver(r, tree))
		for _, p := range tree.Captured[:min(len(tree.Captured), mostShared)] {
			fmt.Fprintf(b, "  %s %s\n", signOfShared(p.Decision), plain(p.Path))
		}
		if more := tree.Paths - min(len(tree.Captured), mostShared); more > 0 {
			b.WriteString("  " + faint(fmt.Sprintf("… and %d more", more)) + "\n")
		}
		s.becameOtherwise(b, tree)
	}
}

func (s Screen) handedOver(r record.Record, tree record.SharedTree) string {
	switch {
	case tree.HandedOver != nil:
		words := "handed over " + s.ago(*tree.HandedOver)
		if tree.By != nil && *tree.By != r.Number {
			words += fmt.Sprintf(", when snapshot %d was booted", *tree.By)
		}
		return words
	case r.Deleted != nil:
		return "never handed over"
	case r.Phase == record.Failed || r.Phase == record.Discarded:
		return "given up with it"
	}
	return "to be handed over at its first boot"
}

// becameOtherwise lists what the live tree did not get as it was captured.
func (s Screen) becameOtherwise(b *strings.Builder, tree record.SharedTree) {
	if len(tree.Decisions) == 0 {
		return
	}
	rows := make([][]string, 0, len(tree.Decisions))
	for _, d := range tree.Decisions {
		aside := ""
		if d.Aside != "" {
			aside = "as " + plain(path.Base(d.Aside))
		}
		rows = append(rows, []string{plain(d.Path), plain(d.Decision), plain(d.Reason), aside})
	}
	b.WriteString("  not handed over as it was:\n")
	b.WriteString(s.table([]column{{least: 20}, {}, {least: 12}, {least: 12}}, rows, 4))
	all := tree.Became["kept"] + tree.Became["skipped"]
	if more := all - len(tree.Decisions); more > 0 {
		b.WriteString("    " + faint(fmt.Sprintf("… and %d more", more)) + "\n")
	}
}

// signOfShared is the sign of a change to a shared tree.
func signOfShared(decision string) string {
	at := slices.Index([]string{"created", "replaced", "removed"}, decision)
	if at < 0 {
		return amber("!")
	}
	return sign([]string{record.Added, record.Modified, record.Removed}[at])
}

// Handed is what one transaction captured of a shared tree, and a boot handed over to it.
type Handed struct {
	Tree   string `json:"tree"`
	Number uint64 `json:"number"` // of the transaction
	Paths  int    `json:"paths"`
}

// HandedBy lists what a boot of a snapshot handed over, of the records of what it is made of.
func HandedBy(number uint64, records []record.Record) []Handed {
	all := []Handed{}
	for _, r := range records {
		for _, tree := range r.Shared {
			if tree.HandedOver != nil && tree.By != nil && *tree.By == number {
				all = append(all, Handed{Tree: tree.Tree, Number: r.Number, Paths: tree.Paths})
			}
		}
	}
	return all
}

// handed says what becomes of what was handed over, where its snapshot is left.
func (s Screen) handed(b *strings.Builder, r Rollback) {
	if len(r.Shared) == 0 {
		return
	}
	words := "it stays there"
	switch {
	case r.RestoreShared && (r.Planned || r.DryRun):
		words = "it would be taken back when that one is booted"
	case r.RestoreShared:
		words = "it is taken back when this one is booted"
	}
	fmt.Fprintf(b, "\n%s  by snapshot %d\n", bold("Handed over to shared trees"), r.Booted)
	for _, h := range r.Shared {
		fmt.Fprintf(b, "  %s  %s of transaction %d\n", plain(h.Tree), count(h.Paths, "path"), h.Number)
	}
	b.WriteString("  " + words + "\n")
}
