// The methods of org.txupd1.Manager.

package busserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/snapshot"
)

// What a transaction may be told about itself, in bytes.
const (
	maxMessage = 16 << 10
	maxTag     = 128
)

func (s *Server) managerMethods() map[string]method {
	about := []string{bus.OptMessage, bus.OptTags, bus.OptFrom, bus.OptKeepUnchanged}
	oneGo := append([]string{bus.OptDetach, bus.OptStrict}, about...)
	run := append([]string{bus.OptStdin, bus.OptTerminal, bus.OptRows, bus.OptColumns, bus.OptTerm}, oneGo...)
	pkg := append([]string{bus.OptDryRun}, oneGo...)
	// Who may what, and what it is called where somebody is asked for it or refused.
	pkgs := func(does string) right { return right{action: polkit.Transact, does: does} }
	shell := right{action: polkit.Shell, does: "run a command in a new snapshot"}
	back := right{action: polkit.Rollback, does: "choose which snapshot boots"}
	configures := func(does string) right { return right{action: polkit.Configure, does: does} }
	reads := func(does string) right { return right{action: polkit.ReadLog, does: does} }
	printed, contents := reads("read what commands printed"), reads("read what is in files")
	return map[string]method{
		"Begin":         {right: right{action: polkit.Transact, does: "begin a transaction"}, changes: true, options: append([]string{bus.OptExpires}, about...), run: s.begin},
		"Run":           {right: shell, changes: true, options: run, run: s.run},
		"Shell":         {right: shell, changes: true, options: run, run: s.shell},
		"PackageAdd":    {right: pkgs("install packages"), changes: true, options: pkg, run: s.packages(update.KindPkgAdd)},
		"PackageRemove": {right: pkgs("remove packages"), changes: true, options: pkg, run: s.packages(update.KindPkgRemove)},
		// An update of an older snapshot would be a rollback, one that is kept unchanged takes space for nothing.
		"Update": {right: right{action: polkit.Update, does: "update the system",
			with: map[string]string{bus.OptFrom: polkit.Transact, bus.OptKeepUnchanged: polkit.Transact}},
			changes: true, options: pkg, run: s.packages(update.KindUpdate)},
		"Rollback":     {right: back, changes: true, options: []string{bus.OptAsCommitted, bus.OptRestoreShared, bus.OptMessage, bus.OptEtc}, run: s.rollback},
		"BootOnce":     {right: back, changes: true, run: s.bootOnce},
		"Setup":        {right: configures("set up the boot loader"), changes: true, run: s.setup},
		"Assess":       {right: right{action: polkit.Rollback, does: "judge this boot"}, changes: true, run: s.assess},
		"Config":       {run: func(*call) ([]any, error) { return jsonText(s.updater.Settings(), nil) }},
		"Doctor":       {slow: true, run: func(*call) ([]any, error) { return jsonText(s.updater.Doctor()) }},
		"Repair":       {right: configures("repair what was interrupted"), changes: true, run: s.repair},
		"Delete":       {right: right{action: polkit.Delete, does: "delete a snapshot"}, changes: true, run: s.delete},
		"GC":           {right: right{action: polkit.Delete, does: "delete old snapshots"}, changes: true, options: []string{bus.OptDryRun}, run: s.gc},
		"Auto":         {right: right{action: polkit.Update, does: "update the system"}, changes: true, run: s.auto},
		"Reboot":       {right: right{action: polkit.Reboot, does: "reboot the machine"}, changes: true, options: []string{bus.OptMessage, bus.OptMethod}, run: s.reboot},
		"CancelReboot": {right: right{action: polkit.Reboot, does: "take back a reboot"}, changes: true, run: s.cancelReboot},
		"RebootStatus": {run: func(c *call) ([]any, error) { return jsonText(s.updater.Reboot(c.ctx), nil) }},
		"Metrics":      {run: func(c *call) ([]any, error) { return jsonText(s.metrics(c)) }},
		"Status":       {run: func(c *call) ([]any, error) { return jsonText(s.updater.Status(c.ctx)) }},
		"List":         {run: func(*call) ([]any, error) { return jsonText(s.updater.List()) }},
		"Show":         {run: s.show},
		"Log":          {options: logOptions, run: s.logOf},
		"Tree":         {run: func(*call) ([]any, error) { return s.jsonFile(s.updater.Tree()) }},
		"Blame":        {options: []string{bus.OptLimit}, run: s.blame},
		"Diff": {right: right{with: map[string]string{bus.OptPatch: polkit.ReadLog}, does: contents.does},
			options: []string{bus.OptNow, bus.OptPaths, bus.OptPatch, bus.OptContext}, run: s.diff},
		"Etc":        {slow: true, options: []string{bus.OptSnapshot}, run: s.etc},
		"EtcDiff":    {right: contents, options: []string{bus.OptSnapshot, bus.OptPaths, bus.OptNow, bus.OptContext}, run: s.etcDiff},
		"EtcSides":   {right: contents, options: []string{bus.OptSnapshot}, run: s.etcSides},
		"EtcResolve": {right: configures("decide a conflict in /etc"), changes: true, options: []string{bus.OptSnapshot, bus.OptContent, bus.OptSeen}, run: s.etcResolve},
		// Whoever takes a pin away lets the snapshot be deleted.
		"Annotate": {right: right{action: polkit.Transact, does: "annotate a snapshot", with: map[string]string{bus.OptPin: polkit.Delete}},
			changes: true, options: []string{bus.OptNote, bus.OptTags, bus.OptDropTags, bus.OptPin}, run: s.annotate},
		"Output":        {right: printed, run: s.logged((*update.Updater).OutputFile)},
		"Transcript":    {right: printed, run: s.logged((*update.Updater).TranscriptFile)},
		"Grep":          {right: printed, options: []string{bus.OptLimit, bus.OptIgnoreCase}, run: s.grep},
		"Verify":        {options: []string{bus.OptHead}, run: s.verify},
		"JournalExport": {right: reads("export the journal"), run: s.journalExport},
		"PackageList":   {options: []string{bus.OptFrom}, run: s.packageList},
		"PackageNames":  {run: s.packageNames},
	}
}

// request reads what all transactions are told.
func (s *Server) request(c *call, kind string) (update.Request, error) {
	q := update.Request{
		Kind: kind, Tags: option[[]string](c.options, bus.OptTags),
		From: option[string](c.options, bus.OptFrom), KeepUnchanged: option[bool](c.options, bus.OptKeepUnchanged),
		Strict: option[bool](c.options, bus.OptStrict),
	}
	var err error
	if q.Message, err = c.words(bus.OptMessage); err != nil {
		return q, err
	}
	if err := checkTags(q.Tags); err != nil {
		return q, err
	}
	q.Actor, err = s.actor(c)
	return q, err
}

func checkTags(tags []string) error {
	if len(tags) > update.MaxTags {
		return fmt.Errorf("%w: %d tags, at most %d are accepted", fault.ErrInvalidArgument, len(tags), update.MaxTags)
	}
	for _, tag := range tags {
		if tag == "" || len(tag) > maxTag || strings.ContainsFunc(tag, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
			return fmt.Errorf("%w: tag %s: one word of at most %d bytes is accepted", fault.ErrInvalidArgument, quoted(tag), maxTag)
		}
	}
	return nil
}

// words reads a message of a caller, "" where none is given; one that is given is not empty.
func (c *call) words(name string) (string, error) {
	if _, given := c.options[name]; !given {
		return "", nil
	}
	m := option[string](c.options, name)
	return m, checkMessage(m)
}

func checkMessage(m string) error {
	switch {
	case strings.TrimSpace(m) == "":
		return fmt.Errorf("%w: the message is empty", fault.ErrInvalidArgument)
	case len(m) > maxMessage:
		return fmt.Errorf("%w: the message is %d bytes long, at most %d are accepted", fault.ErrInvalidArgument, len(m), maxMessage)
	case !utf8.ValidString(m):
		return fmt.Errorf("%w: the message is not valid UTF-8", fault.ErrInvalidArgument)
	case strings.ContainsFunc(m, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return fmt.Errorf("%w: the message holds control characters", fault.ErrInvalidArgument)
	}
	return nil
}

// quoted shows an argument in an error: whole if it is short.
func quoted(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "…"
	}
	return strconv.Quote(s)
}

func (s *Server) begin(c *call) ([]any, error) {
	q, err := s.request(c, update.KindBegin)
	if err != nil {
		return nil, err
	}
	q.Expires = update.DefaultExpiry
	if _, given := c.options[bus.OptExpires]; given {
		seconds := option[uint64](c.options, bus.OptExpires)
		if seconds > uint64((10*365*24*time.Hour)/time.Second) {
			return nil, fmt.Errorf("%w: expires %d: at most ten years of seconds are accepted", fault.ErrInvalidArgument, seconds)
		}
		q.Expires = time.Duration(seconds) * time.Second
	}
	return began(s.updater.Begin(c.ctx, q))
}

func began(t *update.Transaction, err error) ([]any, error) {
	if err != nil {
		return nil, err
	}
	return []any{transactionPath(t)}, nil
}

// command reads what Run, Shell and Exec are told of the command.
func (c *call) command(argv []string) (update.Command, error) {
	cmd := update.Command{Argv: argv, Stdin: option[bool](c.options, bus.OptStdin)}
	if !option[bool](c.options, bus.OptTerminal) {
		for _, name := range []string{bus.OptRows, bus.OptColumns, bus.OptTerm} {
			if _, given := c.options[name]; given {
				return cmd, fmt.Errorf("%w: option %q goes with a terminal only", fault.ErrInvalidArgument, name)
			}
		}
		return cmd, nil
	}
	rows, columns := option[uint16](c.options, bus.OptRows), option[uint16](c.options, bus.OptColumns)
	if rows == 0 || columns == 0 {
		rows, columns = 24, 80
	}
	cmd.Terminal = update.Terminal(rows, columns)
	term := option[string](c.options, bus.OptTerm)
	if term == "" {
		term = "dumb"
	}
	if len(term) > 64 || strings.ContainsFunc(term, func(r rune) bool { return r <= ' ' || r > '~' || r == '=' || r == '/' }) {
		return cmd, fmt.Errorf("%w: terminal type %s", fault.ErrInvalidArgument, quoted(term))
	}
	cmd.Env = []string{"TERM=" + term}
	return cmd, nil
}

func (s *Server) run(c *call) ([]any, error) { return s.runOf(c, update.KindRun) }

func (s *Server) shell(c *call) ([]any, error) {
	withTerminal := options{bus.OptTerminal: dbus.MakeVariant(true)}
	maps.Copy(withTerminal, c.options) // a caller may say otherwise
	c.options = withTerminal
	return s.runOf(c, update.KindShell)
}

func (s *Server) runOf(c *call, kind string) ([]any, error) {
	q, err := s.request(c, kind)
	if err != nil {
		return nil, err
	}
	cmd, err := c.command(c.args[0].([]string))
	if err != nil {
		return nil, err
	}
	t, err := s.updater.Run(c.ctx, q, cmd)
	return s.started(c, t, err)
}

// started ties a transaction of one go to its caller.
func (s *Server) started(c *call, t *update.Transaction, err error) ([]any, error) {
	if err == nil && !option[bool](c.options, bus.OptDetach) {
		s.own(c.from, owned{t, whole})
	}
	return began(t, err)
}

func (s *Server) packages(kind string) func(*call) ([]any, error) {
	return func(c *call) ([]any, error) {
		q, err := s.request(c, kind)
		if err != nil {
			return nil, err
		}
		r := update.PackageRequest{Request: q, DryRun: option[bool](c.options, bus.OptDryRun)}
		if kind != update.KindUpdate {
			r.Names = c.args[0].([]string)
		}
		t, err := s.updater.ChangePackages(c.ctx, r)
		return s.started(c, t, err)
	}
}

// snapshotOr reads the first argument: a snapshot, or -1, which is "" and does what is said.
func (c *call) snapshotOr(does string) (string, error) {
	switch n := c.args[0].(int64); {
	case n >= 0:
		return strconv.FormatInt(n, 10), nil
	case n < -1:
		return "", fmt.Errorf("%w: snapshot %d: numbers are not negative; -1 alone %s", fault.ErrInvalidArgument, n, does)
	}
	return "", nil
}

func (s *Server) rollback(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	to, err := c.snapshotOr("chooses")
	if err != nil {
		return nil, err
	}
	keep, err := c.keepsEtc()
	if err != nil {
		return nil, err
	}
	var n snapshot.Number
	restore := option[bool](c.options, bus.OptRestoreShared)
	if asCommitted := option[bool](c.options, bus.OptAsCommitted); asCommitted || keep {
		q, err := s.request(c, update.KindRollback)
		if err != nil {
			return nil, err
		}
		q.From, q.RestoreShared = to, restore
		if keep {
			n, err = s.updater.RollbackKeepingEtc(c.ctx, q, asCommitted)
		} else {
			n, err = s.updater.RollbackAsCommitted(c.ctx, q)
		}
		if err != nil {
			return nil, err
		}
		return []any{uint64(n)}, nil
	}
	if restore {
		n, err = s.updater.RollbackRestoring(c.ctx, to, actor)
	} else {
		n, err = s.updater.Rollback(c.ctx, to, actor)
	}
	if err != nil {
		return nil, err
	}
	return []any{uint64(n)}, nil
}

func (s *Server) bootOnce(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	to, err := c.snapshotOr("takes it back")
	if err != nil {
		return nil, err
	}
	return nil, s.updater.BootOnce(c.ctx, to, actor)
}

func (s *Server) setup(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	done, err := s.updater.Setup(c.ctx, actor)
	if err != nil {
		return nil, err
	}
	return []any{texts(done)}, nil
}

func (s *Server) repair(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return jsonText(s.updater.Repair(c.ctx, actor))
}

func (s *Server) assess(c *call) ([]any, error) {
	return jsonText(s.updater.Assess(c.ctx, c.args[0].(string)))
}

func (s *Server) delete(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return nil, s.updater.Delete(c.ctx, snapshot.Number(c.args[0].(uint64)), actor)
}

func (s *Server) gc(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return jsonText(s.updater.GC(c.ctx, option[bool](c.options, bus.OptDryRun), actor))
}

func (s *Server) auto(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return jsonText(s.updater.Auto(c.ctx, actor))
}

func (s *Server) reboot(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	reason, err := c.words(bus.OptMessage)
	if err != nil {
		return nil, err
	}
	method := option[string](c.options, bus.OptMethod)
	return jsonText(s.updater.AskReboot(c.ctx, c.args[0].(string), time.Unix(c.args[1].(int64), 0), method, actor, reason))
}

func (s *Server) metrics(c *call) (bus.Metrics, error) {
	families, err := s.updater.Metrics(c.ctx)
	return bus.Metrics{Families: families}, err
}

func (s *Server) cancelReboot(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return nil, s.updater.CancelReboot(actor)
}

func (s *Server) show(c *call) ([]any, error) {
	return s.jsonFile(s.updater.ShowNow(snapshot.Number(c.args[0].(uint64))))
}

func (s *Server) packageList(c *call) ([]any, error) {
	doc, err := s.updater.Installed(c.ctx, option[string](c.options, bus.OptFrom))
	return s.jsonFile(doc, err)
}

func (s *Server) packageNames(c *call) ([]any, error) {
	return s.jsonFile(s.updater.Available(c.ctx, c.args[0].(string)))
}

func jsonText(doc any, err error) ([]any, error) {
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(doc)
	return []any{string(raw)}, err
}
