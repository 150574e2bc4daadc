// The methods of org.txupd1.Manager that answer questions about the past.

package busserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/snapshot"
)

// maxContext bounds the lines around a change.
const maxContext = 1000

var logOptions = []string{
	bus.OptLimit, bus.OptPackage, bus.OptPath, bus.OptSince, bus.OptUntil, bus.OptActor, bus.OptState, bus.OptTag, bus.OptText, bus.OptBrief,
}

func (s *Server) logOf(c *call) ([]any, error) {
	records, err := s.updater.Records(update.LogRequest{
		Limit: option[uint64](c.options, bus.OptLimit), Package: option[string](c.options, bus.OptPackage), Path: option[string](c.options, bus.OptPath),
		Since: c.instant(bus.OptSince), Until: c.instant(bus.OptUntil), Actor: option[string](c.options, bus.OptActor),
		State: option[string](c.options, bus.OptState), Tag: option[string](c.options, bus.OptTag), Text: option[string](c.options, bus.OptText),
		Brief: option[bool](c.options, bus.OptBrief),
	})
	return s.jsonFile(bus.Log{Records: records}, err)
}

// instant reads an option that is a time, the zero one where it is not given.
func (c *call) instant(name string) time.Time {
	if _, given := c.options[name]; !given {
		return time.Time{}
	}
	return time.Unix(option[int64](c.options, name), 0)
}

func (s *Server) blame(c *call) ([]any, error) {
	return s.jsonFile(s.updater.Blame(c.args[0].(string), option[uint64](c.options, bus.OptLimit)))
}

func (s *Server) diff(c *call) ([]any, error) {
	q := update.DiffRequest{
		From: c.args[0].(string), To: c.args[1].(string), Now: option[bool](c.options, bus.OptNow),
		Paths: option[[]string](c.options, bus.OptPaths), Patch: option[bool](c.options, bus.OptPatch),
	}
	q.Context = c.context()
	return s.jsonFile(s.updater.Diff(c.ctx, q))
}

// context is how many lines around a change are asked for.
func (c *call) context() int {
	if _, given := c.options[bus.OptContext]; given {
		return int(min(option[uint32](c.options, bus.OptContext), maxContext))
	}
	return 3
}

func (s *Server) annotate(c *call) ([]any, error) {
	note, err := c.words(bus.OptNote)
	if err != nil {
		return nil, err
	}
	a := update.Annotation{
		Note: note, AddTags: option[[]string](c.options, bus.OptTags), DropTags: option[[]string](c.options, bus.OptDropTags),
	}
	if err := checkTags(a.AddTags); err != nil {
		return nil, err
	}
	if err := checkTags(a.DropTags); err != nil {
		return nil, err
	}
	if _, given := c.options[bus.OptPin]; given {
		pin := option[bool](c.options, bus.OptPin)
		a.Pin = &pin
	}
	if a.Note == "" && len(a.AddTags) == 0 && len(a.DropTags) == 0 && a.Pin == nil {
		return nil, fmt.Errorf("%w: neither a note nor a tag nor a pin is given", fault.ErrInvalidArgument)
	}
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return nil, s.updater.Annotate(snapshot.Number(c.args[0].(uint64)), a, actor)
}

// logged answers with a file of the log.
func (s *Server) logged(open func(*update.Updater, snapshot.Number) (*os.File, error)) func(*call) ([]any, error) {
	return func(c *call) ([]any, error) {
		f, err := open(s.updater, snapshot.Number(c.args[0].(uint64)))
		if err != nil {
			return nil, err
		}
		return []any{f}, nil
	}
}

func (s *Server) grep(c *call) ([]any, error) {
	return s.jsonFile(s.updater.Grep(c.ctx, c.args[0].(string), option[bool](c.options, bus.OptIgnoreCase), option[uint64](c.options, bus.OptLimit)))
}

func (s *Server) verify(c *call) ([]any, error) {
	var kept *journal.Head
	if _, given := c.options[bus.OptHead]; given {
		h, err := parseHead(option[string](c.options, bus.OptHead))
		if err != nil {
			return nil, err
		}
		kept = &h
	}
	return s.jsonFile(s.updater.Verify(c.ctx, kept))
}

// parseHead reads JOURNAL:SEQ:HASH.
func parseHead(text string) (journal.Head, error) {
	parts := strings.Split(text, ":")
	if len(parts) == 3 && parts[0] != "" && len(parts[2]) == 64 && strings.Trim(parts[2], "0123456789abcdef") == "" {
		if seq, err := strconv.ParseUint(parts[1], 10, 64); err == nil {
			return journal.Head{Journal: parts[0], Seq: seq, Hash: parts[2]}, nil
		}
	}
	return journal.Head{}, fmt.Errorf("%w: head %s: JOURNAL:SEQ:HASH is accepted, as \"txctl verify\" prints it", fault.ErrInvalidArgument, quoted(text))
}

func (s *Server) journalExport(c *call) ([]any, error) {
	f, err := s.updater.ExportJournal(c.ctx)
	if err != nil {
		return nil, err
	}
	return []any{f}, nil
}
