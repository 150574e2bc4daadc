// Which versions of the journal this version can use, and how an older one is
// brought up.

package journal

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// A minor change only adds: fields, buckets, kinds of events. Older versions
// read and write on. A major one makes a new file, see Migrate.
const (
	schemaMajor = 1
	schemaMinor = 0
)

type schema struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// checkSchema accepts this major schema with any minor one.
func (tx *Tx) checkSchema() (err error) {
	s, err := tx.schema()
	switch {
	case err != nil:
		return err
	case s.Major > schemaMajor:
		return fmt.Errorf("%w: %s has schema %d.%d, this version knows %d.%d",
			ErrNewer, tx.j.path, s.Major, s.Minor, schemaMajor, schemaMinor)
	case s.Major < schemaMajor:
		return fmt.Errorf("%w: %s has schema %d.%d, this version needs %d",
			ErrOlder, tx.j.path, s.Major, s.Minor, schemaMajor)
	}
	return nil
}

func (tx *Tx) schema() (s schema, err error) {
	defer tx.guard(&err)
	if tx.meta = tx.b.Bucket([]byte(bucketMeta)); tx.meta == nil {
		return s, tx.damaged("the bucket %q is missing", bucketMeta)
	}
	err = tx.metaJSON(metaSchema, &s)
	return s, err
}

// migration fills an empty file from one with the major schema before.
type migration func(old, new *bbolt.Tx) error

// migrations[i] leads from major schema i+1 to i+2.
var migrations = []migration{}

// Migrate brings an older journal that nobody has open to this major schema,
// in a new file; each former one is kept under one of the returned names. The
// caller decides when that is safe: a rollback to an older version, which would
// not read the new file, must not be needed any more.
func Migrate(path string, o Options) (kept []string, err error) {
	kept, err = migrate(path, o.withDefaults(), migrations)
	if err != nil {
		return kept, fmt.Errorf("cannot migrate the journal %s: %w", path, err)
	}
	return kept, nil
}

func migrate(path string, o Options, migrations []migration) (kept []string, err error) {
	for {
		former, err := migrateOnce(path, o, migrations)
		if err != nil || former == "" {
			return kept, err
		}
		kept = append(kept, former)
	}
}

// migrateOnce goes up one major schema, and returns where the former file is, "" if there was nothing to do.
func migrateOnce(path string, o Options, migrations []migration) (former string, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f, err := lock(path, o.Timeout)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := inspect(path, f, o.Logger); err != nil {
		return "", err
	}
	pack, err := newPacker()
	if err != nil {
		return "", err
	}
	defer pack.close()
	j := &Journal{path: path, now: o.Now, log: o.Logger, file: f, pack: pack}
	if err := j.openDB(); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, j.db.Close()) }()

	b, err := j.begin(false)
	if err != nil {
		return "", err
	}
	tx := &Tx{j: j, b: b}
	defer j.end(tx)
	s, err := tx.schema()
	switch {
	case err != nil:
		return "", err
	case s.Major > len(migrations):
		return "", nil
	case s.Major < 1:
		return "", fmt.Errorf("schema %d is not known", s.Major)
	}
	// A link, so that the journal is under its own name at every moment.
	if former, err = keep(path, fmt.Sprintf("schema-%d", s.Major), os.Link); err != nil {
		return "", err
	}
	err = replace(path, o.Timeout, true, func(db *bbolt.DB) error {
		return db.Update(func(to *bbolt.Tx) error {
			if err := migrations[s.Major-1](b, to); err != nil {
				return err
			}
			next := &Tx{j: j, b: to}
			if next.meta, err = to.CreateBucketIfNotExists([]byte(bucketMeta)); err != nil {
				return err
			}
			return next.putMetaJSON(metaSchema, schema{Major: s.Major + 1})
		})
	})
	if err != nil {
		return "", errors.Join(err, os.Remove(former))
	}
	return former, nil
}
