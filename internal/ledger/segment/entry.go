// Package segment is the commit point of a ledger: the files that hold its entries, raw (being written) and sealed
// (compressed), and the groups in them that are written and synced as one. docs/formats-ledger.md describes the bytes.
package segment

// Entry is one entry of a log: three opaque byte strings.
type Entry struct {
	// Leaf is what the Merkle tree commits to, at most MaxLeaf bytes.
	Leaf []byte
	// Payload is what the leaf commits to (how is the caller's business), at most MaxPayload bytes.
	Payload []byte
	// Private is kept with the entry and covered by checksums, but nothing commits to it, so that it can be withheld
	// or erased. At most MaxPrivate bytes; nil if there is none (an empty one reads as nil).
	Private []byte
	// Erased says that the payload and the private part were taken out of the log: the leaf is all that is left. See
	// [Sealed.Rewrite].
	Erased bool
}

// Limits of an entry's parts, in bytes.
const (
	MaxLeaf    = 4096
	MaxPayload = 8 << 20
	MaxPrivate = 1 << 20
)
