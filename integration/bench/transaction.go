// What a transaction costs around the user's command.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/busclient"
	"github.com/txupd/txupd/pkg/journal/record"
)

// transactionOnce runs a command in a transaction, from the bus call to the answer.
func (s *stage) transactionOnce(keep bool, argv ...string) (time.Duration, error) {
	return timed(func() error {
		t, err := s.client.Run(s.ctx, argv, busclient.About{KeepUnchanged: keep}, busclient.Input{})
		if err != nil {
			return err
		}
		if err := t.Finished(s.ctx); err != nil {
			return err
		}
		out, err := t.State(s.ctx)
		if err != nil {
			return err
		}
		if keep && out.Phase != record.Committed || !keep && !out.Unchanged {
			return fmt.Errorf("transaction %d ended as %s: %s", out.Number, out.Phase, out.ErrorMessage)
		}
		return nil
	})
}

// bare does with ioctls alone what a transaction has to do: two forks, seal,
// set default, one syncfs.
func (s *stage) bare(i int) (time.Duration, error) {
	d := btrfs.Driver{}
	dir := filepath.Join(s.machine.Root, ".snapshots", fmt.Sprintf("bare-%d", i))
	base, root := filepath.Join(dir, "base"), filepath.Join(dir, "snapshot")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	before, err := d.Default(s.machine.Root)
	if err != nil {
		return 0, err
	}
	took, err := timed(func() error {
		if err := d.Fork(s.machine.Root, base, true); err != nil {
			return err
		}
		if err := d.Fork(s.machine.Root, root, false); err != nil {
			return err
		}
		if err := d.SetReadOnly(root, true); err != nil {
			return err
		}
		info, err := d.Info(root)
		if err != nil {
			return err
		}
		if err := d.SetDefault(s.machine.Root, info.ID); err != nil {
			return err
		}
		return d.Sync(s.machine.Root)
	})
	if err != nil {
		return took, err
	}
	if err := d.SetDefault(s.machine.Root, before); err != nil {
		return took, err
	}
	for _, path := range []string{base, root} {
		info, err := d.Info(path)
		if err != nil {
			return took, err
		}
		if err := d.Delete(path, info.ID); err != nil {
			return took, err
		}
	}
	return took, os.Remove(dir)
}

// pair measures ours and the bare ioctls in turn, so that both see the same machine.
func (s *stage) pair() (ours, bare sample, err error) {
	for i := range s.runs + 1 {
		b, err := s.bare(i)
		if err != nil {
			return nil, nil, err
		}
		o, err := s.transactionOnce(true, "true")
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

// tidy rolls back and deletes what the last transaction made, so that each run starts alike.
func (s *stage) tidy() error {
	st, err := s.client.Status(s.ctx)
	if err != nil || st.Pending == nil {
		return err
	}
	if _, err := s.client.Rollback(s.ctx, int64(st.Booted.Number)); err != nil {
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
	var committed, unchanged []time.Duration
	for _, total := range []int{10_000, 200_000} {
		if err := s.fill(total); err != nil {
			return err
		}
		ours, _, err := s.pair()
		if err != nil {
			return err
		}
		same, err := s.measure(func() (time.Duration, error) { return s.transactionOnce(false, "true") })
		if err != nil {
			return err
		}
		committed, unchanged = append(committed, ours.median()), append(unchanged, same.median())
	}
	report("a committed transaction, 200,000 files : 10,000 files", committed[1], committed[0], "bar: does not grow")
	report("a transaction that changes nothing, 200,000 : 10,000 files", unchanged[1], unchanged[0], "bar: does not grow")
	return nil
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

// manySnapshots shows that 500 snapshots cost a transaction at most a fifth.
func (s *stage) manySnapshots() error {
	few, _, err := s.pair()
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
	many, _, err := s.pair()
	if err != nil {
		return err
	}
	report("a committed transaction with 500 snapshots : with few", many.median(), few.median(), "bar 1.2")
	return nil
}
