// The introspection data: the truth about signatures. The server refuses
// messages that do not fit it and a test holds its method tables against it.

package bus

const standardXML = `
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect"><arg name="xml" type="s" direction="out"/></method>
 </interface>
 <interface name="org.freedesktop.DBus.Peer">
  <method name="Ping"/>
  <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
 </interface>
 <interface name="org.freedesktop.DBus.Properties">
  <method name="Get">
   <arg name="interface" type="s" direction="in"/>
   <arg name="property" type="s" direction="in"/>
   <arg name="value" type="v" direction="out"/>
  </method>
  <method name="GetAll">
   <arg name="interface" type="s" direction="in"/>
   <arg name="properties" type="a{sv}" direction="out"/>
  </method>
  <method name="Set">
   <arg name="interface" type="s" direction="in"/>
   <arg name="property" type="s" direction="in"/>
   <arg name="value" type="v" direction="in"/>
  </method>
  <signal name="PropertiesChanged">
   <arg name="interface" type="s"/>
   <arg name="changed" type="a{sv}"/>
   <arg name="invalidated" type="as"/>
  </signal>
 </interface>`

// ManagerXML describes /org/txupd1, without the surrounding node element.
const ManagerXML = standardXML + `
 <interface name="org.freedesktop.DBus.ObjectManager">
  <method name="GetManagedObjects"><arg name="objects" type="a{oa{sa{sv}}}" direction="out"/></method>
  <signal name="InterfacesAdded">
   <arg name="object" type="o"/>
   <arg name="interfaces" type="a{sa{sv}}"/>
  </signal>
  <signal name="InterfacesRemoved">
   <arg name="object" type="o"/>
   <arg name="interfaces" type="as"/>
  </signal>
 </interface>
 <interface name="org.txupd1.Manager">
  <!-- Begin opens a transaction that stays open until Commit or Discard. Options: message, tags, from, expires, keep_unchanged. -->
  <method name="Begin">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transaction" type="o" direction="out"/>
  </method>
  <!-- Run runs one command in a new transaction and commits it if the command succeeds.
       Options: message, tags, from, detach, keep_unchanged, strict, stdin, terminal, rows, columns, term. -->
  <method name="Run">
   <arg name="argv" type="as" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transaction" type="o" direction="out"/>
  </method>
  <!-- Shell runs an interactive shell in a new transaction (argv empty: the login shell of root). Options as Run. -->
  <method name="Shell">
   <arg name="argv" type="as" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transaction" type="o" direction="out"/>
  </method>
  <!-- PackageAdd installs packages in a new transaction. Options: message, tags, from, detach, dry_run, keep_unchanged, strict. -->
  <method name="PackageAdd">
   <arg name="names" type="as" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transaction" type="o" direction="out"/>
  </method>
  <!-- PackageRemove removes packages in a new transaction. Options as PackageAdd. -->
  <method name="PackageRemove">
   <arg name="names" type="as" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transaction" type="o" direction="out"/>
  </method>
  <!-- Update brings every package up to date in a new transaction. Options as PackageAdd. -->
  <method name="Update">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transaction" type="o" direction="out"/>
  </method>
  <!-- Rollback makes a snapshot the one that boots next. number: -1 chooses (the booted one where another is pending, else the last good one before it).
       Options: as_committed (a new snapshot is made of what it was when it was committed, and that boots next), message,
       etc (restore: as it was then, if nothing else is said; keep: a new snapshot is made, into whose /etc what was edited in the running one is merged),
       restore_shared (its boot takes back what the running root handed over to shared trees, as long as its own boot was not found good). -->
  <method name="Rollback">
   <arg name="number" type="x" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="now_default" type="t" direction="out"/>
  </method>
  <!-- BootOnce boots a snapshot at the next boot, and only then. number: -1 takes that back. -->
  <method name="BootOnce">
   <arg name="number" type="x" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Setup makes the boot loader read our menu, and tells what it did for that. It may be called again. -->
  <method name="Setup">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="done" type="as" direction="out"/>
  </method>
  <!-- Doctor answers a JSON document: how this machine boots, what follows from it, and what to do. -->
  <method name="Doctor">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Repair ends what was interrupted and rebuilds what is derived, as every start of the daemon does.
       It answers a JSON document: what it did, and what it could not do. -->
  <method name="Repair">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Config answers a JSON document: every setting that is in force, and where it comes from. -->
  <method name="Config">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Assess brings the assessment of this boot one step on: check, verdict, deadline or emergency. It may reboot the machine. It answers a JSON document. -->
  <method name="Assess">
   <arg name="moment" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- GC deletes the snapshots that the rules of the configuration ([gc]) let go, and more of the oldest while too little is free. It
       answers a JSON document: what becomes of each snapshot, by which rule, and what is free. Options: dry_run. -->
  <method name="GC">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Auto updates the system as the policy of the configuration ([auto]) says, and returns when that is over. It answers a JSON
       document: what came of it. -->
  <method name="Auto">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Reboot asks for a reboot of the machine. when is now, at or window; at, in seconds since 1970, goes with at. Where a reboot is
       asked for already, the earlier time counts and both reasons are kept. It answers as RebootStatus does. Options: message; method (s): auto, reboot or
       soft-reboot, the configured one unless given. -->
  <method name="Reboot">
   <arg name="when" type="s" direction="in"/>
   <arg name="at" type="x" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- CancelReboot takes the request back. -->
  <method name="CancelReboot">
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Metrics answers a JSON document: the state in numbers. -->
  <method name="Metrics">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- RebootStatus answers a JSON document: the reboot that is asked for, when it takes place and what keeps it. -->
  <method name="RebootStatus">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Delete removes a snapshot; its record stays. -->
  <method name="Delete">
   <arg name="number" type="t" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Status answers a JSON document: booted, default, pending, last_good, transaction, reboot_required, warnings, capabilities. -->
  <method name="Status">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- List answers a JSON document of every snapshot that exists. -->
  <method name="List">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Show sends the JSON document of one transaction as a file: read it to its end. It is the record, and the roles that its snapshot has. -->
  <method name="Show">
   <arg name="number" type="t" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- Log sends the JSON document of many transactions, newest first, as a file.
       Options: limit, package, path, since, until, actor, state, tag, text, brief. -->
  <method name="Log">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- PackageList sends the JSON document of the packages of a snapshot (option from; the pending one, else the booted one) as a file. -->
  <method name="PackageList">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- PackageNames sends a JSON document of the names of packages that begin with prefix and can be added, as a file:
       those of the repositories when their lists were read last. -->
  <method name="PackageNames">
   <arg name="prefix" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- Tree answers a JSON document of every snapshot that exists and of the deleted ones that connect them. -->
  <method name="Tree">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- Blame sends the JSON document of every change of a path (it begins with a slash), of what is below it or matches the pattern,
       or of a package, newest first, as a file. Options: limit (of transactions). -->
  <method name="Blame">
   <arg name="subject" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- Diff sends the JSON document of what is different between two snapshots, numbers or words, as a file. Both empty: the booted one and
       the pending one; the second empty: what boots next. "base" as the first: what the second was made from.
       Options: now, paths, patch (needs authorisation), context. -->
  <method name="Diff">
   <arg name="from" type="s" direction="in"/>
   <arg name="to" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- Etc sends a JSON document as a file: how the running /etc and that of a snapshot (option snapshot; the pending one) differ, what a
       reboot makes of both, and which conflicts wait for a decision. -->
  <method name="Etc">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- EtcDiff sends a JSON document of the contents of files in /etc as a file: as they run, and as they will be after a reboot.
       It needs authorisation. Options: snapshot, paths, now (as they are in the snapshot now), context. -->
  <method name="EtcDiff">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- EtcSides sends a JSON document of both sides of a conflict, named by the file or by what was kept beside it, as a file.
       Options: snapshot (else the pending one if it has it, else the running /etc). -->
  <method name="EtcSides">
   <arg name="path" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- EtcResolve settles a conflict: ours takes what was kept, theirs leaves what is in place, edited puts a content there.
       It answers a JSON document. Options: snapshot, content, seen (the state of EtcSides; both with edited only). -->
  <method name="EtcResolve">
   <arg name="path" type="s" direction="in"/>
   <arg name="choice" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="json" type="s" direction="out"/>
  </method>
  <!-- Annotate adds to the record of a transaction, or takes from it. Options: note, tags, drop_tags, pin. -->
  <method name="Annotate">
   <arg name="number" type="t" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Output sends what the commands of a transaction printed, compressed with zstd, as a file. -->
  <method name="Output">
   <arg name="number" type="t" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="output" type="h" direction="out"/>
  </method>
  <!-- Transcript sends what a transaction printed on terminals, as a file in the format asciicast v2. -->
  <method name="Transcript">
   <arg name="number" type="t" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="transcript" type="h" direction="out"/>
  </method>
  <!-- Grep sends the JSON document of the lines of recorded output that hold a text, newest transaction first, as a file.
       Options: limit, ignore_case. -->
  <method name="Grep">
   <arg name="text" type="s" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- Verify answers a JSON document: whether the journal is what was written. Options: head. -->
  <method name="Verify">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="document" type="h" direction="out"/>
  </method>
  <!-- JournalExport sends the journal as lines of JSON. -->
  <method name="JournalExport">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="lines" type="h" direction="out"/>
  </method>
  <property name="Version" type="s" access="read"/>
  <property name="Root" type="s" access="read"/>
  <property name="Booted" type="o" access="read"/>
  <property name="Default" type="o" access="read"/>
  <property name="RebootRequired" type="b" access="read"/>
  <property name="Transaction" type="o" access="read"/>
  <!-- The machine reboots at this time, in seconds since 1970, or a reboot waits for those who are logged in. message: what they are told. -->
  <signal name="RebootSoon">
   <arg name="at" type="x"/>
   <arg name="message" type="s"/>
  </signal>
  <!-- A transaction ended in phase committed, failed or discarded. -->
  <signal name="TransactionFinished">
   <arg name="transaction" type="o"/>
   <arg name="phase" type="s"/>
  </signal>
 </interface>`

// TransactionXML describes a transaction that this run of the daemon has seen.
const TransactionXML = standardXML + `
 <interface name="org.txupd1.Transaction">
  <!-- Exec starts one more command in an open transaction. CommandFinished tells its end. Options: stdin, terminal, rows, columns, term, detach. -->
  <method name="Exec">
   <arg name="argv" type="as" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="command" type="u" direction="out"/>
  </method>
  <!-- Attach gives three descriptors: write to the first what the command shall read (closed where it reads nothing), read its
       output and its errors from the others, from the first byte on. A terminal has no errors of its own.
       They end with the transaction. Options: command (u), only output of that command; they end with it. -->
  <method name="Attach">
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="stdin" type="h" direction="out"/>
   <arg name="stdout" type="h" direction="out"/>
   <arg name="stderr" type="h" direction="out"/>
  </method>
  <!-- Resize tells the terminal its size. -->
  <method name="Resize">
   <arg name="rows" type="q" direction="in"/>
   <arg name="columns" type="q" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Signal sends a signal (its number on Linux) to the running command. -->
  <method name="Signal">
   <arg name="signal" type="u" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Commit makes the snapshot the one that boots next. Finished tells the end. Options: message, keep_unchanged, strict (where the
       merge of /etc has conflicts it fails at once, and the transaction stays open). -->
  <method name="Commit">
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Discard gives everything up. -->
  <method name="Discard">
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <!-- Cancel ends the running command; a transaction of one command is given up with it. -->
  <method name="Cancel">
   <arg name="options" type="a{sv}" direction="in"/>
  </method>
  <property name="Number" type="t" access="read"/>
  <property name="Parent" type="t" access="read"/>
  <property name="Kind" type="s" access="read"/>
  <property name="Message" type="s" access="read"/>
  <property name="Phase" type="s" access="read"/>
  <property name="Running" type="b" access="read"/>
  <property name="Finished" type="b" access="read"/>
  <property name="Unchanged" type="b" access="read"/>
  <!-- The exit status of the last command, 128+signal where a signal ended it, -1 where none ended yet. -->
  <property name="ExitStatus" type="i" access="read"/>
  <property name="Error" type="s" access="read"/>
  <property name="ErrorMessage" type="s" access="read"/>
  <property name="Warnings" type="as" access="read"/>
  <!-- As the signal Progress tells it, for who comes late. -->
  <property name="Progress" type="(sds)" access="read">
   <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="false"/>
  </property>
  <signal name="CommandFinished">
   <arg name="command" type="u"/>
   <arg name="exit_status" type="i"/>
  </signal>
  <!-- Progress tells how far it is, at most ten times a second. phase: refresh, download, install or remove while the package
       manager works, packages and commit for what txupd itself does. fraction: of the phase, from 0 to 1, negative where it
       is not known. text: what is being done now, for people. -->
  <signal name="Progress">
   <arg name="phase" type="s"/>
   <arg name="fraction" type="d"/>
   <arg name="text" type="s"/>
  </signal>
  <signal name="Finished">
   <arg name="phase" type="s"/>
   <arg name="error" type="s"/>
   <arg name="error_message" type="s"/>
  </signal>
 </interface>`

// SnapshotXML describes a snapshot.
const SnapshotXML = standardXML + `
 <interface name="org.txupd1.Snapshot">
  <property name="Number" type="t" access="read"/>
  <property name="SubvolumeID" type="t" access="read"/>
  <property name="Phase" type="s" access="read"/>
  <property name="Verdict" type="s" access="read"/>
  <property name="Roles" type="as" access="read"/>
  <property name="Created" type="t" access="read"/>
  <property name="Kernel" type="s" access="read"/>
  <property name="Message" type="s" access="read"/>
  <property name="Tags" type="as" access="read"/>
  <property name="Pinned" type="b" access="read"/>
 </interface>`

// BranchXML describes the paths between the objects.
const BranchXML = `
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect"><arg name="xml" type="s" direction="out"/></method>
 </interface>`

// Node wraps interfaces into a whole introspection document; children are the names below.
func Node(interfaces string, children ...string) string {
	xml := `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>` + interfaces
	for _, c := range children {
		xml += "\n <node name=\"" + c + "\"/>"
	}
	return xml + "\n</node>\n"
}
