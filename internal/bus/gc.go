package bus

import "time"

// GC is the document of `gc`.
type GC struct {
	Snapshots []GCSnapshot `json:"snapshots"` // all of them, the oldest first
	Deleted   []uint64     `json:"deleted"`
	Failed    []GCFailure  `json:"failed"`
	Before    GCSpace      `json:"before"`
	After     GCSpace      `json:"after"`
	DryRun    bool         `json:"dry_run"`
}

// GCRuleSpace is the rule by which what might have stayed goes where too little
// is free. The others are those of the configuration: needed, pinned, tagged,
// least, most, age, and spare for what stays while there is room.
const GCRuleSpace = "space"

// GCSnapshot is what becomes of a snapshot, and by which rule.
type GCSnapshot struct {
	Number  uint64    `json:"number"`
	Created time.Time `json:"created"`
	Delete  bool      `json:"delete"`
	Rule    string    `json:"rule"`
	Why     string    `json:"why"`
}

// GCFailure is a snapshot that could not be deleted.
type GCFailure struct {
	Number  uint64 `json:"number"`
	Message string `json:"message"`
}

// GCSpace is what is free of the file system, and what is wanted to be, in bytes.
type GCSpace struct {
	Data           uint64 `json:"data_free"`
	DataWanted     uint64 `json:"data_wanted"`
	Metadata       uint64 `json:"metadata_free"`
	MetadataWanted uint64 `json:"metadata_wanted"`
}

// Lacking reports whether less is free than is wanted.
func (s GCSpace) Lacking() bool { return s.Data < s.DataWanted || s.Metadata < s.MetadataWanted }
