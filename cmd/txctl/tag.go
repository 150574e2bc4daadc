// `txctl tag`.

package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
)

func (a *app) tagCommand() *cobra.Command {
	var remove []string
	c := &cobra.Command{
		Use:     "tag NUMBER [TAG…]",
		Short:   "Add tags to a snapshot or transaction, or take them away",
		Example: "  txctl tag 7 release:42 tested\n  txctl tag 7 --remove tested",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl tag: NUMBER is missing")
			}
			if err := snapshotName("NUMBER", args[0]); err != nil {
				return err
			}
			tags := args[1:]
			if len(tags)+len(remove) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl tag: TAG is missing")
			}
			for _, t := range append(append([]string{}, tags...), remove...) {
				if t == "" || len(t) > 128 || strings.ContainsFunc(t, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
					return usagef("one word of at most 128 bytes is accepted", "txctl tag: %s is no tag", short(t))
				}
			}
			a.unrecorded("tag")
			var said []string
			if len(tags) > 0 {
				said = append(said, "tagged "+strings.Join(tags, ", "))
			}
			if len(remove) > 0 {
				said = append(said, "no longer tagged "+strings.Join(remove, ", "))
			}
			words := strings.ReplaceAll(strings.Join(said, " and "), "%", "%%")
			return a.annotate(args[0], client.Annotation{Tags: tags, DropTags: remove}, fmt.Sprintf("%%d is %s", words))
		},
	}
	c.Flags().StringArrayVar(&remove, "remove", nil, "take this `tag` away; may be given more than once")
	return c
}
