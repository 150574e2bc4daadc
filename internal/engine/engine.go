// Package engine runs the steps of a transaction so that a crash at any moment
// leaves something that the next start can finish or undo: every step is
// recorded before it acts, may act twice, and says whether it is the commit
// point. The engine knows nothing of snapshots; package update gives it the
// kinds of steps.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/failpoint"
)

// Status is how far a step came, as far as was recorded: what really
// happened is found out on the spot, never believed.
type Status string

// The states of a step.
const (
	Intended Status = "intended"
	Done     Status = "done"
)

// Step is one recorded action.
type Step struct {
	Kind   string          `json:"kind"`
	Status Status          `json:"status"`
	Data   json.RawMessage `json:"data,omitempty"` // what doing and undoing need
}

// Kind says how steps of one kind act. Do and Undo may each run twice, and
// Undo may run where Do never began or stopped half-way.
type Kind struct {
	Do   func(ctx context.Context, data json.RawMessage) error
	Undo func(ctx context.Context, data json.RawMessage) error
	// Happened is set for the commit point alone and asks the system, not the
	// records, whether it happened.
	Happened func(ctx context.Context, data json.RawMessage) (bool, error)
}

// ErrUnknownKind is a recorded step that this binary does not know: a newer
// one wrote it. Nothing may be done or undone around it.
var ErrUnknownKind = errors.New("unknown kind of step")

// ErrNotRecorded guards the law of the package: no step acts unrecorded.
var ErrNotRecorded = errors.New("internal error: step acts before it was recorded")

// Engine knows the kinds of steps.
type Engine struct {
	kinds map[string]Kind
}

// New makes an engine of the given kinds.
func New(kinds map[string]Kind) *Engine { return &Engine{kinds: kinds} }

// Plan is the list of steps of one transaction, oldest first.
type Plan struct {
	steps    []Step
	recorded int // steps[:recorded] are durable
}

// Intend adds a step that is to be done. data is kept as JSON.
func (p *Plan) Intend(kind string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("cannot record step %s: %w", kind, err)
	}
	p.steps = append(p.steps, Step{Kind: kind, Status: Intended, Data: raw})
	return nil
}

// Encode is the form that goes into the journal. Call Recorded once that is durable.
func (p *Plan) Encode() ([]byte, error) { return json.Marshal(p.steps) }

// Recorded notes that all steps so far are durable.
func (p *Plan) Recorded() { p.recorded = len(p.steps) }

// Decode reads a recorded plan.
func Decode(raw []byte) (*Plan, error) {
	var steps []Step
	if err := json.Unmarshal(raw, &steps); err != nil {
		return nil, fmt.Errorf("cannot read recorded steps: %w", err)
	}
	return &Plan{steps: steps, recorded: len(steps)}, nil
}

// Do does the intended steps, in order, up to and including the last one of
// kind last; an empty last means all of them.
func (e *Engine) Do(ctx context.Context, p *Plan, last string) error {
	end := len(p.steps)
	if last != "" {
		end = 0
		for i, s := range p.steps {
			if s.Kind == last {
				end = i + 1
			}
		}
	}
	for i := range end {
		step := &p.steps[i]
		if step.Status == Done {
			continue
		}
		if i >= p.recorded {
			return fmt.Errorf("%w: %s", ErrNotRecorded, step.Kind)
		}
		kind, ok := e.kinds[step.Kind]
		if !ok {
			return fmt.Errorf("%w: %q", ErrUnknownKind, step.Kind)
		}
		if err := failpoint.Around("step/"+step.Kind, func() error { return kind.Do(ctx, step.Data) }); err != nil {
			return err
		}
		step.Status = Done
	}
	return nil
}

// Undo undoes every step, newest first, done or not. It goes on after a
// failure and returns all of them; what could not be undone stays in the plan.
func (e *Engine) Undo(ctx context.Context, p *Plan) error {
	if err := e.known(p); err != nil {
		return err
	}
	var failed []Step
	var errs []error
	for _, step := range slices.Backward(p.steps) {
		undo := e.kinds[step.Kind].Undo
		if undo == nil {
			continue
		}
		if err := failpoint.Around("undo/"+step.Kind, func() error { return undo(ctx, step.Data) }); err != nil {
			errs = append(errs, fmt.Errorf("cannot undo %s: %w", step.Kind, err))
			failed = append(failed, step)
		}
	}
	slices.Reverse(failed)
	p.steps, p.recorded = failed, len(failed)
	return errors.Join(errs...)
}

// Committed reports whether the plan has a commit point and it happened.
func (e *Engine) Committed(ctx context.Context, p *Plan) (bool, error) {
	if err := e.known(p); err != nil {
		return false, err
	}
	for _, step := range p.steps {
		happened := e.kinds[step.Kind].Happened
		if happened == nil {
			continue
		}
		yes, err := happened(ctx, step.Data)
		if err != nil {
			return false, fmt.Errorf("cannot find out whether %s happened: %w", step.Kind, err)
		}
		if yes {
			return true, nil
		}
	}
	return false, nil
}

// Finish does what is left of a plan that is not undone: every step from the
// commit point on again, all of them where there is none.
func (e *Engine) Finish(ctx context.Context, p *Plan) error {
	if err := e.known(p); err != nil {
		return err
	}
	after := !slices.ContainsFunc(p.steps, func(s Step) bool { return e.kinds[s.Kind].Happened != nil })
	for i := range p.steps {
		after = after || e.kinds[p.steps[i].Kind].Happened != nil
		p.steps[i].Status = Done
		if after {
			p.steps[i].Status = Intended
		}
	}
	return e.Do(ctx, p, "")
}

// Has reports whether the plan holds a step of that kind.
func (p *Plan) Has(kind string) bool {
	return slices.ContainsFunc(p.steps, func(s Step) bool { return s.Kind == kind })
}

// Data is that of the first step of a kind.
func (p *Plan) Data(kind string) (json.RawMessage, bool) {
	for _, s := range p.steps {
		if s.Kind == kind {
			return s.Data, true
		}
	}
	return nil, false
}

// Did notes that steps of these kinds are done, as the system shows.
func (p *Plan) Did(kinds ...string) {
	for i := range p.steps {
		if slices.Contains(kinds, p.steps[i].Kind) {
			p.steps[i].Status = Done
		}
	}
}

// known fails closed: a plan with one step that we do not understand is not touched at all.
func (e *Engine) known(p *Plan) error {
	for _, step := range p.steps {
		if _, ok := e.kinds[step.Kind]; !ok {
			return fmt.Errorf("%w: %q", ErrUnknownKind, step.Kind)
		}
	}
	return nil
}
