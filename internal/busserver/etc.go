// The methods of org.txupd1.Manager about /etc.

package busserver

import (
	"fmt"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
)

func (s *Server) etc(c *call) ([]any, error) {
	return s.jsonFile(s.updater.Etc(c.ctx, option[string](c.options, bus.OptSnapshot)))
}

func (s *Server) etcDiff(c *call) ([]any, error) {
	return s.jsonFile(s.updater.EtcDiff(c.ctx, update.EtcDiffRequest{
		Snapshot: option[string](c.options, bus.OptSnapshot), Paths: option[[]string](c.options, bus.OptPaths),
		Now: option[bool](c.options, bus.OptNow), Context: c.context(),
	}))
}

func (s *Server) etcSides(c *call) ([]any, error) {
	return s.jsonFile(s.updater.EtcSides(c.ctx, c.args[0].(string), option[string](c.options, bus.OptSnapshot)))
}

func (s *Server) etcResolve(c *call) ([]any, error) {
	actor, err := s.actor(c)
	if err != nil {
		return nil, err
	}
	return jsonText(s.updater.ResolveEtc(c.ctx, update.ResolveRequest{
		Path: c.args[0].(string), Choice: c.args[1].(string), Snapshot: option[string](c.options, bus.OptSnapshot),
		Content: option[[]byte](c.options, bus.OptContent), State: option[string](c.options, bus.OptSeen), Actor: actor,
	}))
}

// keepsEtc reads what a rollback does about /etc.
func (c *call) keepsEtc() (bool, error) {
	switch word := option[string](c.options, bus.OptEtc); word {
	case bus.EtcKeep:
		return true, nil
	case bus.EtcRestore:
		return false, nil
	default:
		if _, given := c.options[bus.OptEtc]; given {
			return false, fmt.Errorf("%w: etc %s: %q or %q is accepted", fault.ErrInvalidArgument, quoted(word), bus.EtcRestore, bus.EtcKeep)
		}
		return false, nil
	}
}
