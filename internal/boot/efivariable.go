// Variables of the firmware, by which systemd-boot and the system speak to each
// other.

package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// loaderVendor is the vendor's uuid of the Boot Loader Interface:
// https://systemd.io/BOOT_LOADER_INTERFACE
const loaderVendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// kept, for us and at run time: attributes of a variable, which come before its
// value. Layout: the kernel's Documentation/filesystems/efivarfs.rst.
const persistentVariable = 1 | 2 | 4

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

func (b *Boot) variableFile(name string) string {
	return filepath.Join(b.host.EFIVariables, name+"-"+loaderVendor)
}

// variable is the text of a variable, false where there is none.
func (b *Boot) variable(name string) (string, bool, error) {
	if b.host.EFIVariables == "" {
		return "", false, nil
	}
	raw, err := os.ReadFile(b.variableFile(name))
	if absent(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("cannot read the firmware's variable %s: %w", name, err)
	}
	if len(raw) < 4 || len(raw)%2 != 0 {
		return "", false, fmt.Errorf("cannot read the firmware's variable %s: it is no text", name)
	}
	var units []uint16
	for at := 4; at < len(raw); at += 2 {
		unit := binary.LittleEndian.Uint16(raw[at:])
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	return string(utf16.Decode(units)), true, nil
}

// setVariable writes the text of a variable; "" removes it. The firmware takes
// a value in one write, and keeps it when that returns.
func (b *Boot) setVariable(name, text string) error {
	file := b.variableFile(name)
	if err := mutable(file); err != nil && !absent(err) {
		return fmt.Errorf("cannot change the firmware's variable %s: %w", name, err)
	}
	if text == "" {
		if err := os.Remove(file); err != nil && !absent(err) {
			return fmt.Errorf("cannot remove the firmware's variable %s: %w", name, err)
		}
		return nil
	}
	raw := binary.LittleEndian.AppendUint32(nil, persistentVariable)
	for _, unit := range append(utf16.Encode([]rune(text)), 0) {
		raw = binary.LittleEndian.AppendUint16(raw, unit)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.Write(raw)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot set the firmware's variable %s: %w", name, err)
	}
	return nil
}

// mutable takes off the flag by which the kernel keeps variables from being
// removed by accident. Elsewhere than on efivarfs there is none.
func mutable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutable == 0 {
		return nil
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable)
}
