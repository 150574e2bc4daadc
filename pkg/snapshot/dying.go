// Subvolumes that were deleted, and the space of which the kernel has not given back yet.

package snapshot

import (
	"fmt"
	"math"
	"os"
)

// Dying lists the deleted subvolumes of the file system that dir is on which the
// kernel still has to take apart: until it has, their space is not free.
func Dying(s Searcher, dir string) ([]SubvolumeID, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var ids []SubvolumeID
	key := SearchKey{
		Tree:      rootTree,
		MinObject: orphanObject, MaxObject: orphanObject,
		MinType: orphanItemKey, MaxType: orphanItemKey,
		MaxOffset: math.MaxUint64,
	}
	err = s.Search(int(file.Fd()), key, func(item SearchItem) error {
		ids = append(ids, SubvolumeID(item.Offset))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the subvolumes that are being deleted: %w", err)
	}
	return ids, nil
}
