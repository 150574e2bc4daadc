// How the machine boots, for those who ask, and the setup of its boot loader.

package update

import (
	"context"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Doctor tells what was found out about how this machine boots.
func (u *Updater) Doctor() (bus.Doctor, error) {
	f, err := u.facts()
	if err != nil {
		return bus.Doctor{}, err
	}
	doc := bus.Doctor{
		Root: u.Root, Layout: u.Store.Layout().Name, CommitPoint: string(f.Mode), Why: f.Why, BootLoader: f.Loader,
		RootFlags: f.RootFlags, Fstab: f.Fstab, GrubDir: f.GrubDir, GrubFilesystem: f.GrubFilesystem, Hooked: f.Hooked,
		Counter: f.CounterFile, Boot: partition(f.Boot), ESP: partition(f.ESP), Problems: []bus.Problem{},
	}
	for _, p := range f.Problems {
		doc.Problems = append(doc.Problems, bus.Problem{What: p.What, Remedy: p.Remedy, Blocks: p.Blocks})
	}
	outside, err := u.databaseOutside()
	if err != nil {
		return doc, err
	}
	if outside != nil {
		doc.Problems = append(doc.Problems, *outside)
	}
	for _, words := range u.standingTroubles() {
		doc.Problems = append(doc.Problems, bus.Problem{What: words, Remedy: "\"txctl doctor --repair\" tries again, and so does every start of the daemon"})
	}
	doc.Repaired, err = u.lastRepair()
	return doc, err
}

func partition(p *boot.Partition) *bus.Partition {
	if p == nil {
		return nil
	}
	return &bus.Partition{Mount: p.Mount, Device: p.Device, UUID: p.UUID, Type: p.Type, Free: p.Free, Size: p.Size}
}

// Setup makes the boot loader read our menu, and returns what it did for that.
func (u *Updater) Setup(ctx context.Context, actor record.Actor) ([]string, error) {
	h, done, err := u.change(ctx, "the setup of the boot loader", actor)
	if err != nil {
		return nil, err
	}
	defer done()
	defer u.letGo(h)
	said := []string{}
	if err := u.Boot.Setup(ctx, func(words string) {
		u.Log.Info("setup: " + words)
		said = append(said, words)
	}); err != nil {
		return nil, err
	}
	did, err := u.reconcileBoot(ctx)
	return append(said, did...), err
}

// Settings lists the configuration that is in force.
func (u *Updater) Settings() bus.Config {
	doc := bus.Config{Values: []bus.Setting{}}
	if u.Misconfigured != nil {
		doc.Error = u.Misconfigured.Error()
	}
	for _, v := range u.Config.Values() {
		doc.Values = append(doc.Values, bus.Setting{Key: v.Key, Value: v.Value, Origin: v.Origin, Doc: v.Doc})
	}
	return doc
}
