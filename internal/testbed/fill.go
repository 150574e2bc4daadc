// File systems without space, as others leave them.

package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Filler takes space away from a file system and gives it back.
type Filler struct {
	t     testing.TB
	dir   string // of its files
	files int
}

// NewFiller makes one whose files are in a directory of their own, made in the
// given one. What it took it has until Empty, or for ever.
func NewFiller(t testing.TB, in string) *Filler {
	t.Helper()
	dir, err := os.MkdirTemp(in, "filler-")
	if err != nil {
		t.Fatal(err)
	}
	return &Filler{t: t, dir: dir}
}

// Fill takes everything: data, then metadata, then what a second look finds.
func Fill(t testing.TB, in string) *Filler {
	t.Helper()
	f := NewFiller(t, in)
	f.All()
	return f
}

// All takes everything.
func (f *Filler) All() {
	f.t.Helper()
	f.Data(0)
	f.Metadata(0)
	f.Data(0)
}

// Data takes blocks until the file system has no more, or for most > 0 so many bytes.
func (f *Filler) Data(most int64) {
	f.t.Helper()
	var taken int64
	for _, piece := range []int64{64 << 20, 1 << 20, 4 << 10} {
		file, err := f.file()
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		f.check(err)
		var size int64
		for err == nil && (most == 0 || taken+piece <= most) {
			if err = unix.Fallocate(int(file.Fd()), 0, size, piece); err == nil {
				size += piece
				taken += piece
			}
		}
		file.Close()
		f.full(err)
	}
	f.sync()
}

// Metadata takes metadata until there is no more, or for most > 0 so many bytes:
// large pieces first, small ones last.
func (f *Filler) Metadata(most int) {
	f.t.Helper()
	taken := 0
	for _, piece := range []int{15900, 3800, 200} {
		value := make([]byte, piece)
		var err error
		for err == nil && (most == 0 || taken+piece <= most) {
			var file *os.File
			if file, err = f.file(); err != nil {
				break
			}
			for i := 0; i < 200 && err == nil && (most == 0 || taken+piece <= most); i++ {
				if err = unix.Fsetxattr(int(file.Fd()), fmt.Sprintf("user.%d", i), value, 0); err == nil {
					taken += piece
				}
			}
			file.Close()
		}
		f.full(err)
		f.sync()
	}
}

// Empty gives everything back.
func (f *Filler) Empty() {
	f.t.Helper()
	f.check(os.RemoveAll(f.dir))
	f.check(os.Mkdir(f.dir, 0o700))
	f.sync()
}

func (f *Filler) file() (*os.File, error) {
	f.files++
	return os.Create(filepath.Join(f.dir, fmt.Sprint(f.files)))
}

func (f *Filler) full(err error) {
	f.t.Helper()
	if err != nil && !errors.Is(err, unix.ENOSPC) {
		f.t.Fatal(err)
	}
}

func (f *Filler) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// sync lets the file system find out what is used and what is free again.
func (f *Filler) sync() {
	f.t.Helper()
	d, err := os.Open(f.dir)
	f.check(err)
	defer d.Close()
	f.full(unix.Syncfs(int(d.Fd())))
}
