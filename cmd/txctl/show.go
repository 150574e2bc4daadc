// `txctl show N`.

package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (a *app) showCommand() *cobra.Command {
	var files bool
	c := &cobra.Command{
		Use:   "show NUMBER|booted|default|pending|last-good",
		Short: "Show everything that is known of a snapshot and its transaction",
		Long: "show shows who made a snapshot, when, why and from what, the commands, the packages and files that they\n" +
			"changed and what they did to files in /etc, notes and tags, how it booted, and what became of what it wrote\n" +
			"to shared trees. Transactions that failed and snapshots that were deleted have a record too.",
		Example: "  txctl show pending\n  txctl show 7 --files",
		RunE: func(c *cobra.Command, args []string) error {
			name, err := oneSnapshot(c, args)
			if err != nil {
				return err
			}
			return a.show(name, files)
		},
	}
	c.Flags().BoolVar(&files, "files", false, "show all changed files, however many")
	return c
}

func (a *app) show(name string, files bool) error {
	d, n, err := a.snapshot(name)
	if err != nil {
		return err
	}
	found, err := d.ShowNow(a.asked, n)
	if err != nil {
		return err
	}
	rec := found.Record
	doc := shown{Shown: found}
	why := ""
	if doc.EtcPatches, err = a.etcPatches(d, rec); err != nil {
		why = err.Error()
	}
	return a.look(doc, func(s present.Screen) string {
		text := s.Show(rec, told(found.Roles), files) + s.Etc(doc.EtcPatches)
		if why != "" {
			text += "\n" + s.Paragraph("What changed in files of /etc cannot be shown: "+present.Plain(why))
		}
		return text
	})
}

// shown is the document of `show`: the record, and what it did to files in
// /etc; null where that is not for who asks, or gone.
type shown struct {
	bus.Shown
	EtcPatches []bus.Patch `json:"etc_patches"`
}

// etcPatches asks for the contents of files in /etc, if any changed.
func (a *app) etcPatches(d daemon, rec record.Record) ([]bus.Patch, error) {
	inEtc := func(f record.FileChange) bool { return strings.HasPrefix(f.Path, "/etc/") }
	if rec.Phase != record.Committed || rec.Parent == nil || rec.Deleted != nil || !slices.ContainsFunc(rec.FileChanges, inEtc) {
		return nil, nil
	}
	// It is shown to who may see it anyway: nobody is asked for a password for that.
	doc, err := d.Diff(client.WithoutAsking(a.asked), bus.WordBase, strconv.FormatUint(rec.Number, 10), client.DiffOptions{Patch: true, Paths: []string{"/etc"}})
	if err != nil {
		return nil, err
	}
	return doc.Patches, nil
}

// told are the roles that go with a verdict; what boots next without being pending is booted.
func told(roles []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(r string) bool {
		return r != bus.RoleBooted && r != bus.RolePending && r != bus.RoleLastGood
	})
}
