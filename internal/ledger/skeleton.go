package ledger

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var errBuilding = errors.New("ledger: under construction, replaced within the hour")

// Log is a log open for writing. Safe for concurrent use.
type Log struct{ reader }

// Reader reads a log, also while another process writes it. Safe for concurrent use.
type Reader struct{ reader }

type reader struct{}

// Open opens the log in dir for writing, creating it if there is none. One process at a time: ErrLocked.
func Open(dir string, o Options) (*Log, error) { return nil, errBuilding }

// OpenReader opens the log in dir for reading; it never writes.
func OpenReader(dir string, o Options) (*Reader, error) { return nil, errBuilding }

// Ticket stands for an entry whose place is fixed and that is not yet durable.
type Ticket struct{}

// Group is a commit group: entries that became durable with one sync.
type Group struct{}

// Receipt says where an entry is, once it is durable.
type Receipt struct {
	Index    uint64
	LeafHash tlog.Hash
	Group    *Group
}

// CommitReceipt is the portable, signed form of a Receipt: a signed note for the commit group and the audit path in it.
type CommitReceipt struct {
	Index    uint64      `json:"index"`
	LeafHash tlog.Hash   `json:"leaf_hash"`
	Path     []tlog.Hash `json:"path"`
	Note     string      `json:"note"` // "<origin>/commit\n<first> <count>\n<base64 root>\n", signed
}

// Committed returns the signed receipt; the group's signature is made once, by the first who asks.
func (r Receipt) Committed() (CommitReceipt, error) { return CommitReceipt{}, errBuilding }

// VerifyReceipt checks a commit receipt against the log's key.
func VerifyReceipt(c CommitReceipt, v note.Verifier) error { return errBuilding }

// Enqueue fixes the entry's place in the log and returns without waiting for the disk.
func (l *Log) Enqueue(e Entry) (*Ticket, error) { return nil, errBuilding }

// Index is the index the entry has if it is committed.
func (t *Ticket) Index() uint64 { return 0 }

// Wait returns once the entry is durable.
func (t *Ticket) Wait(ctx context.Context) (Receipt, error) { return Receipt{}, errBuilding }

// Append is Enqueue and Wait.
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) { return Receipt{}, errBuilding }

// Health is nil while the log can write, else an *UnavailableError.
func (l *Log) Health() error { return errBuilding }

// Generation increases whenever enqueued entries were dropped.
func (l *Log) Generation() uint64 { return 0 }

// Checkpoint returns the last signed checkpoint (a C2SP signed note).
func (l *Log) Checkpoint() []byte { return nil }

// CheckpointNow returns a signed checkpoint that covers every entry committed before the call.
func (l *Log) CheckpointNow(ctx context.Context) ([]byte, error) { return nil, errBuilding }

// Close commits what waits, publishes a last checkpoint and closes.
func (l *Log) Close() error { return errBuilding }

// Close releases what the reader holds.
func (r *Reader) Close() error { return nil }

// Refresh takes in what was appended since.
func (r *Reader) Refresh() error { return errBuilding }

// Checkpoint returns the last signed checkpoint as of Open or Refresh.
func (r *Reader) Checkpoint() []byte { return nil }

// Head is the number of committed entries and the root of their tree.
func (r *reader) Head() (size uint64, root tlog.Hash) { return 0, tlog.Hash{} }

// Entry returns the entry with that index.
func (r *reader) Entry(i uint64) (Entry, error) { return Entry{}, errBuilding }

// Leaf returns the leaf of the entry with that index.
func (r *reader) Leaf(i uint64) ([]byte, error) { return nil, errBuilding }

// Entries yields the entries [from, to) in order; the slices stay valid. After an error it ends.
func (r *reader) Entries(from, to uint64) iter.Seq2[Indexed, error] {
	return func(func(Indexed, error) bool) {}
}

// InclusionProof proves entry i in the tree of that size.
func (r *reader) InclusionProof(i, size uint64) (tlog.RecordProof, error) { return nil, errBuilding }

// ConsistencyProof proves that the tree of size older is a prefix of the tree of size newer.
func (r *reader) ConsistencyProof(older, newer uint64) (tlog.TreeProof, error) {
	return nil, errBuilding
}

// TreeHash is the root of the tree of that size.
func (r *reader) TreeHash(size uint64) (tlog.Hash, error) { return tlog.Hash{}, errBuilding }

// Handler serves checkpoint, tiles and entry bundles as C2SP tlog-tiles; mount it with http.StripPrefix.
func (r *reader) Handler() http.Handler { return http.NotFoundHandler() }

// VerifyOptions configure Verify.
type VerifyOptions struct {
	Origin     string
	Verifier   note.Verifier
	CheckEntry func(Entry) error        // checks that the leaf commits to the payload; nil checks nothing
	Progress   func(done, total uint64) // bytes, about once a second and at the end; may be nil
}

// Report is what Verify found.
type Report struct {
	Origin     string    `json:"origin"`
	Size       uint64    `json:"size"`
	Root       string    `json:"root"`
	Checkpoint uint64    `json:"checkpoint"`
	Findings   []Finding `json:"findings"`
	Notes      []Finding `json:"notes"`
}

// OK reports whether nothing wrong was found.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// Finding is one thing that is wrong (or, in Notes, merely worth knowing).
type Finding struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"` // -1 if the whole file is meant
	Index  uint64 `json:"index"`
	What   string `json:"what"`
}

// Verify checks everything on the disk, also of a log that is being written.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	return Report{}, errBuilding
}

// Key is the key pair of a log.
type Key struct {
	Signer   note.Signer
	Verifier note.Verifier
	VKey     string // the verifier key, to be handed out
}

// NewKey makes a key pair for an origin; skey is secret.
func NewKey(origin string, rand io.Reader) (k Key, skey string, err error) {
	return Key{}, "", errBuilding
}

// LoadOrCreateKey reads the key file, or creates it with mode 0600.
func LoadOrCreateKey(file, origin string) (Key, error) { return Key{}, errBuilding }

// ParseVerifier reads a verifier key.
func ParseVerifier(vkey string) (note.Verifier, error) { return nil, errBuilding }
