package leftover_test

import (
	"testing"

	"github.com/txupd/txupd/internal/leftover"
)

func TestNamesOfLeftCopies(t *testing.T) {
	const packages, person = "the package manager", "an editor or a person"
	for name, want := range map[string]string{
		"10-disk": "", "10-disk.sh": "", "10-disk.toml": "", "rpm": "", "pacman": "", "bak": "", "a.b.c": "", "": "",
		"10-disk.dpkg-dist": packages, "10-disk.dpkg-new": packages, "10-disk.ucf-old": packages,
		"10-disk.rpmnew": packages, "10-disk.sh.rpmsave": packages, "10-disk.pacnew": packages,
		"10-disk~": person, "10-disk.bak": person, "10-disk.orig": person, "10-disk.old": person, ".10-disk.swp": person,
	} {
		if got := leftover.By(name); got != want {
			t.Errorf("%q is left by %q, want %q", name, got, want)
		}
	}
}
