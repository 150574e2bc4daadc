// The commit point of a machine with a menu: what the menu says, and replacing it.

package boot

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// State is what the loader's files say now.
type State struct {
	// Found: there is a menu of ours; without one everything else is zero.
	Found    bool
	Default  uint64
	Fallback *uint64
	// Trial: the default is booted Tries times at most.
	Trial bool
	Tries int
	// Entries are the numbers that can be booted.
	Entries []uint64
}

// Switch replaces the menu: the commit point where the loader has one. It has
// happened, and would survive a power cut, when nil is returned; with an error
// it may have happened, which State tells.
func (b *Boot) Switch(ctx context.Context, m grubcfg.Menu) error {
	s, err := b.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case s.usesSystemdBoot():
		err = s.switchEntries(ctx, m)
	case s.usesGRUB():
		err = s.switchGRUB(ctx, m)
	default:
		err = errNoMenu()
	}
	if err != nil {
		return fmt.Errorf("cannot replace the boot menu: %w", err)
	}
	s.keepSpare()
	return nil
}

func errNoMenu() error {
	return fmt.Errorf("%w: no boot loader with a menu was found", fault.ErrNotSupported)
}

func (s *site) switchGRUB(ctx context.Context, m grubcfg.Menu) error {
	if s.grub.relative {
		return fmt.Errorf("%w: GRUB follows the default subvolume here", fault.ErrNotSupported)
	}
	text, err := m.Render()
	if err != nil {
		return err
	}
	return s.put(s.grub.menu(), text, 0o644, func(aside string) error { return s.checkScript(ctx, aside) })
}

// checkScript lets GRUB's own parser read a script, where it is installed.
func (b *Boot) checkScript(ctx context.Context, file string) error {
	for _, tool := range []string{"grub-script-check", "grub2-script-check"} {
		_, err := b.host.Run(ctx, tool, file)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s refuses the boot menu: %w", tool, err)
		}
		return nil
	}
	b.host.Log.Debug("the boot menu is not checked: no grub-script-check")
	return nil
}

// State reads what the loader's files say. A menu of ours that is damaged, or
// was changed by somebody else, is an error: what it boots is not known.
func (b *Boot) State(ctx context.Context) (State, error) {
	s, err := b.look(ctx)
	if err != nil {
		return State{}, err
	}
	defer s.Close()
	var st State
	switch {
	case s.usesSystemdBoot():
		st, err = s.entriesState()
	case s.usesGRUB():
		st, err = s.grubState()
	}
	if err != nil {
		return State{}, fmt.Errorf("cannot read the boot menu: %w", err)
	}
	return st, nil
}

func (s *site) grubState() (State, error) {
	m, found, err := s.grubMenu()
	if err != nil || !found {
		return State{}, err
	}
	return State{
		Found: true, Default: m.Default, Fallback: m.Fallback, Trial: m.Tries > 0, Tries: m.Tries, Entries: m.Entries,
	}, nil
}

func (s *site) grubMenu() (grubcfg.Summary, bool, error) {
	text, err := s.tree.read(s.grub.menu())
	if absent(err) {
		return grubcfg.Summary{}, false, nil
	}
	if err != nil {
		return grubcfg.Summary{}, false, err
	}
	m, err := grubcfg.ParseMenu(text)
	return m, err == nil, err
}
