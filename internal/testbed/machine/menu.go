// GRUB's menu on the console: a person looks where the mark is and presses keys,
// and so do we.

package machine

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// screen is what a terminal shows that was sent some text: as much of one as
// GRUB's menu needs, whose terminfo is that of a vt100.
type screen struct {
	rows     [25][80]byte
	row, col int
}

func (s *screen) clear() {
	for i := range s.rows {
		for j := range s.rows[i] {
			s.rows[i][j] = ' '
		}
	}
}

func newScreen(text []byte) *screen {
	s := &screen{}
	s.clear()
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == 0x1b:
			i += s.obey(text[i+1:])
		case b == '\r':
			s.col = 0
		case b == '\n':
			s.row = min(s.row+1, len(s.rows)-1)
		case b == '\b':
			s.col = max(s.col-1, 0)
		case b >= ' ' && s.col < len(s.rows[0]):
			s.rows[s.row][s.col] = b
			s.col++
		}
	}
	return s
}

// obey carries out what follows an escape and returns how long it is.
func (s *screen) obey(text []byte) int {
	if len(text) == 0 || text[0] != '[' {
		return min(1, len(text))
	}
	end := 1
	for end < len(text) && (text[end] < '@' || text[end] > '~') {
		end++
	}
	if end == len(text) {
		return end
	}
	numbers := strings.Split(string(text[1:end]), ";")
	number := func(i int) int {
		if i < len(numbers) {
			if n, err := strconv.Atoi(numbers[i]); err == nil && n > 0 {
				return n
			}
		}
		return 1
	}
	switch text[end] {
	case 'H', 'f':
		s.row, s.col = min(number(0), len(s.rows))-1, min(number(1), len(s.rows[0]))-1
	case 'J': // GRUB and the firmware only ever clear everything
		s.clear()
	case 'K':
		for i := s.col; i < len(s.rows[0]); i++ {
			s.rows[s.row][i] = ' '
		}
	}
	return end + 1
}

// menu are the entries on the screen and which one the mark is on, -1 if none.
func (s *screen) menu() (entries []string, marked int) {
	marked = -1
	for _, row := range s.rows {
		if row[1] != '|' || row[78] != '|' {
			continue
		}
		title := strings.TrimSpace(string(row[3:77]))
		if title == "" {
			continue
		}
		if row[2] == '*' {
			marked = len(entries)
		}
		entries = append(entries, title)
	}
	return entries, marked
}

// The keys, as QEMU's monitor calls them. They go to the keyboard: the firmware
// reads the serial line as well as GRUB, so each would miss some there.
const (
	keyUp    = "up"
	keyDown  = "down"
	keyEnter = "ret"
	keyNone  = "spc" // does nothing but stop the clock
)

// drawing is how long the menu may take to be drawn once its mark is there.
const drawing = 5 * time.Second

// choose waits for the menu, moves the mark to the first entry whose title
// matches, and presses return. Titles that do not fit the screen are cut off.
func (c *console) choose(ctx context.Context, title *regexp.Regexp, press func(key string) error) error {
	var entries []string
	marked, wanted := -1, -1
	look := func() {
		entries, marked = newScreen(c.text[c.mark:]).menu()
		wanted = slices.IndexFunc(entries, title.MatchString)
	}
	if err := c.until(ctx, func() bool { look(); return marked >= 0 }); err != nil {
		return fmt.Errorf("there is no boot menu on the console: %w", err)
	}
	if err := press(keyNone); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, drawing)
	defer cancel()
	if err := c.until(short, func() bool { look(); return marked >= 0 && wanted >= 0 }); err != nil {
		return fmt.Errorf("no entry of the boot menu is called %q: %q", title, entries)
	}
	for marked != wanted {
		before, key := marked, keyDown
		if wanted < marked {
			key = keyUp
		}
		if err := press(key); err != nil {
			return err
		}
		if err := c.until(ctx, func() bool { look(); return marked >= 0 && wanted >= 0 && marked != before }); err != nil {
			return fmt.Errorf("the mark of the boot menu does not move: %w", err)
		}
	}
	c.reset() // the next menu, if the entry leads to one, is not this one
	return press(keyEnter)
}
