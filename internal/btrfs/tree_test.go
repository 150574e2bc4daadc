// The root tree as a damaged or hostile disk may have it.

package btrfs

import (
	"encoding/binary"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/pkg/snapshot"
)

// diskItem is one item of one tree.
type diskItem struct {
	tree uint64
	snapshot.SearchItem
}

// disk is a file system that consists of items.
type disk []diskItem

func (d disk) each(key snapshot.SearchKey, fn func(snapshot.SearchItem) error) error {
	for _, item := range d {
		if item.tree != key.Tree || item.Object < key.MinObject || item.Object > key.MaxObject {
			continue
		}
		if item.Object == key.MinObject && item.Type < key.MinType || item.Object == key.MaxObject && item.Type > key.MaxType {
			continue
		}
		if err := fn(item.SearchItem); err != nil {
			return err
		}
	}
	return nil
}

func (d disk) resolver() *resolver {
	return &resolver{reader: d, sync: func() error { return nil }, places: map[uint64]place{}, dirs: map[[2]uint64]string{}}
}

func (d disk) list() ([]snapshot.Subvolume, error) { return d.resolver().list(d) }

const itemHead = 2 + 2 + 1 + 2 + 2

// diskOf reads items as they lie in fuzzed bytes: tree, object, type, offset and
// length of the data in little endian, then the data; and sorts them, as a disk has them.
func diskOf(raw []byte) disk {
	le := binary.LittleEndian
	var d disk
	for len(raw) >= itemHead {
		item := diskItem{tree: uint64(le.Uint16(raw)), SearchItem: snapshot.SearchItem{
			Object: uint64(le.Uint16(raw[2:])), Type: raw[4], Offset: uint64(le.Uint16(raw[5:])),
		}}
		length := min(int(le.Uint16(raw[7:])), len(raw)-itemHead)
		item.Data = raw[itemHead : itemHead+length : itemHead+length]
		raw = raw[itemHead+length:]
		d = append(d, item)
	}
	slices.SortStableFunc(d, func(a, b diskItem) int {
		for _, c := range [][2]uint64{{a.tree, b.tree}, {a.Object, b.Object}, {uint64(a.Type), uint64(b.Type)}, {a.Offset, b.Offset}} {
			if c[0] != c[1] {
				return map[bool]int{true: -1, false: 1}[c[0] < c[1]]
			}
		}
		return 0
	})
	return d
}

func (d disk) bytes() []byte {
	le := binary.LittleEndian
	var raw []byte
	for _, item := range d {
		raw = le.AppendUint16(raw, uint16(item.tree))
		raw = le.AppendUint16(raw, uint16(item.Object))
		raw = append(raw, item.Type)
		raw = le.AppendUint16(raw, uint16(item.Offset))
		raw = le.AppendUint16(raw, uint16(len(item.Data)))
		raw = append(raw, item.Data...)
	}
	return raw
}

func at16(b []byte, n uint16) []byte { return binary.LittleEndian.AppendUint16(b, n) }
func at64(b []byte, n uint64) []byte { return binary.LittleEndian.AppendUint64(b, n) }

// addSubvolume puts a subvolume into directory dir of another.
func (d *disk) addSubvolume(id, parent, dir uint64, name string) {
	root := make([]byte, 439)
	for _, generation := range []int{160, 239} {
		binary.LittleEndian.PutUint64(root[generation:], 10+id)
	}
	root[216], root[247] = 1, byte(id)
	ref := append(at16(at64(at64(nil, dir), 1), uint16(len(name))), name...)
	*d = append(*d,
		diskItem{rootTree, snapshot.SearchItem{Object: id, Type: rootItemKey, Data: root}},
		diskItem{rootTree, snapshot.SearchItem{Object: id, Type: rootBackrefKey, Offset: parent, Data: ref}},
		diskItem{rootTree, snapshot.SearchItem{Object: parent, Type: rootRefKey, Offset: id, Data: ref}})
}

// addDirectory puts a directory into another of the same subvolume.
func (d *disk) addDirectory(tree, inode, up uint64, name string) {
	*d = append(*d, diskItem{tree, snapshot.SearchItem{
		Object: inode, Type: inodeRefKey, Offset: up, Data: append(at16(at64(nil, 1), uint16(len(name))), name...),
	}})
}

// addDefault names the default subvolume.
func (d *disk) addDefault(id uint64) {
	entry := append(append(at64(nil, id), rootItemKey), make([]byte, 16)...)
	entry = append(append(at16(at16(entry, 0), 7), 2), "default"...)
	*d = append(*d, diskItem{rootTree, snapshot.SearchItem{Object: rootTreeDir, Type: dirItemKey, Offset: 77, Data: entry}})
}

// suse is openSUSE's layout after an update.
func suse() disk {
	var d disk
	d.addSubvolume(256, 5, 256, "@")
	d.addSubvolume(258, 256, 256, "var")
	d.addSubvolume(267, 256, 256, ".snapshots")
	d.addDirectory(267, 257, 256, "1")
	d.addDirectory(267, 300, 256, "2")
	d.addSubvolume(268, 267, 257, "snapshot")
	d.addSubvolume(270, 267, 300, "snapshot")
	d.addDirectory(270, 401, 400, "lib")
	d.addDirectory(270, 400, 256, "var")
	d.addSubvolume(271, 270, 401, "machines")
	d.addDefault(270)
	return diskOf(d.bytes())
}

func TestSubvolumesAreFoundInTheirPlaces(t *testing.T) {
	list, err := suse().list()
	if err != nil {
		t.Fatal(err)
	}
	got := map[snapshot.SubvolumeID]string{}
	for _, sv := range list {
		got[sv.ID] = sv.Path
	}
	want := map[snapshot.SubvolumeID]string{
		256: "@", 258: "@/var", 267: "@/.snapshots", 268: "@/.snapshots/1/snapshot", 270: "@/.snapshots/2/snapshot", 271: "@/.snapshots/2/snapshot/var/lib/machines",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if id, err := defaultID(suse()); err != nil || id != 270 {
		t.Errorf("the default is %d, %v", id, err)
	}
}

func TestADamagedRootTreeIsAnErrorAndNoCrash(t *testing.T) {
	ref := func(name string, length int) []byte {
		return append(at16(at64(at64(nil, 256), 1), uint16(length)), name...)
	}
	for what, c := range map[string]struct {
		damage func(*disk)
		want   string
	}{
		"a reference cut short": {func(d *disk) {
			*d = append(*d, diskItem{rootTree, snapshot.SearchItem{Object: 256, Type: rootBackrefKey, Offset: 5, Data: []byte{1}}})
		}, "too short"},
		"a name longer than its item": {func(d *disk) {
			*d = append(*d, diskItem{rootTree, snapshot.SearchItem{Object: 256, Type: rootBackrefKey, Offset: 5, Data: ref("@", 9)}})
		}, "too short"},
		"a name that leads elsewhere": {func(d *disk) {
			*d = append(*d, diskItem{rootTree, snapshot.SearchItem{Object: 256, Type: rootBackrefKey, Offset: 5, Data: ref("..", 2)}})
		}, "cannot be a file name"},
		"a directory's name cut short":    {func(d *disk) { d.addDirectory(267, 257, 256, "x"); (*d)[len(*d)-1].Data = []byte{1, 2, 3} }, "too short"},
		"a subvolume that lies in itself": {func(d *disk) { d.addSubvolume(280, 281, 256, "a"); d.addSubvolume(281, 280, 256, "b") }, "levels deep"},
		"a directory that lies in itself": {func(d *disk) {
			d.addDirectory(267, 500, 501, "a")
			d.addDirectory(267, 501, 500, "b")
			d.addSubvolume(280, 267, 500, "c")
		}, "levels deep"},
	} {
		d := suse()
		c.damage(&d)
		if list, err := diskOf(d.bytes()).list(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %d subvolumes", what, err, len(list))
		}
	}
	if id, err := defaultID(disk{{rootTree, snapshot.SearchItem{Object: rootTreeDir, Type: dirItemKey, Data: make([]byte, 10)}}}); err == nil {
		t.Errorf("a directory item cut short: the default is %d", id)
	}
}

// FuzzRootTree: of whatever items a disk has, paths come out that lie below the
// top level, or an error; and what is in the list of all is there alone too.
func FuzzRootTree(f *testing.F) {
	f.Add(suse().bytes(), uint16(270))
	f.Fuzz(func(t *testing.T, raw []byte, id uint16) {
		d := diskOf(raw)
		clean := func(sv snapshot.Subvolume) {
			t.Helper()
			if sv.Path == "" || path.IsAbs(sv.Path) || path.Clean(sv.Path) != sv.Path || strings.HasPrefix(sv.Path+"/", "../") {
				t.Fatalf("subvolume %d lies at %q", sv.ID, sv.Path)
			}
		}
		_, _ = defaultID(d)
		list, listErr := d.list()
		for _, sv := range list {
			clean(sv)
		}
		one, place, err := d.resolver().root(uint64(id))
		if errors.Is(err, snapshot.ErrNoSubvolume) && listErr == nil &&
			slices.ContainsFunc(list, func(sv snapshot.Subvolume) bool { return sv.ID == snapshot.SubvolumeID(id) }) {
			t.Fatalf("%v, and it is in the list of all", err)
		}
		if err == nil && id != 5 {
			if one.Path, err = d.resolver().path(place); err == nil {
				clean(one)
			}
		}
		inside, _ := d.resolver().nested(snapshot.SubvolumeID(id))
		for _, sv := range inside {
			clean(sv)
		}
	})
}
