// The slot in which this machine of a fleet may reboot.

package reboot

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/txupd/txupd/internal/atomicfile"
)

// slot is one that this machine has, or may have: a server may have granted
// what a cut connection did not bring here.
type slot struct {
	since   string // the boot in which it was asked for, "" for none
	granted bool   // in this boot, by an answer
	again   time.Time
	pause   time.Duration // between attempts, which grows
}

// How long the server is left alone after it did not grant something.
const (
	shortest = 15 * time.Second
	longest  = 10 * time.Minute
)

// slotFile is what stands in the file beside the request.
type slotFile struct {
	BootID string `json:"boot_id"`
}

func (k *Keeper) slotPath() string { return filepath.Join(filepath.Dir(k.Path), "fleetlock.json") }

// read finds what an earlier daemon, or an earlier boot, may have left.
func (s *slot) read(k *Keeper) {
	raw, err := os.ReadFile(k.slotPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var f slotFile
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil || f.BootID == "" {
		k.Log.Error("it cannot be read in which boot a slot was asked for: it is given back", "error", err)
		f.BootID = k.BootID
	}
	s.since = f.BootID
	if k.Fleet == nil {
		k.Log.Warn("a slot to reboot in cannot be given back: no server is configured")
		s.since = ""
	}
}

// take asks for a slot. It is there where again is 0 and err nil. Where it has
// just been granted, again says when to look at the machine once more.
func (k *Keeper) take(ctx context.Context, now time.Time) (again time.Duration, err error) {
	if k.Fleet == nil {
		return 0, nil
	}
	k.mu.Lock()
	s := k.slot
	k.mu.Unlock()
	if s.granted && s.since == k.BootID {
		return 0, nil
	}
	if now.Before(s.again) {
		return min(patience, s.again.Sub(now)), errLater
	}
	// Recorded before it is asked for, so that a power cut leaves none that nobody knows of.
	raw, err := json.Marshal(slotFile{k.BootID})
	if err == nil {
		err = atomicfile.Write(k.slotPath(), raw)
	}
	if err != nil {
		return patience, err
	}
	k.mu.Lock()
	k.slot.since = k.BootID
	k.mu.Unlock()
	if err := k.Fleet.Lock(ctx); err != nil {
		return k.later(now), err
	}
	k.mu.Lock()
	k.slot.granted, k.slot.pause = true, 0
	k.mu.Unlock()
	k.Log.Info("a slot to reboot in is granted")
	return time.Millisecond, nil
}

// errLater: the server is not asked again yet.
var errLater = errors.New("no slot to reboot in is granted; the server is asked again soon")

// later makes the pause before the next attempt longer.
func (k *Keeper) later(now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slot.pause = min(max(2*k.slot.pause, shortest), longest)
	k.slot.again = now.Add(k.slot.pause)
	return min(patience, k.slot.pause)
}

// giveBack gives the slot back, if there may be one: that of this boot at once,
// that of an earlier boot when this one is good. It says when to look again.
func (k *Keeper) giveBack(ctx context.Context, now time.Time) time.Duration {
	k.mu.Lock()
	s := k.slot
	k.mu.Unlock()
	if k.Fleet == nil || s.since == "" {
		return patience
	}
	if s.since != k.BootID {
		if now.Before(s.again) {
			return min(patience, s.again.Sub(now))
		}
		if !k.Steady() {
			return near
		}
	}
	err := k.Fleet.Unlock(ctx)
	if err == nil {
		err = os.Remove(k.slotPath())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.Log.Warn("the slot to reboot in is not given back yet", "error", err)
		return k.later(now)
	}
	k.mu.Lock()
	k.slot = slot{}
	k.mu.Unlock()
	k.Log.Info("the slot to reboot in is given back")
	return patience
}
