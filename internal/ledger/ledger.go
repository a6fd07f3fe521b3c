// Package ledger keeps an append-only log of opaque entries: durable before it is answered, ordered, tamper-evident.
//
// An entry has a small leaf, which the Merkle tree (RFC 6962) commits to, a payload, which the leaf commits to, and
// optionally a private part, which may be withheld. The ledger does not know what any of them means.
//
// Segments (directory segments/) hold the entries and are the write-ahead log: an entry is committed once the group it
// is in has been written and synced. Tiles and the checkpoint (C2SP tlog-tiles, tlog-checkpoint) are a projection of the
// segments, written behind the answers; delete them, and the next [Open] builds them again. Entry bundles are made from
// the segments when somebody asks for them.
// docs/formats-ledger.md describes every byte.
package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// Entry is one entry of a log.
type Entry = segment.Entry

// Indexed is an entry with its zero-based index in the log.
type Indexed struct {
	Index uint64
	Entry
}

// Limits of an entry, in bytes.
const (
	MaxLeaf    = segment.MaxLeaf    // 4096
	MaxPayload = segment.MaxPayload // 8 MiB
	MaxPrivate = segment.MaxPrivate // 1 MiB
)

// Options configure a log. Origin, Signer and Verifier are needed to write, Origin and Verifier to read.
type Options struct {
	// Origin names the log: the first line of its checkpoints, and the name of its key. See C2SP tlog-checkpoint.
	Origin string
	// Signer signs checkpoints and commit groups. Its name must be Origin.
	Signer note.Signer
	// Verifier is the public half of Signer.
	Verifier note.Verifier

	// LastSigned is the latest checkpoint that the key is known to have signed, kept outside of the log's directory; nil
	// if none is. A log that is shorter, or another one, is refused: its directory was replaced by an older copy, which
	// its own checkpoint does not show.
	LastSigned []byte
	// OnSigned is told every checkpoint once it is signed and written, one after the other. It may be nil.
	OnSigned func(note []byte)

	// FS is the file system; nil means the operating system's.
	FS disk.FS
	// FirstSegment and MaxSegment are the sizes of the first segment after Open, and of the largest, in bytes;
	// each is twice as large as the one before. 0 means 1 MiB and 64 MiB. A full disk makes them smaller, down to 256 KiB.
	FirstSegment, MaxSegment int64
	// CheckpointEvery is how often new entries are covered by tiles and a signed checkpoint; 0 means 1 s.
	CheckpointEvery time.Duration
	// MaxLag is how many committed entries may lack tiles before Enqueue refuses more; 0 means 500,000.
	MaxLag uint64
	// MaxQueue is how many bytes may wait for the disk before Enqueue refuses more; 0 means 64 MiB.
	MaxQueue int64
	// RetryEvery is how often a log that cannot write tries again; 0 means 1 s.
	RetryEvery time.Duration
	// Logger receives what an operator should know; nil discards it. No entry's content is ever logged.
	Logger *slog.Logger
}

// Errors that callers tell apart with errors.Is. The concrete types carry details.
var (
	// ErrLocked: another process has the log open for writing.
	ErrLocked = disk.ErrLocked
	// ErrUnavailable: the log cannot write at the moment; see [UnavailableError].
	ErrUnavailable = errors.New("the log cannot write at the moment")
	// ErrShorterThanCheckpoint: the disk was rolled back; see [ShorterError].
	ErrShorterThanCheckpoint = errors.New("the log is shorter than its last signed checkpoint")
	// ErrCorrupt: the log is damaged; see [CorruptError].
	ErrCorrupt = errors.New("the log is damaged")
	// ErrTooLarge: a part of an entry is over its limit.
	ErrTooLarge = errors.New("entry too large")
	// ErrNotFound: there is no entry of that index, or no tree of that size, yet.
	ErrNotFound = errors.New("not in the log")
	// ErrErased: the entry's payload was taken out of the log; see [Log.Erase].
	ErrErased = errors.New("the payload was erased")
	// ErrDropped: entries were dropped since the generation that was given.
	ErrDropped = errors.New("entries were dropped since")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")
)

// UnavailableError says that an entry was not, or perhaps not, appended. Returned by Enqueue, it was not; returned by
// Wait, it is in doubt until the log is healthy again, and dropped from then on (see [Log.Generation]).
type UnavailableError struct {
	RetryAfter time.Duration // when another attempt makes sense
	Cause      error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%v: %v", ErrUnavailable, e.Cause)
}

// Unwrap makes errors.Is(err, ErrUnavailable) true, and the cause reachable.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Cause} }

// ShorterError says that the segments hold fewer entries than the checkpoint on the disk was signed for. Two
// histories under one key would be the end of trust, so this origin never signs again: open a new log under a new
// origin, and record why.
type ShorterError struct {
	Entries    uint64 // in the segments
	Checkpoint uint64 // size that was signed
}

func (e *ShorterError) Error() string {
	return fmt.Sprintf("%v: the segments hold %d entries, %d were signed; was an older copy of the disk restored? "+
		"Restore the missing segments, or start a new log under a new origin", ErrShorterThanCheckpoint, e.Entries, e.Checkpoint)
}

// Is makes errors.Is(err, ErrShorterThanCheckpoint) true.
func (e *ShorterError) Is(target error) bool { return target == ErrShorterThanCheckpoint }

// CorruptError says where a log is damaged.
type CorruptError struct {
	File   string // relative to the log's directory
	Offset int64  // in bytes, or -1 if the whole file is meant
	Index  uint64 // of the first entry concerned
	Reason string // in plain words
}

func (e *CorruptError) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at byte %d", e.Offset)
	}
	return fmt.Sprintf("%v: %s%s (entry %d): %s", ErrCorrupt, e.File, at, e.Index, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
