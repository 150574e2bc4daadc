// The last of what a command said, as Outcome reads it.

package pkgmgr

import "bytes"

// Words are the end of what a command printed on several streams. Their pieces
// come as they were read, so that one stream may come in the middle of another's
// line; here each line is whole, and stands where it was completed.
type Words struct {
	// Limit is how many bytes are kept.
	Limit int

	lines []byte
	open  []openLine // in the order of their last pieces
}

// openLine is what a stream printed since it last ended a line.
type openLine struct {
	stream int
	said   []byte
}

// Add takes the next piece of a stream.
func (w *Words) Add(stream int, piece []byte) {
	if len(piece) == 0 {
		return
	}
	line := openLine{stream: stream}
	for i, other := range w.open {
		if other.stream == stream {
			line = other
			w.open = append(w.open[:i], w.open[i+1:]...)
			break
		}
	}
	line.said = append(line.said, piece...)
	end := bytes.LastIndexByte(line.said, '\n') + 1
	w.lines = w.bounded(append(w.lines, line.said[:end]...))
	if line.said = w.bounded(line.said[end:]); len(line.said) > 0 {
		w.open = append(w.open, line)
	}
}

// bounded lets go of the beginning of p, though not with every piece.
func (w *Words) bounded(p []byte) []byte {
	if len(p) > 2*w.Limit {
		return append(p[:0], p[len(p)-w.Limit:]...)
	}
	return p
}

// Bytes are the last of what was added, lines without an end behind the others.
func (w *Words) Bytes() []byte {
	all := bytes.Clone(w.lines)
	for _, line := range w.open {
		all = append(all, line.said...)
	}
	return all[max(0, len(all)-w.Limit):]
}
