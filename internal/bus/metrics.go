package bus

import "github.com/txupd/txupd/internal/metrics"

// Metrics is the document of `metrics`: the state in numbers.
type Metrics struct {
	Families []metrics.Family `json:"families"`
}
