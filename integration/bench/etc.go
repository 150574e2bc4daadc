// The merge of /etc, against carrying one tree over another without merging anything.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/pkg/snapshot"
)

const (
	etcFiles  = 5000
	etcEdited = 50 // by the running side; half of them by the snapshot too, on other lines
)

// etc merges an /etc of 5,000 files of which 50 were changed, as the commit of a
// command does: it forks the running root, the compare of that image with the
// earlier one says which, and what is merged into is thrown away if the power is cut.
func (s *stage) etc() error {
	d := btrfs.Driver{}
	top := filepath.Join(s.machine.Top, "etc-bench")
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(top, name) }
	if err := etcTrees(d, at); err != nil {
		return err
	}
	fresh := 0
	target := func() (string, error) {
		fresh++
		dir := at(fmt.Sprint("target", fresh))
		return dir, d.Fork(at("ours"), dir, false)
	}
	merge, err := s.measure(func() (time.Duration, error) {
		dir, err := target()
		if err != nil {
			return 0, err
		}
		image := dir + "-live"
		return timed(func() error {
			return errors.Join(d.Fork(at("theirs"), image, true), s.mergeEtc(d, at("ancestor"), dir, image))
		})
	})
	if err != nil {
		return err
	}
	rsync, err := s.measure(func() (time.Duration, error) {
		dir, err := target()
		if err != nil {
			return 0, err
		}
		return timed(func() error {
			_, err := output("rsync", "-a", "--delete", at("theirs")+"/etc/", dir+"/etc/")
			return err
		})
	})
	if err != nil {
		return err
	}
	value(fmt.Sprintf("to merge an /etc of %d files, %d of them changed", etcFiles, etcEdited), ms(merge.median()), "bar 100 ms")
	report("  to `rsync -a` of the running one, which merges nothing", merge.median(), rsync.median(), "no bar")
	return nil
}

func (s *stage) mergeEtc(d btrfs.Driver, ancestor, ours, theirs string) error {
	before, err := tree(d, ancestor)
	if err != nil {
		return err
	}
	after, err := tree(d, theirs)
	if err != nil {
		return err
	}
	changed, err := snapshot.Compare(s.ctx, &btrfs.Searcher{}, before, after)
	if err != nil {
		return err
	}
	suspects := []string{}
	for _, c := range changed {
		if rel, ok := strings.CutPrefix(c.Path, "/etc/"); ok {
			suspects = append(suspects, rel)
		}
	}
	var trees etcmerge.Trees
	for root, to := range map[string]**os.File{ancestor: &trees.Ancestor, ours: &trees.Ours, theirs: &trees.Theirs} {
		if *to, err = etcmerge.Open(root, "etc"); err != nil {
			return err
		}
		defer (*to).Close()
	}
	plan, err := etcmerge.Merge(s.ctx, trees, etcmerge.Options{Number: 1, Suspects: suspects, Disposable: true})
	if err == nil && len(plan.Decisions) != etcEdited {
		err = fmt.Errorf("%d decisions about %d edits", len(plan.Decisions), etcEdited)
	}
	return err
}

// etcTrees makes the three roots. As in a real /etc most files are small, and one in ten is a link.
func etcTrees(d btrfs.Driver, at func(string) string) error {
	name := func(root string, i int) string {
		return filepath.Join(at(root), "etc", fmt.Sprintf("d%02d", i%60), fmt.Sprintf("file-%04d.conf", i))
	}
	text := func(i int) []byte {
		var b strings.Builder
		for line := range 20 + i*37%150 {
			fmt.Fprintf(&b, "setting-%03d = value %04d\n", line, i)
		}
		return []byte(b.String())
	}
	if err := d.Create(at("root")); err != nil {
		return err
	}
	for i := range etcFiles {
		file := name("root", i)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if i%10 == 9 {
			err = errors.Join(err, os.Symlink("../"+filepath.Base(name("root", i-1)), file))
		} else {
			err = errors.Join(err, os.WriteFile(file, text(i), 0o644))
		}
		if err != nil {
			return err
		}
	}
	// An /etc is older than what it is forked for: none of it is of the same moment.
	if err := d.Sync(at("root")); err != nil {
		return err
	}
	for _, side := range []string{"ancestor", "ours", "theirs"} {
		if err := d.Fork(at("root"), at(side), side == "ancestor"); err != nil {
			return err
		}
	}
	edit := func(side string, i, at int) error {
		b := text(i)
		b[at] = 'X' // the same size, and often the same second
		return os.WriteFile(name(side, i), b, 0o644)
	}
	for i := range etcEdited {
		err := edit("theirs", 90*i, 300)
		if i%2 == 0 {
			err = errors.Join(err, edit("ours", 90*i, 40))
		}
		if err != nil {
			return err
		}
	}
	return d.Sync(at("theirs"))
}
