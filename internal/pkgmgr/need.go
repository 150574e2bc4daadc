// How much space a change of packages takes, as the package manager itself says
// before it does anything.

package pkgmgr

import (
	"context"
	"encoding/xml"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Need is what a command asks of the disk, in bytes.
type Need struct {
	// Download goes into the package cache (Manager.Caches).
	Download int64
	// Written is what goes into the root. Nothing is taken off for what it
	// replaces: the snapshot before keeps that.
	Written int64
}

// noSpace are the words of package managers, and of what they run, for a full disk.
var noSpace = regexp.MustCompile(`(?i)no space left on device|not enough (?:free )?(?:disk )?space|have enough free space|needs \S+ ?[KMGT]?i?B (?:more space )?on the \S+ filesystem`)

// Estimate is apt-get's summary alone, which also lists what it would fetch.
func (apt) Estimate(c Command) (Command, bool) {
	v := verb(c.Argv)
	if v != "install" && v != "dist-upgrade" || slices.Contains(c.Argv, "--simulate") {
		return Command{}, false
	}
	argv, ok := beforeVerb(c.Argv, "--print-uris")
	return Command{Argv: argv, Env: c.Env}, ok
}

var (
	// 'http://deb.debian.org/…/htop_3.4.1-5_amd64.deb' htop_3.4.1-5_amd64.deb 171412 SHA256:…
	aptURI   = regexp.MustCompile(`(?m)^'([a-z+]+):[^']*' \S+ (\d+)`)
	aptAfter = regexp.MustCompile(`(?m)^After this operation, ([0-9.,]+) ([kMGT]?)B (of additional disk space will be used|disk space will be freed)`)
	// The lists of what goes, or is replaced, with the names indented below.
	aptGone = regexp.MustCompile(`(?m)^The following packages will be (?:upgraded|DOWNGRADED|REMOVED):\n((?:  .*\n)+)`)
)

// units are apt's, by their first letter.
var units = map[string]float64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

// Need reads what Estimate says. apt tells the difference to what is installed
// now; what goes or is replaced is looked up.
func (m apt) Need(ctx context.Context, root Root, answer []byte) (Need, error) {
	var n Need
	for _, uri := range aptURI.FindAllSubmatch(answer, -1) {
		if from := string(uri[1]); from == "file" || from == "cdrom" {
			continue // used where it is
		}
		size, err := strconv.ParseInt(string(uri[2]), 10, 64)
		if err != nil {
			return Need{}, fmt.Errorf("cannot read apt's answer %q: %w", uri[0], err)
		}
		n.Download = plus(n.Download, size)
	}
	after := aptAfter.FindSubmatch(answer)
	if after == nil {
		return n, nil // nothing is installed, or nothing of any size
	}
	size, err := strconv.ParseFloat(strings.ReplaceAll(string(after[1]), ",", ""), 64)
	if err != nil {
		return Need{}, fmt.Errorf("cannot read apt's answer %q: %w", after[0], err)
	}
	size *= units[string(after[2])]
	if strings.HasSuffix(string(after[3]), "freed") {
		size = -size
	}
	gone := map[string]bool{}
	for _, list := range aptGone.FindAllSubmatch(answer, -1) {
		for name := range strings.FieldsSeq(string(list[1])) {
			gone[strings.TrimSuffix(name, "*")] = true
		}
	}
	installed, err := installedSizes(ctx, root, gone)
	if err != nil {
		return Need{}, fmt.Errorf("cannot tell the size of what is replaced: %w", err)
	}
	n.Written = bytesOf(size + float64(installed))
	return n, nil
}

// plus adds sizes; what is more than can be told stays the most that can.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// bytesOf is a size in the bounds of one.
func bytesOf(size float64) int64 {
	switch {
	case size >= math.MaxInt64:
		return math.MaxInt64
	case size > 0:
		return int64(size)
	}
	return 0
}

// installedSizes sums up the sizes of installed packages, by their names as apt has them.
func installedSizes(ctx context.Context, root Root, names map[string]bool) (sum int64, err error) {
	if len(names) == 0 {
		return 0, nil
	}
	t, err := openTree(root.Dir)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	db, err := readStatus(ctx, t)
	if err != nil {
		return 0, err
	}
	for _, e := range db.entries {
		if e.present() && (names[e.name] || names[e.name+":"+e.arch]) {
			sum = plus(sum, e.kibibytes<<10)
		}
	}
	return sum, nil
}

// Estimate is zypper's summary of a dry run.
func (zypper) Estimate(c Command) (Command, bool) {
	v := verb(c.Argv)
	if v != "install" && v != "update" && v != "dist-upgrade" || slices.Contains(c.Argv, "--dry-run") {
		return Command{}, false
	}
	argv, ok := beforeVerb(c.Argv, "--xmlout")
	if ok {
		argv = slices.Insert(argv, slices.Index(argv, v)+1, "--dry-run")
	}
	return Command{Argv: argv, Env: c.Env}, ok
}

// Need reads what Estimate says. Older versions tell the difference alone.
func (zypper) Need(_ context.Context, _ Root, answer []byte) (Need, error) {
	var doc struct {
		Summary *struct {
			Download  int64  `xml:"download-size,attr"`
			Diff      int64  `xml:"space-usage-diff,attr"`
			Installed *int64 `xml:"space-usage-installed,attr"`
		} `xml:"install-summary"`
	}
	if err := xml.Unmarshal(answer, &doc); err != nil {
		return Need{}, fmt.Errorf("cannot read zypper's answer: %w", err)
	}
	if doc.Summary == nil {
		return Need{}, nil // there is nothing to do
	}
	n := Need{Download: max(0, doc.Summary.Download), Written: max(0, doc.Summary.Diff)}
	if doc.Summary.Installed != nil {
		n.Written = max(0, *doc.Summary.Installed)
	}
	return n, nil
}
