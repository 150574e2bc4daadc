// The file in which GRUB counts the tries of a trial, and in which it is told of
// a snapshot to boot one time.

package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// Arm gives a snapshot all its tries, before the switch that puts it on trial.
// It is fault.ErrNotSupported where the loader cannot count.
func (b *Boot) Arm(number uint64, tries int) error {
	if tries < 1 || tries > grubcfg.MaxTries {
		return fmt.Errorf("%w: %d tries: 1 to %d can be counted", fault.ErrInvalidArgument, tries, grubcfg.MaxTries)
	}
	s, err := b.look(context.Background())
	if err != nil {
		return err
	}
	defer s.Close()
	if s.usesSystemdBoot() {
		return s.armEntry(number, tries)
	}
	err = s.changeEnvironment(func(env *grubcfg.Env) error {
		if err := s.dropOldCounters(env, number); err != nil {
			return err
		}
		return env.Set(grubcfg.TriesVariable(number), strconv.Itoa(tries))
	})
	if err != nil {
		return fmt.Errorf("cannot set the tries of snapshot %d: %w", number, err)
	}
	return nil
}

// dropOldCounters makes room: what is neither armed now nor on trial in the
// menu counts for nothing any more.
func (s *site) dropOldCounters(env *grubcfg.Env, number uint64) error {
	m, _, err := s.grubMenu()
	if err != nil && !errors.Is(err, grubcfg.ErrMenuChanged) && !errors.Is(err, grubcfg.ErrNotMenu) {
		return err
	}
	if err != nil {
		return nil // who knows what it counts
	}
	prefix := strings.TrimSuffix(grubcfg.TriesVariable(0), "0")
	for _, v := range env.Variables() {
		if !strings.HasPrefix(v.Name, prefix) || v.Name == grubcfg.TriesVariable(number) || v.Name == grubcfg.TriesVariable(m.Default) {
			continue
		}
		if err := env.Unset(v.Name); err != nil {
			return err
		}
	}
	return nil
}

// Tries is how many boots of its trial a snapshot has left; false where nothing
// is counted for it, which stands for all.
func (b *Boot) Tries(number uint64) (left int, ok bool, err error) {
	s, err := b.look(context.Background())
	if err != nil {
		return 0, false, err
	}
	defer s.Close()
	if s.usesSystemdBoot() {
		return s.entryTries(number)
	}
	env, err := s.environment()
	if err != nil || env == nil {
		return 0, false, err
	}
	value, found := env.Get(grubcfg.TriesVariable(number))
	left, err = strconv.Atoi(value)
	if !found || err != nil || left < 0 {
		return 0, false, nil // what makes no sense to GRUB either
	}
	return left, true, nil
}

// Disarm forgets the tries of a snapshot, after it is on trial no more.
func (b *Boot) Disarm(number uint64) error {
	s, err := b.look(context.Background())
	if err != nil {
		return err
	}
	defer s.Close()
	if s.usesSystemdBoot() {
		return s.disarmEntry(number)
	}
	env, err := s.environment()
	if err != nil || env == nil {
		return err
	}
	if _, found := env.Get(grubcfg.TriesVariable(number)); !found {
		return nil
	}
	err = s.changeEnvironment(func(env *grubcfg.Env) error { return env.Unset(grubcfg.TriesVariable(number)) })
	if err != nil {
		return fmt.Errorf("cannot forget the tries of snapshot %d: %w", number, err)
	}
	return nil
}

// Once makes the next boot one of the snapshot, and that boot only; nil takes
// it back. It is fault.ErrNotSupported where the loader could not forget it.
func (b *Boot) Once(number *uint64) error {
	s, err := b.look(context.Background())
	if err != nil {
		return err
	}
	defer s.Close()
	if s.usesSystemdBoot() {
		return s.entryOnce(number)
	}
	if number == nil {
		env, err := s.environment()
		if err != nil || env == nil {
			return err
		}
		if value, _ := env.Get(grubcfg.OnceVariable); value == "" {
			return nil
		}
		return s.changeEnvironment(func(env *grubcfg.Env) error { return env.Unset(grubcfg.OnceVariable) })
	}
	if err := s.canBootOnce(*number); err != nil {
		return err
	}
	return s.changeEnvironment(func(env *grubcfg.Env) error {
		return env.Set(grubcfg.OnceVariable, strconv.FormatUint(*number, 10))
	})
}

// OnceIs is the snapshot that the next boot alone is of, nil if there is none.
func (b *Boot) OnceIs() (*uint64, error) {
	s, err := b.look(context.Background())
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.usesSystemdBoot() {
		return s.entryOnceIs()
	}
	env, err := s.environment()
	if err != nil || env == nil {
		return nil, err
	}
	value, _ := env.Get(grubcfg.OnceVariable)
	number, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return nil, nil // none, or one that GRUB ignores
	}
	return &number, nil
}

// canBootOnce refuses what the menu on disk would not heed.
func (s *site) canBootOnce(number uint64) error {
	if !s.usesGRUB() || s.grub.relative {
		return errNoMenu()
	}
	m, found, err := s.grubMenu()
	if err != nil {
		return err
	}
	known := false
	for _, n := range m.Entries {
		known = known || n == number
	}
	switch {
	case !found:
		return fmt.Errorf("%w: there is no boot menu of txupd yet", fault.ErrNotSupported)
	case !m.Once:
		return fmt.Errorf("%w: the boot menu does not boot a snapshot one time: GRUB has no file that it can write", fault.ErrNotSupported)
	case !known:
		return fmt.Errorf("snapshot %d is not in the boot menu: %w", number, fault.ErrNotFound)
	}
	return nil
}

// environment reads the environment block; nil where there is none yet, or
// nothing that GRUB can write.
func (s *site) environment() (*grubcfg.Env, error) {
	if !s.usesGRUB() {
		return nil, nil
	}
	file, m, _ := s.counterAt()
	if m == nil {
		return nil, nil
	}
	raw, err := s.tree.read(file)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	env, err := grubcfg.ParseEnv(raw)
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", file, err)
	}
	return env, nil
}

// changeEnvironment edits the environment block. One that is damaged, or not
// there, is made anew: GRUB reads nothing from it as it is.
func (s *site) changeEnvironment(edit func(*grubcfg.Env) error) error {
	if !s.usesGRUB() || s.grub.relative {
		return errNoMenu()
	}
	file, m, why := s.counterAt()
	if m == nil {
		return fmt.Errorf("%w: %s", fault.ErrNotSupported, why)
	}
	env, err := s.environment()
	if err != nil && !errors.Is(err, grubcfg.ErrNotEnv) {
		return err
	}
	whole := env != nil
	if !whole {
		env = grubcfg.NewEnv()
	}
	before := env.Render()
	if err := edit(env); err != nil {
		return err
	}
	after := env.Render()
	if whole && bytes.Equal(before, after) {
		return nil
	}
	if !whole {
		return s.put(file, after, 0o644, nil)
	}
	return s.overwrite(file, after)
}

// overwrite changes a file in the blocks that it has, as GRUB does: nothing else
// of the file system changes, so that a cut leaves the old text or the new.
func (s *site) overwrite(file string, text []byte) error {
	w, err := s.settler(path.Dir(file))
	if err != nil {
		return err
	}
	defer w.Close()
	f, err := s.tree.open(file, unix.O_WRONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := failpoint.Around("boot/count", func() error { _, err := f.WriteAt(text, 0); return err }); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.Name(), err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.Name(), err)
	}
	return w.settle()
}
