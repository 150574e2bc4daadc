// A directory's own mode, owner and attributes.

package handover

import "golang.org/x/sys/unix"

// attributes merges a directory's own mode, owner and attributes.
func (g *giver) attributes(parent *liveDir, name, at string, want *wanted, was, is *state) error {
	if want.passing {
		return nil
	}
	// Setting them takes several calls. While a note of ours is there, what the live side has is not its own.
	note := g.note(name)
	interrupted := parent.plain != nil && parent.has(note)
	unchanged, err := alike(&want.state, was)
	if err != nil || unchanged && !interrupted {
		return err
	}
	if is.nested {
		g.say(at, Kept, isSubvolume)
		return nil
	}
	decision := Replaced
	if !was.exists() {
		decision = Created
	}
	if done, err := same(&want.state, is); err != nil {
		return err
	} else if done && !interrupted {
		g.say(at, decision, "")
		if is.seal != want.seal && !g.dry {
			g.last = append(g.last, last{at, *want, false})
		}
		return nil
	}
	if untouched, err := alike(is, was); err != nil {
		return err
	} else if !untouched && !interrupted {
		reason := changedAttributes
		if !was.isDir() {
			reason = appeared
		}
		g.say(at, Kept, reason)
		return nil
	}
	g.say(at, decision, "")
	if g.dry {
		return nil
	}
	if !interrupted {
		fd, err := g.hand.create(parent.fd, note)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	if is.seal != (seal{}) {
		if err := g.hand.seal(parent.fd, name, seal{}); err != nil {
			return err
		}
	}
	if err := g.dress(parent.fd, name, want); err != nil {
		return err
	}
	if err := g.hand.unlink(parent.fd, note); err != nil {
		return err
	}
	if want.seal != (seal{}) {
		g.last = append(g.last, last{at, *want, false})
	}
	return nil
}

// alike is same, and the seal too.
func alike(a, b *state) (bool, error) {
	if a.seal != b.seal {
		return false, nil
	}
	return same(a, b)
}
