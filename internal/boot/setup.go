// What an administrator does once so that the menu decides what boots: the hook
// in GRUB's configuration, and a place for GRUB's files that is in no snapshot.

package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// Setup makes the machine boot by our menu, and says what it does before it
// does it. It may run twice, and what it needs it finds out before the first
// change. The machine can boot at each instant: GRUB is only led elsewhere when
// everything is there, and the old place stays as it is.
func (b *Boot) Setup(ctx context.Context, say func(string)) error {
	s, err := b.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case s.usesSystemdBoot():
		err = s.setupSystemdBoot(say)
	case s.usesGRUB() && !s.grub.relative:
		err = s.setupGRUB(ctx, say)
	}
	if err != nil {
		return fmt.Errorf("cannot set up the boot loader: %w", err)
	}
	f, err := b.Probe(ctx)
	if err != nil {
		return err
	}
	if err := f.Err(); err != nil {
		return err
	}
	say("nothing else is needed: " + f.Why)
	return nil
}

func (s *site) setupGRUB(ctx context.Context, say func(string)) error {
	if s.host.CommandLine == "" {
		return fmt.Errorf("%w: the system at %s is not the one that runs; boot it first", fault.ErrNotSupported, s.host.Root)
	}
	mkconfig, err := s.tool(ctx, "grub-mkconfig", "grub2-mkconfig")
	if err != nil {
		return err
	}
	unfinished, err := s.moveUnfinished(ctx)
	if err != nil {
		return err
	}
	var move *grubMove
	if s.inRoot() || unfinished {
		if move, err = s.planMove(ctx); err != nil {
			return err
		}
	}
	changed, err := s.writeHook(say)
	if err != nil {
		return err
	}
	if move != nil {
		return move.do(ctx, mkconfig, say)
	}
	if changed || !s.grub.hooked() {
		return s.regenerate(ctx, s.grub.dir, mkconfig, say)
	}
	return nil
}

// tool is the first of the names under which a program is installed.
func (b *Boot) tool(ctx context.Context, names ...string) (string, error) {
	for _, name := range names {
		_, err := b.host.Run(ctx, name, "--version")
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("cannot use %s: %w", name, err)
		}
		return name, nil
	}
	return "", fmt.Errorf("%w: %s is not installed", fault.ErrNotSupported, names[0])
}

// writeHook puts the script in place that makes our menu part of grub.cfg.
func (s *site) writeHook(say func(string)) (changed bool, err error) {
	name := grubcfg.HookPath[1:]
	found, err := s.tree.read(name)
	if err != nil && !absent(err) {
		return false, err
	}
	if bytes.Equal(found, []byte(grubcfg.HookScript)) && s.tree.mode(name).Perm()&0o111 != 0 {
		return false, nil
	}
	say("writing " + grubcfg.HookPath + ", by which GRUB's configuration loads the boot menu")
	return true, s.put(name, []byte(grubcfg.HookScript), 0o755, nil)
}

// regenerate makes grub.cfg anew, aside: the tool itself would write over the old one.
func (s *site) regenerate(ctx context.Context, dir, mkconfig string, say func(string)) error {
	name := path.Join(dir, "grub.cfg")
	aside := path.Join(dir, asideName("grub.cfg"))
	say(fmt.Sprintf("making %s anew with %s", s.seen(s.abs(name)), mkconfig))
	defer func() {
		if d, err := s.directory(dir); err == nil {
			// Gone already, unless something failed.
			_ = errors.Join(remove(d, path.Base(aside)), remove(d, path.Base(aside)+".new"))
			d.Close()
		}
	}()
	if _, err := s.host.Run(ctx, mkconfig, "-o", "/"+aside); err != nil {
		return fmt.Errorf("%s failed: %w", mkconfig, err)
	}
	text, err := s.tree.read(aside)
	if err != nil {
		return err
	}
	if !grubcfg.Hooked(text) {
		return fmt.Errorf("what %s made does not load the boot menu, though %s is there", mkconfig, grubcfg.HookPath)
	}
	// It keeps passwords from being read, where there are any.
	return s.put(name, text, s.tree.mode(aside).Perm(), nil)
}
