// What a transaction costs around the user's command.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// transactionOnce runs a command in a transaction and measures from the bus
// call to the answer.
func (s *stage) transactionOnce(keep bool, argv ...string) (time.Duration, error) {
	var t *client.Transaction
	took, err := timed(func() (err error) {
		if t, err = s.client.Run(s.ctx, argv, client.About{KeepUnchanged: keep}, client.Input{}); err != nil {
			return err
		}
		return t.Finished(s.ctx)
	})
	if err != nil {
		return took, err
	}
	out, err := t.State(s.ctx)
	if err == nil && (keep && out.Phase != record.Committed || !keep && !out.Unchanged) {
		err = fmt.Errorf("transaction %d ended as %s: %s", out.Number, out.Phase, out.ErrorMessage)
	}
	return took, err
}

// pair measures ours and the bare ioctls in turn, so that both see the same machine.
func (s *stage) pair() (ours, bare sample, err error) {
	for i := range s.runs + 1 {
		if err := s.settle(); err != nil {
			return nil, nil, err
		}
		b, err := s.bare(i)
		if err != nil {
			return nil, nil, err
		}
		if err := s.settle(); err != nil {
			return nil, nil, err
		}
		o, err := s.transactionOnce(true, emptyCommand)
		if err != nil {
			return nil, nil, err
		}
		if err := s.tidy(); err != nil {
			return nil, nil, err
		}
		if i > 0 {
			ours, bare = append(ours, o), append(bare, b)
		}
	}
	return ours, bare, nil
}

// settle waits until the file system has nothing left to do of what came
// before: neither side pays for the other's cleaning up.
func (s *stage) settle() error {
	_, err := output("btrfs", "filesystem", "sync", s.machine.Root)
	if err == nil {
		_, err = output("btrfs", "subvolume", "sync", s.machine.Root)
	}
	return err
}

// tidy rolls back and deletes what the last transaction made, so that each run starts alike.
func (s *stage) tidy() error {
	st, err := s.client.Status(s.ctx)
	if err != nil || st.Pending == nil {
		return err
	}
	if _, err := s.client.Rollback(s.ctx, int64(st.Booted.Number), client.RollbackOptions{}); err != nil {
		return err
	}
	return s.client.Delete(s.ctx, st.Pending.Number)
}

func (s *stage) transaction() error {
	ours, bare, err := s.pair()
	if err != nil {
		return err
	}
	report("a committed transaction with an empty command : bare ioctls", ours.median(), bare.median(), "bar 2.5")
	return nil
}

// manyFiles shows that neither a transaction nor finding out that nothing changed grows with the root.
func (s *stage) manyFiles() error {
	for _, total := range []int{10_000, 200_000} {
		if err := s.fill(total); err != nil {
			return err
		}
		ours, bare, err := s.pair()
		if err != nil {
			return err
		}
		report(fmt.Sprintf("the same with %d files in the root : bare ioctls", total), ours.median(), bare.median(), "bar: no growth")
	}
	return s.recognise()
}

// recognise measures how long it takes to see that nothing changed, with the
// flush that has to come before.
func (s *stage) recognise() error {
	// The first one makes the places where caches are mounted; in the second nothing at all changes.
	for range 2 {
		if _, err := s.transactionOnce(true, emptyCommand); err != nil {
			return err
		}
	}
	st, err := s.client.Status(s.ctx)
	if err != nil {
		return err
	}
	d := btrfs.Driver{}
	dir := filepath.Join(s.machine.Root, ".snapshots", fmt.Sprint(st.Pending.Number))
	flushed := filepath.Join(s.machine.Root, ".snapshots/flushed")
	took, err := s.measure(func() (time.Duration, error) {
		var same bool
		took, err := timed(func() error {
			if err := d.Fork(filepath.Join(dir, "snapshot"), flushed, true); err != nil {
				return err
			}
			before, err := tree(d, filepath.Join(dir, "base"))
			if err != nil {
				return err
			}
			after, err := tree(d, flushed)
			if err != nil {
				return err
			}
			changed, err := snapshot.Changed(s.ctx, &btrfs.Searcher{}, before, after)
			same = !changed
			return err
		})
		if err == nil && !same {
			err = errors.New("a change was seen where there is none")
		}
		info, e := d.Info(flushed)
		return took, errors.Join(err, e, d.Delete(flushed, info.ID))
	})
	if err != nil {
		return err
	}
	value("to see that nothing changed in 200,000 files, with the flush", ms(took.median()), "bar 20 ms")
	return s.tidy()
}

func tree(d btrfs.Driver, dir string) (snapshot.Tree, error) {
	info, err := d.Info(dir)
	return snapshot.Tree{Dir: dir, Subvolume: info}, err
}

// fill puts small files into the running root until it has about total of them.
func (s *stage) fill(total int) error {
	const perDir = 500
	top := filepath.Join(s.machine.Root, "usr/share/many")
	for dir := 0; dir*perDir < total; dir++ {
		path := filepath.Join(top, fmt.Sprintf("d%04d", dir))
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		for f := range perDir {
			if err := os.WriteFile(filepath.Join(path, fmt.Sprintf("file-%03d", f)), []byte(path), 0o644); err != nil {
				return err
			}
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	return btrfs.Driver{}.Sync(s.machine.Root)
}

// manySnapshots shows that the overhead grows by at most a fifth with 500
// snapshots. The file system's own work grows too, ours and the bare ioctls' alike:
// the extent tree of a root that is shared by so many is larger.
func (s *stage) manySnapshots() error {
	few, bareFew, err := s.pair()
	if err != nil {
		return err
	}
	d := btrfs.Driver{}
	for n := 1001; n <= 1500; n++ {
		dir := filepath.Join(s.machine.Root, ".snapshots", fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := d.Fork(s.machine.Root, filepath.Join(dir, "snapshot"), true); err != nil {
			return err
		}
	}
	many, bareMany, err := s.pair()
	if err != nil {
		return err
	}
	overhead := func(ours, bare sample) float64 { return float64(ours.median()) / float64(bare.median()) }
	value("the overhead with 500 snapshots : with few", fmt.Sprintf("%.2f×", overhead(many, bareMany)/overhead(few, bareFew)), "bar 1.2")
	report("  of which a committed transaction", many.median(), few.median(), "with 500 : with few")
	report("  and the bare ioctls", bareMany.median(), bareFew.median(), "with 500 : with few")
	return nil
}
