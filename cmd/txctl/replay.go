// `txctl replay`: a recorded shell, played back. Format of what is read:
// https://docs.asciinema.org/manual/asciicast/v2/

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/fault"
)

// castEvent is one line of a transcript: seconds since the beginning, "o" for output or "r" for a size, and that.
type castEvent struct {
	At   float64
	Code string
	Data string
}

func (e *castEvent) UnmarshalJSON(raw []byte) error {
	var at *float64
	var code, data *string
	parts := []any{&at, &code, &data}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	if len(parts) != 3 || at == nil || code == nil || data == nil {
		return errors.New("a time, a code and a text are expected")
	}
	*e = castEvent{*at, *code, *data}
	return nil
}

func (e castEvent) MarshalJSON() ([]byte, error) { return json.Marshal([]any{e.At, e.Code, e.Data}) }

// transcript is the document of `replay`.
type transcript struct {
	Number uint64          `json:"number"`
	Header json.RawMessage `json:"header"`
	Events []castEvent     `json:"events"`
}

func (a *app) replayCommand() *cobra.Command {
	var speed, idle string
	var raw bool
	c := &cobra.Command{
		Use:   "replay NUMBER",
		Short: "Play back what a transaction printed on a terminal",
		Long: "replay plays a recorded shell back at the speed at which it went; Ctrl-C ends it. What was typed and not\n" +
			"shown, passwords for example, was never recorded. --cast prints the recording itself (asciicast v2), as\n" +
			"other players take it.",
		Example: "  txctl replay 7 --speed 4\n  txctl replay 7 --cast > shell.cast",
		RunE: func(c *cobra.Command, args []string) error {
			name, err := oneSnapshot(c, args)
			if err != nil {
				return err
			}
			p := player{speed: 1, idle: 2 * time.Second}
			if c.Flags().Changed("speed") {
				if p.speed, err = strconv.ParseFloat(speed, 64); err != nil || !(p.speed > 0 && p.speed <= 1000) {
					return usagef("a number above 0 is accepted: 2 is twice as fast", "--speed: %s is no speed", short(speed))
				}
			}
			if c.Flags().Changed("idle") {
				if p.idle, err = time.ParseDuration(idle); err != nil || p.idle < 0 {
					return usagef("a time like 500ms or 2s is accepted", "--idle: %s is no time", short(idle))
				}
			}
			return a.replay(name, p, raw)
		},
	}
	c.Flags().StringVar(&speed, "speed", "", "so many `times` as fast")
	c.Flags().StringVar(&idle, "idle", "", "wait at most this `time` where nothing happened (2s)")
	c.Flags().BoolVar(&raw, "cast", false, "print the recording")
	return c
}

func (a *app) replay(name string, p player, raw bool) error {
	d, n, err := a.snapshot(name)
	if err != nil {
		return err
	}
	file, err := d.Transcript(a.asked, n)
	if err != nil {
		return err
	}
	defer file.Close()
	if raw && !a.json {
		_, err := io.Copy(a.stdout, file)
		return err
	}
	doc, err := readTranscript(file)
	if err != nil {
		return fmt.Errorf("cannot read the transcript of %d: %w", n, err)
	}
	doc.Number = n
	if a.json {
		return a.document(doc)
	}
	return p.play(a.asked, a.stdout, doc.Events)
}

func readTranscript(r io.Reader) (transcript, error) {
	lines := bufio.NewReader(r)
	header, err := lines.ReadBytes('\n')
	if err != nil || !json.Valid(header) {
		return transcript{}, errors.New("it has no header")
	}
	doc := transcript{Header: header, Events: []castEvent{}}
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return doc, nil
		}
		var e castEvent
		if err != nil || json.Unmarshal(line, &e) != nil {
			return transcript{}, fmt.Errorf("event %d makes no sense", len(doc.Events)+1)
		}
		doc.Events = append(doc.Events, e)
	}
}

// player plays events.
type player struct {
	speed float64
	idle  time.Duration // the longest pause
}

func (p player) play(ctx context.Context, w io.Writer, events []castEvent) error {
	before := 0.0
	for _, e := range events {
		pause := p.pause(e.At - before)
		before = e.At
		if err := wait(ctx, pause); err != nil {
			// Colours and modes of what was played must not stay.
			_, _ = io.WriteString(w, "\x1b[0m\r\n")
			return err
		}
		if e.Code != "o" {
			continue
		}
		if _, err := io.WriteString(w, e.Data); err != nil {
			return err
		}
	}
	return nil
}

// pause is how long to wait where so many seconds went by. Sums of floats are
// compared as such: a duration ends at some 292 years.
func (p player) pause(seconds float64) time.Duration {
	wanted := min(seconds, p.idle.Seconds()) / p.speed * float64(time.Second)
	switch {
	case wanted >= math.MaxInt64:
		return math.MaxInt64
	case wanted > 0:
		return time.Duration(wanted)
	}
	return 0
}

// wait ends early with ctx.
func wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() == nil && d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.ErrCancelled
	}
}
