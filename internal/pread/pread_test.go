package pread

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	buffer := make([]byte, 4)
	if err := Full(int(file.Fd()), buffer, 6); err != nil || string(buffer) != "6789" {
		t.Errorf("the end is %q, %v", buffer, err)
	}
	if err := Full(int(file.Fd()), buffer, 7); !errors.Is(err, ErrShrunk) {
		t.Errorf("behind the end: %v, want %v", err, ErrShrunk)
	}
	if err := Full(-1, buffer, 0); err == nil {
		t.Error("a file that is not open is read")
	}
}
