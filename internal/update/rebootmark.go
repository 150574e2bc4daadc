// The mark that a machine has to be rebooted, which other programs look for.

package update

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/txupd/txupd/internal/atomicfile"
)

// ours is how a mark begins that says what is pending: it goes when nothing is
// any more. What others wrote stays.
const ours = "*** txupd: snapshot "

// markPending keeps the mark as the roles are.
func (u *Updater) markPending() {
	if u.RebootMark == "" {
		return
	}
	if err := u.tryMark(); err != nil {
		u.Log.Warn("the mark that a reboot is needed is not as it should be", "file", u.RebootMark, "error", err)
	}
}

func (u *Updater) tryMark() error {
	text, err := os.ReadFile(u.RebootMark)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there, mine := err == nil, strings.HasPrefix(string(text), ours)
	r, err := u.roles()
	if err != nil {
		return err
	}
	v, pending := r.pending()
	switch {
	case pending && r.facts.Err() == nil && (!there || mine):
		words := fmt.Sprintf(ours+"%d boots next: reboot to use it ***\n", v.number)
		if string(text) == words {
			return nil
		}
		return atomicfile.Publish(u.RebootMark, []byte(words))
	case !pending && mine:
		return os.Remove(u.RebootMark)
	}
	return nil
}

// markAsked marks that somebody has to reboot, whatever is pending. It stays until that is done.
func (u *Updater) markAsked(reason string) error {
	if u.RebootMark == "" {
		return nil
	}
	words := "*** txupd: a reboot is asked for"
	if reason != "" {
		words += ": " + strings.Join(strings.Fields(reason), " ")
	}
	if err := atomicfile.Publish(u.RebootMark, []byte(words+" ***\n")); err != nil {
		return fmt.Errorf("it cannot be marked that a reboot is needed: %w", err)
	}
	return nil
}
