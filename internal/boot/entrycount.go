// Tries and single boots of systemd-boot: the first are in the names of entries,
// the second in a variable of the firmware.

package boot

import (
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// armEntry gives a counted entry that is there all its tries. One that is not
// is made with all of them by the switch.
func (s *site) armEntry(number uint64, tries int) error {
	found, ok, err := s.trialEntry(number)
	if err != nil || !ok {
		return err
	}
	return s.renameEntry(found.file, armed(number, tries))
}

func (s *site) disarmEntry(number uint64) error {
	found, ok, err := s.trialEntry(number)
	if err != nil || !ok {
		return err
	}
	return s.renameEntry(found.file, grubcfg.BLSName{ID: found.count.ID}.String())
}

func (s *site) entryTries(number uint64) (left int, ok bool, err error) {
	found, ok, err := s.trialEntry(number)
	if err != nil || !ok || !found.count.Counting {
		return 0, false, err
	}
	return int(found.count.Left), true, nil
}

// oneShot is the entry that systemd-boot boots one time. It removes the variable before it does.
const oneShot = "LoaderEntryOneShot"

func (s *site) entryOnce(number *uint64) error {
	if !s.firmwareIsEFI() {
		return fmt.Errorf("%w: the firmware's variables cannot be changed here", fault.ErrNotSupported)
	}
	if number == nil {
		is, err := s.entryOnceIs()
		if err != nil || is == nil {
			return err
		}
		return s.setVariable(oneShot, "")
	}
	m, _, err := s.entriesSummary()
	if err != nil {
		return err
	}
	if !slices.Contains(m.Entries, *number) {
		return fmt.Errorf("snapshot %d is not in the boot menu: %w", *number, fault.ErrNotFound)
	}
	return s.setVariable(oneShot, string(grubcfg.EntryID(*number))+".conf")
}

// entryOnceIs is nil also for what is not ours.
func (s *site) entryOnceIs() (*uint64, error) {
	text, found, err := s.variable(oneShot)
	if err != nil || !found {
		return nil, err
	}
	n, ok := parseEntryName(text)
	if !ok || n.role != "" {
		return nil, nil
	}
	return &n.number, nil
}
