// The kernels of a separate /boot, shown to the package manager of a snapshot.

package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/txupd/txupd/internal/inroot"
)

// Populate puts the running system's kernels into the /boot of a snapshot,
// where those are on a partition of their own: the package manager in the
// snapshot expects to see them. Only kernels whose modules the snapshot has are
// copied, and files that are there stay as they are.
func (b *Boot) Populate(ctx context.Context, root string) error {
	s, err := b.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.boot == nil {
		return nil
	}
	to, err := openTree(root)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := s.populate(ctx, &site{Boot: b, tree: to}); err != nil {
		return fmt.Errorf("cannot copy the kernels of %s into %s: %w", s.seen(s.boot.Mountpoint), filepath.Join(root, "boot"), err)
	}
	return nil
}

func (s *site) populate(ctx context.Context, to *site) error {
	found, err := images(s.tree)
	if err != nil {
		return err
	}
	for version := range found {
		if !hasModules(to.tree, version) {
			continue
		}
		names := append(initrdNames(version), "config-"+version, "System.map-"+version)
		for _, prefix := range kernelNames {
			names = append(names, prefix+version)
		}
		for _, name := range names {
			if err := s.populateFile(ctx, to, "boot/"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *site) populateFile(ctx context.Context, to *site, name string) error {
	source, info, err := s.tree.file(name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer source.Close()
	d, err := to.directory("boot")
	if err != nil {
		return err
	}
	defer d.Close()
	base := path.Base(name)
	f, err := inroot.Create(d, base, uint32(info.Mode().Perm()))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, patient{ctx, source})
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, remove(d, base))
	}
	return nil
}
