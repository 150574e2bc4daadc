// Package journal keeps the annotated changelog of a system in one bbolt file
// (DESIGN §8). An append-only, hash-chained log of events is the truth; the
// record of each transaction is a projection of it, written in the same bbolt
// transaction. Beside them stand the path lists, the steps of unfinished
// transactions and two indexes.
//
// The file may be newer than the program that reads it, because a rollback
// replaces the program and not the journal: fields that this version does not
// know survive every change that it makes (patch.go), buckets that it does not
// know are left alone, and only a higher major schema is refused (ErrNewer).
package journal
