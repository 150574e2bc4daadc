// The serial console: firmware, GRUB, kernel and systemd all speak on it.

package machine

import (
	"context"
	"fmt"
	"io"
	"regexp"
)

// console keeps everything that was ever on the serial line of a machine.
type console struct {
	changes
	text []byte
	mark int // where the present boot begins
}

// listen reads the line until it closes.
func (c *console) listen(in io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			c.change(func() { c.text = append(c.text, buf[:n]...) })
		}
		if err != nil {
			return
		}
	}
}

// reset says that what comes now belongs to another boot.
func (c *console) reset() { c.change(func() { c.mark = len(c.text) }) }

// all is the text with what moves and colours taken out.
func (c *console) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return plain(c.text)
}

// Everything that a terminal obeys and does not show, and the returns before newlines.
var controls = regexp.MustCompile("\x1b\\[[0-9;?=!]*[A-Za-z]|\x1b\\][^\x07\x1b]*(\x07|\x1b\\\\)|\x1b[()].|\x1b[^\\[\\]()]|\r+\n|\r|\x00")

func plain(text []byte) string {
	return string(controls.ReplaceAllFunc(text, func(s []byte) []byte {
		if s[len(s)-1] == '\n' {
			return []byte{'\n'}
		}
		return nil
	}))
}

// wait returns the match of re in what the present boot has shown, as soon as there is one.
func (c *console) wait(ctx context.Context, re *regexp.Regexp) (string, error) {
	found := ""
	err := c.until(ctx, func() bool {
		loc := re.FindString(plain(c.text[c.mark:]))
		found = loc
		return loc != "" || re.MatchString(plain(c.text[c.mark:]))
	})
	if err != nil {
		return "", fmt.Errorf("the console does not show %q: %w", re, err)
	}
	return found, nil
}
