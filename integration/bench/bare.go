// What a transaction is compared with, built in C when the benchmarks start.

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/btrfs"
)

//go:embed bare.c.txt
var bareSource string

// emptyCommand does nothing, and loads nothing to do it.
const emptyCommand = "/usr/bin/empty"

func compile(source, to string) error {
	cmd := exec.Command("gcc", "-O1", "-static", "-x", "c", "-o", to, "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w: %s", to, err, out)
	}
	return nil
}

// bare runs the small program that does with ioctls alone what a transaction
// has to do at least, and takes away what it made.
func (s *stage) bare(i int) (time.Duration, error) {
	d := btrfs.Driver{}
	dir := filepath.Join(s.machine.Root, ".snapshots", fmt.Sprintf("bare-%d", i))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	before, err := d.Default(s.machine.Root)
	if err != nil {
		return 0, err
	}
	took, err := timed(func() error {
		_, err := output(s.bareProgram, s.machine.Root, dir)
		return err
	})
	if err != nil {
		return took, err
	}
	if err := d.SetDefault(s.machine.Root, before); err != nil {
		return took, err
	}
	for _, name := range []string{"base", "snapshot"} {
		info, err := d.Info(filepath.Join(dir, name))
		if err = errors.Join(err, d.Delete(filepath.Join(dir, name), info.ID)); err != nil {
			return took, err
		}
	}
	return took, os.Remove(dir)
}
