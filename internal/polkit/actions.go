package polkit

// The actions, as systemd/org.txupd1.policy describes them to people and to
// polkit. Reading state needs none.
const (
	Transact  = "org.txupd1.transact"  // change the system by packages, and end what somebody else began
	Update    = "org.txupd1.update"    // bring every package up to date, and nothing else
	Shell     = "org.txupd1.shell"     // run any command in a snapshot: root's rights in what boots next
	Rollback  = "org.txupd1.rollback"  // choose what boots next
	Delete    = "org.txupd1.delete"    // delete snapshots, or let them be deleted
	Reboot    = "org.txupd1.reboot"    // boot what boots next
	Configure = "org.txupd1.configure" // boot loader, repairs, decisions about /etc
	ReadLog   = "org.txupd1.read-log"  // read what may hold secrets: output of commands, contents of files
)

// Actions are all of them.
func Actions() []string {
	return []string{Transact, Update, Shell, Rollback, Delete, Reboot, Configure, ReadLog}
}
