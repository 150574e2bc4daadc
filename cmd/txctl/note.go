// `txctl note`.

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
)

// annotated is the document of verbs that annotate.
type annotated struct {
	Number   uint64   `json:"number"`
	Note     *string  `json:"note,omitempty"`
	Tags     []string `json:"tags,omitempty"`      // added
	DropTags []string `json:"drop_tags,omitempty"` // taken away
	Pinned   *bool    `json:"pinned,omitempty"`
}

func (a *app) noteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "note NUMBER TEXT…",
		Short:   "Add a note to a snapshot or transaction, whatever became of it",
		Long:    "note adds a note, which \"txctl show\" shows and \"txctl log --grep\" finds. TEXT may be given with -m too.",
		Example: "  txctl note 7 this one broke the printer",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl note: NUMBER is missing")
			}
			if err := snapshotName("NUMBER", args[0]); err != nil {
				return err
			}
			text := a.message
			switch {
			case len(args) > 1 && text != nil:
				return usagef("one of both is accepted", "txctl note: the note is given twice, as words and with -m")
			case len(args) > 1:
				if err := (&message{&text}).Set(strings.Join(args[1:], " ")); err != nil {
					return usagef("usage: txctl "+c.Use, "txctl note: %v", err)
				}
			case text == nil:
				return usagef("usage: txctl "+c.Use, "txctl note: TEXT is missing")
			}
			return a.annotate(args[0], client.Annotation{Note: text}, "the note is kept with %d")
		},
	}
}

// annotate finds the snapshot and changes its record.
func (a *app) annotate(name string, what client.Annotation, done string) error {
	d, n, err := a.snapshot(name)
	if err != nil {
		return err
	}
	if err := d.Annotate(a.urged, n, what); err != nil {
		return err
	}
	if a.json {
		return a.document(annotated{n, what.Note, what.Tags, what.DropTags, what.Pin})
	}
	_, err = fmt.Fprintf(a.out, done+"\n", n)
	return err
}

// snapshot connects, and turns a number or word into a number; the daemon is asked for words alone.
func (a *app) snapshot(name string) (daemon, uint64, error) {
	d, err := a.daemon()
	if err != nil {
		return nil, 0, err
	}
	if n, err := number("NUMBER", name); err == nil {
		return d, n, nil
	}
	st, err := d.Status(a.asked)
	if err != nil {
		return nil, 0, err
	}
	n, err := resolve("NUMBER", name, st)
	return d, n, err
}
