// `txctl etc resolve`.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/internal/textdiff"
)

func (a *app) etcResolveCommand() *cobra.Command {
	var ours, theirs, edit bool
	var name string
	c := &cobra.Command{
		Use:   "resolve PATH --ours|--theirs|--edit",
		Short: "Settle a conflict about a file in /etc",
		Long: "resolve settles a conflict of a merge. The file in place is the one of the running side; what the\n" +
			"snapshot had is kept beside it as NAME.txupd-N. --theirs leaves what is in place, --ours takes what was\n" +
			"kept, --edit opens both in $VISUAL or $EDITOR; what was kept is gone after that. Owner, mode and attributes\n" +
			"stay those of the file in place. PATH is the file, or what was kept, where there is more than one.\n" +
			"It is done in the pending snapshot if the conflict is there, else in the running /etc; --snapshot says\n" +
			"which. The record tells who decided what. What a snapshot was when it was committed stays as it was.",
		Example: "  txctl etc resolve /etc/ssh/sshd_config --edit\n  txctl etc resolve /etc/motd.txupd-7 --ours",
		RunE: func(c *cobra.Command, args []string) error {
			usage := "usage: txctl etc " + c.Use
			if len(args) == 0 {
				return usagef(usage, "txctl etc resolve: PATH is missing")
			}
			if err := atMostOne(c, args); err != nil {
				return err
			}
			if err := inEtc(args[0]); err != nil {
				return err
			}
			if name != "" {
				if err := snapshotName("--snapshot", name); err != nil {
					return err
				}
			}
			chosen := ""
			for _, one := range []struct {
				yes    bool
				choice string
			}{{ours, bus.ChoiceOurs}, {theirs, bus.ChoiceTheirs}, {edit, bus.ChoiceEdited}} {
				if one.yes && chosen != "" {
					return usagef(usage, "txctl etc resolve: only one of --ours, --theirs and --edit is accepted")
				}
				if one.yes {
					chosen = one.choice
				}
			}
			if chosen == "" {
				return usagef(usage, "txctl etc resolve: one of --ours, --theirs and --edit is missing")
			}
			editor := a.editor()
			if edit && editor == "" {
				return usagef("for example: EDITOR=vi txctl etc resolve PATH --edit", "txctl etc resolve: --edit needs an editor: neither VISUAL nor EDITOR is set")
			}
			a.unrecorded("etc resolve")
			return a.resolveEtc(args[0], client.Resolution{Choice: chosen, Snapshot: name}, editor)
		},
	}
	c.Flags().BoolVar(&ours, "ours", false, "take what was kept: the snapshot's")
	c.Flags().BoolVar(&theirs, "theirs", false, "leave what is in place: the running side's")
	c.Flags().BoolVar(&edit, "edit", false, "make one of both in $VISUAL or $EDITOR")
	c.Flags().StringVar(&name, "snapshot", "", "in the /etc of this `snapshot`: a number, booted, default, pending or last-good")
	a.waitFlag(c.Flags())
	return c
}

// editor is the user's, "" for none.
func (a *app) editor() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if editor := strings.TrimSpace(a.getenv(name)); editor != "" {
			return editor
		}
	}
	return ""
}

func (a *app) resolveEtc(path string, r client.Resolution, editor string) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	file := ""
	if r.Choice == bus.ChoiceEdited {
		sides, err := d.EtcSides(a.asked, path, r.Snapshot)
		if err != nil {
			return err
		}
		// What is edited is settled, whatever else has come up under the name meanwhile.
		path, r.Snapshot, r.State = sides.Kept, fmt.Sprint(sides.Snapshot), sides.State
		if r.Content, file, err = a.edit(sides, editor); err != nil {
			return kept(file, err)
		}
	}
	var doc bus.EtcResolved
	if err := a.locked(d, func() (err error) {
		doc, err = d.EtcResolve(a.urged, path, r)
		return err
	}); err != nil {
		return kept(file, err)
	}
	if file != "" {
		if err := os.RemoveAll(filepath.Dir(file)); err != nil {
			a.say("txctl: cannot remove the edited copy: %v", err)
		}
	}
	return a.result(doc, func(s present.Screen) string { return s.EtcResolved(doc) })
}

// kept tells where an edited text is that came to nothing.
func kept(file string, err error) error {
	if file == "" {
		return err
	}
	return fmt.Errorf("%w; what was edited is in %s", err, file)
}

// edit lets the user make one text of two. file is where it is, where it should not be lost.
func (a *app) edit(sides bus.EtcSides, editor string) (content []byte, file string, err error) {
	dir, err := os.MkdirTemp("", "txctl-etc-")
	if err != nil {
		return nil, "", fmt.Errorf("cannot make a copy to edit: %w", err)
	}
	at := filepath.Join(dir, filepath.Base(sides.Path))
	both := bothSides(sides)
	if err = os.WriteFile(at, both, 0o600); err == nil {
		err = a.runEditor(editor, at)
	}
	if err == nil {
		content, err = os.ReadFile(at)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("cannot edit %s: %w", sides.Path, err)
	case bytes.Equal(content, both) && marked(both):
		err = errors.New("nothing was edited; the conflict stays")
	case marked(content):
		return nil, at, errors.New("there are still lines that mark a conflict; it stays")
	default:
		return content, at, nil
	}
	return nil, "", errors.Join(err, os.RemoveAll(dir))
}

// runEditor runs it on our terminal. VISUAL and EDITOR may have arguments, and are what the shell makes of them.
func (a *app) runEditor(editor, file string) error {
	cmd := exec.CommandContext(a.urged, "/bin/sh", "-c", editor+` "$1"`, editor, file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	if a.json { // standard output is for the document
		cmd.Stdout = a.stderr
	}
	return cmd.Run()
}

// Lines that mark a conflict, as in every tool that leaves two sides to a person.
const (
	markTheirs = "<<<<<<< "
	markMiddle = "=======\n"
	markOurs   = ">>>>>>> "
)

// bothSides is one text of two: what is the same once, the rest between marks.
func bothSides(sides bus.EtcSides) []byte {
	theirs, ours := textdiff.Lines(sides.Theirs), textdiff.Lines(sides.Ours)
	var b bytes.Buffer
	put := func(lines []string) {
		for _, l := range lines {
			b.WriteString(l)
			if !strings.HasSuffix(l, "\n") {
				b.WriteByte('\n')
			}
		}
	}
	at := 0
	for _, e := range textdiff.Edits(theirs, ours) {
		put(theirs[at:e.A0])
		b.WriteString(markTheirs + "in place: the running side's\n")
		put(theirs[e.A0:e.A1])
		b.WriteString(markMiddle)
		put(ours[e.B0:e.B1])
		fmt.Fprintf(&b, "%skept: that of snapshot %d\n", markOurs, sides.Version)
		at = e.A1
	}
	put(theirs[at:])
	return b.Bytes()
}

// marked reports whether marks of ours are left.
func marked(text []byte) bool {
	for _, l := range textdiff.Lines(text) {
		if strings.HasPrefix(l, markTheirs) || strings.HasPrefix(l, markOurs) {
			return true
		}
	}
	return false
}
