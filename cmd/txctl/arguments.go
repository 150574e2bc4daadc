// Arguments, checked before anybody is asked for anything.

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// words that stand for snapshots.
var snapshotWords = []string{bus.WordBooted, bus.WordDefault, bus.WordPending, bus.WordLastGood}

// number reads a snapshot's or transaction's number.
func number(name, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > math.MaxInt64 || strings.HasPrefix(text, "+") {
		return 0, usagef("a number is accepted, as \"txctl list\" shows it", "%s: %s is not a number", name, short(text))
	}
	return n, nil
}

// short quotes an argument, cut where it is long.
func short(text string) string {
	if len(text) > 40 {
		return strconv.Quote(text[:40]) + "…"
	}
	return strconv.Quote(text)
}

// snapshotName checks a number or word for a snapshot.
func snapshotName(name, text string) error {
	if slices.Contains(snapshotWords, text) {
		return nil
	}
	if _, err := number(name, text); err != nil {
		return usagef("a number is accepted, as \"txctl list\" shows it, or one of "+strings.Join(snapshotWords, ", "),
			"%s: %s is no snapshot", name, short(text))
	}
	return nil
}

// resolve turns a number or word into a number.
func resolve(name, text string, st bus.Status) (uint64, error) {
	var one *bus.Snapshot
	switch text {
	case bus.WordBooted:
		one = st.Booted
	case bus.WordDefault:
		one = st.Default
	case bus.WordPending:
		one = st.Pending
	case bus.WordLastGood:
		one = st.LastGood
	default:
		return number(name, text)
	}
	if one == nil {
		return 0, fmt.Errorf("there is no %s snapshot: %w", text, fault.ErrNotFound)
	}
	return one.Number, nil
}

// duration reads "90m", "36h", "2d", "1w" and "never" (0), in seconds.
func duration(name, text string) (uint64, error) {
	hint := "accepted are for example 90m, 36h, 2d, 1w and never"
	if text == "never" {
		return 0, nil
	}
	const day = 24 * time.Hour
	d, err := time.ParseDuration(text)
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if digits, ok := strings.CutSuffix(text, suffix); ok {
			var n uint64
			if n, err = strconv.ParseUint(digits, 10, 64); err == nil && n > uint64(math.MaxInt64/unit) {
				err = strconv.ErrRange
			}
			d = time.Duration(n) * unit
		}
	}
	if err != nil || d < time.Second {
		return 0, usagef(hint, "%s: %s is no duration of a second or more", name, short(text))
	}
	return uint64(d / time.Second), nil
}

// noArguments is for verbs that take none.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(fmt.Sprintf("\"%s --help\" shows what is accepted", c.CommandPath()), "%s: %s: no argument is accepted here", c.CommandPath(), short(args[0]))
	}
	return nil
}

// atMostOne is for verbs with one argument that may be left out.
func atMostOne(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef(fmt.Sprintf("\"%s --help\" shows what is accepted", c.CommandPath()), "%s: %s: only one argument is accepted here", c.CommandPath(), short(args[1]))
	}
	return nil
}

// afterDashes splits arguments at "--": what comes before it, and the command
// behind it. Without it an option of the command would be taken for ours.
func afterDashes(c *cobra.Command, args []string, most int, optional bool) (before, argv []string, err error) {
	at := c.ArgsLenAtDash()
	hint := fmt.Sprintf("usage: txctl %s", c.Use)
	switch {
	case at < 0 && optional && len(args) == 0:
		return nil, nil, nil
	case at < 0 && len(args) > 0:
		return nil, nil, usagef(hint, "%s: \"--\" is missing before the command", c.CommandPath())
	case at < 0 || at == len(args):
		return nil, nil, usagef(hint, "%s: the command is missing", c.CommandPath())
	case at > most:
		return nil, nil, usagef(hint, "%s: %s: not expected before \"--\"", c.CommandPath(), short(args[most]))
	case args[at] == "":
		return nil, nil, usagef(hint, "%s: the command is empty", c.CommandPath())
	}
	return args[:at], args[at:], nil
}

// oneSnapshot checks the one argument that names a snapshot.
func oneSnapshot(c *cobra.Command, args []string) (string, error) {
	if len(args) == 0 {
		return "", usagef("usage: txctl "+c.Use, "%s: NUMBER is missing", c.CommandPath())
	}
	if err := atMostOne(c, args); err != nil {
		return "", err
	}
	return args[0], snapshotName("NUMBER", args[0])
}
