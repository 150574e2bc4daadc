package testbed

import (
	"os"
	"testing"
)

// Attach puts the image of a file system behind a loop device. When the test
// ends every mount of it is gone and the device is free, as with Loop.
func Attach(t testing.TB, image string) (device string) {
	t.Helper()
	NeedRoot(t)
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d, err := newDiskOn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.release(); err != nil {
			t.Error(err)
		}
	})
	return d.device
}
