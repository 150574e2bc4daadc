// `txctl completion`: the scripts that make a shell ask txctl what it completes.
// A package installs them, so that nobody has to know of this verb.

package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/present"
)

func (a *app) completionCommand() *cobra.Command {
	scripts := map[string]func(*cobra.Command, io.Writer) error{
		"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
		"zsh":  func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
	}
	shells := []string{"bash", "fish", "zsh"}
	return &cobra.Command{
		Use:    "completion " + strings.Join(shells, "|"),
		Short:  "Print the script that makes a shell complete what txctl takes",
		Hidden: true,
		Long: "completion prints a script for bash, fish or zsh, which packages install. Where txctl was copied by hand,\n" +
			"the shell reads it when it starts.",
		Example:   "  source <(txctl completion bash)",
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl completion: the shell is missing")
			}
			if err := atMostOne(c, args); err != nil {
				return err
			}
			write, known := scripts[args[0]]
			if !known {
				return usagef("accepted are "+strings.Join(shells, ", "), "txctl completion: %s is no shell that is known", short(args[0]))
			}
			var b strings.Builder
			if err := write(c.Root(), &b); err != nil {
				return err
			}
			doc := struct {
				Shell  string `json:"shell"`
				Script string `json:"script"`
			}{args[0], b.String()}
			return a.result(doc, func(present.Screen) string { return doc.Script })
		},
	}
}
