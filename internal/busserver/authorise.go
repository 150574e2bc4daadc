// Who may do what: root may everything, others what polkit says. It is asked
// before anything is done, and while somebody thinks about a password nobody
// else waits.

package busserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/snapshot"
)

// right is what a caller needs to call a method.
type right struct {
	action string            // of polkit, "" for none
	with   map[string]string // the action that is needed instead where an option is given
	does   string            // what calling it is to people: "install packages"
	own    bool              // none is needed by whoever began the transaction,
	alone  bool              // as long as nobody else can have a command in it
}

// forAll: anybody may call it, with whatever options.
func (r right) forAll() bool { return r.action == "" && len(r.with) == 0 }

// needs is the action for a call with these options, "" for none.
func (r right) needs(o options) string {
	action := r.action
	for name, instead := range r.with {
		// "false" is as good as nothing, but takes a pin away.
		if v, given := o[name]; given && (v.Value() != false || name == bus.OptPin) {
			action = instead
		}
	}
	return action
}

// errInteractive is the bus's own error for what the caller may try again, letting somebody be asked.
const errInteractive = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

// maxAsking is how many questions to polkit one user's calls may have open.
const maxAsking = 16

// asking are the questions to polkit that are open, by user.
type asking struct {
	mu    sync.Mutex
	users map[uint32]int
}

func (a *asking) enter(uid uint32) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users[uid] >= maxAsking {
		return nil, errLimits("%d calls of yours wait for polkit, at most so many are accepted of one user: wait for answers", maxAsking)
	}
	if a.users == nil {
		a.users = map[uint32]int{}
	}
	a.users[uid]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.users[uid]--; a.users[uid] == 0 {
			delete(a.users, uid)
		}
	}, nil
}

// authorise returns nil where the call may be made. It waits for polkit, and
// for whoever that asks for a password, as long as the caller is there.
func (s *Server) authorise(in *incoming, r right, names []string, c *call) error {
	uid := *in.user
	action := r.needs(c.options)
	if uid == 0 || action == "" {
		return nil
	}
	details := c.details(names)
	details["method"] = in.member
	if strings.HasPrefix(string(c.path), bus.TransactionPrefix) {
		t, err := s.updater.Transaction(snapshot.Number(c.number))
		if err != nil {
			return err
		}
		began := t.Actor()
		if r.own && began.UID == uid && !(r.alone && t.State().Kind == update.KindBegin) {
			return nil
		}
		details["number"], details["owner"] = strconv.FormatUint(c.number, 10), userOf(began.UID, began.Name)
	}
	leave, err := s.asking.enter(uid)
	if err != nil {
		return err
	}
	defer leave()
	does := r.does + about(details)
	details[polkit.MessageKey] = "Authentication is required to " + does + "."
	err = s.authority.Check(in.from.ctx, polkit.Question{
		Caller: in.sender, Action: action, Details: details, Interactive: in.flags&dbus.FlagAllowInteractiveAuthorization != 0,
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, polkit.ErrChallenge):
		return dbus.NewError(errInteractive, []any{fmt.Sprintf("a password is needed to %s, and the call does not let anybody be asked for one", does)})
	case errors.Is(err, polkit.ErrAbsent):
		return fmt.Errorf("%w to %s: only root may, where there is no polkit that allows it to others", fault.ErrNotAuthorized, does)
	}
	return fmt.Errorf("%w to %s: %w", fault.ErrNotAuthorized, does, err)
}

// details tells polkit's rules what the call is about: its arguments and options by their names.
func (c *call) details(names []string) map[string]string {
	details := map[string]string{}
	for i, v := range c.args {
		if _, isOptions := v.(map[string]dbus.Variant); !isOptions {
			details[detailKey(names[i])] = detail(v)
		}
	}
	for name, v := range c.options {
		details[name] = detail(v.Value())
	}
	return details
}

// detailKey is the word for an argument in rules.
func detailKey(argument string) string {
	switch argument {
	case "names":
		return "packages"
	case "argv":
		return "command"
	}
	return argument
}

// detail writes a value so that no two are written the same: a rule that accepts
// one command must not be told another in its words.
func detail(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []string:
		words := make([]string, len(v))
		for i, word := range v {
			if words[i] = word; !plain(word) {
				words[i] = strconv.Quote(word)
			}
		}
		return strings.Join(words, " ")
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	}
	return fmt.Sprint(v)
}

// plain: a word that needs no quotes, and that cannot deceive whoever reads it.
func plain(word string) bool {
	return word != "" && strings.IndexFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:+~@/,%=", r))
	}) < 0
}

// maxShown is how much of the details is shown to whoever is asked (bytes).
const maxShown = 100

// about adds the packages or the number to what people are told. The caller
// chose these words: what is not plain, or long, is for rules only.
func about(details map[string]string) string {
	for _, key := range []string{"packages", "number"} {
		value := details[key]
		if value == "" || len(value) > maxShown || strings.HasPrefix(value, "-") {
			continue
		}
		for word := range strings.SplitSeq(value, " ") {
			if !plain(word) {
				return ""
			}
		}
		return " (" + value + ")"
	}
	return ""
}

// userOf names a user for people and rules.
func userOf(uid uint32, name string) string {
	if name != "" {
		return name
	}
	return strconv.FormatUint(uint64(uid), 10)
}
