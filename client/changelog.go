// Questions about the past.

package client

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
)

// LogFilter selects records; what is empty selects all.
type LogFilter struct {
	Limit        uint64 // 0 is no limit
	Package      string
	Path         string // or a pattern
	Since, Until time.Time
	Actor        string
	State        string // one of bus.States
	Tag          string
	Text         string
	Brief        bool // without commands, packages one by one, boots and decisions
}

// Log returns records, newest first.
func (c *Client) Log(ctx context.Context, f LogFilter) (doc Log, err error) {
	o := options{}
	if f.Brief {
		o[bus.OptBrief] = dbus.MakeVariant(true)
	}
	if f.Limit > 0 {
		o[bus.OptLimit] = dbus.MakeVariant(f.Limit)
	}
	for name, value := range map[string]string{
		bus.OptPackage: f.Package, bus.OptPath: f.Path, bus.OptActor: f.Actor, bus.OptState: f.State, bus.OptTag: f.Tag, bus.OptText: f.Text,
	} {
		if value != "" {
			o[name] = dbus.MakeVariant(value)
		}
	}
	for name, value := range map[string]time.Time{bus.OptSince: f.Since, bus.OptUntil: f.Until} {
		if !value.IsZero() {
			o[name] = dbus.MakeVariant(value.Unix())
		}
	}
	return doc, c.document(ctx, "Log", []any{o}, &doc)
}

// ShowNow returns one record with the roles that its snapshot has now.
func (c *Client) ShowNow(ctx context.Context, n uint64) (doc Shown, err error) {
	return doc, c.document(ctx, "Show", []any{n, options{}}, &doc)
}

// Tree describes every snapshot, and the deleted ones that connect them.
func (c *Client) Tree(ctx context.Context) (doc List, err error) {
	return doc, c.document(ctx, "Tree", []any{options{}}, &doc)
}

// Blame returns the changes of a path, a pattern or a package, newest first, of at most so many transactions, 0 for all.
func (c *Client) Blame(ctx context.Context, subject string, limit uint64) (doc Blame, err error) {
	o := options{}
	if limit > 0 {
		o[bus.OptLimit] = dbus.MakeVariant(limit)
	}
	return doc, c.document(ctx, "Blame", []any{subject, o}, &doc)
}

// DiffOptions change a comparison.
type DiffOptions struct {
	Now     bool // as they are now, not as they were committed
	Paths   []string
	Patch   bool    // with contents
	Context *uint32 // lines around a change, nil for the usual
}

// Diff compares two snapshots, by numbers or words.
func (c *Client) Diff(ctx context.Context, from, to string, d DiffOptions) (doc Diff, err error) {
	o := options{}
	if d.Now {
		o[bus.OptNow] = dbus.MakeVariant(true)
	}
	if len(d.Paths) > 0 {
		o[bus.OptPaths] = dbus.MakeVariant(d.Paths)
	}
	if d.Patch {
		o[bus.OptPatch] = dbus.MakeVariant(true)
	}
	if d.Context != nil {
		o[bus.OptContext] = dbus.MakeVariant(*d.Context)
	}
	return doc, c.document(ctx, "Diff", []any{from, to, o}, &doc)
}

// Annotation is what is added to a record, or taken from it.
type Annotation struct {
	Note     *string
	Tags     []string
	DropTags []string
	Pin      *bool
}

// Annotate changes the record of a transaction after the fact.
func (c *Client) Annotate(ctx context.Context, n uint64, a Annotation) error {
	o := options{}
	if a.Note != nil {
		o[bus.OptNote] = dbus.MakeVariant(*a.Note)
	}
	if len(a.Tags) > 0 {
		o[bus.OptTags] = dbus.MakeVariant(a.Tags)
	}
	if len(a.DropTags) > 0 {
		o[bus.OptDropTags] = dbus.MakeVariant(a.DropTags)
	}
	if a.Pin != nil {
		o[bus.OptPin] = dbus.MakeVariant(*a.Pin)
	}
	return c.manager(ctx, "Annotate", []any{n, o})
}

// Output opens what the commands of a transaction printed, compressed with zstd.
func (c *Client) Output(ctx context.Context, n uint64) (io.ReadCloser, error) {
	return c.file(ctx, "Output", n, options{})
}

// Transcript opens what a transaction printed on terminals, as asciicast v2.
func (c *Client) Transcript(ctx context.Context, n uint64) (io.ReadCloser, error) {
	return c.file(ctx, "Transcript", n, options{})
}

// Grep returns the lines of recorded output that hold text, those of the newest transaction first, at most so many, 0 for all.
func (c *Client) Grep(ctx context.Context, text string, ignoreCase bool, limit uint64) (doc Grep, err error) {
	o := options{}
	if limit > 0 {
		o[bus.OptLimit] = dbus.MakeVariant(limit)
	}
	if ignoreCase {
		o[bus.OptIgnoreCase] = dbus.MakeVariant(true)
	}
	return doc, c.document(ctx, "Grep", []any{text, o}, &doc)
}

// Verify checks the journal, and that it contains a head that was kept, where one is given.
func (c *Client) Verify(ctx context.Context, head string) (doc Verification, err error) {
	o := options{}
	if head != "" {
		o[bus.OptHead] = dbus.MakeVariant(head)
	}
	return doc, c.document(ctx, "Verify", []any{o}, &doc)
}

// JournalExport opens the journal as lines of JSON.
func (c *Client) JournalExport(ctx context.Context) (io.ReadCloser, error) {
	return c.file(ctx, "JournalExport", options{})
}

// file opens an answer that comes as a file.
func (c *Client) file(ctx context.Context, method string, args ...any) (io.ReadCloser, error) {
	var fd dbus.UnixFD
	if err := c.read(ctx, method, args, &fd); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), method)
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, 1<<50), f}, nil
}
