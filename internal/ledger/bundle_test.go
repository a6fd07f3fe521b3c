package ledger

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"
)

// An entry bundle on the disk is gzip to everybody, and to us no byte of it may
// differ.
func TestEveryByteOfABundleCounts(t *testing.T) {
	var plain []byte
	for i := range 40 {
		plain = appendBundle(plain, fmt.Appendf(nil, `{"id":"%d","kind":"decision"}`, i))
	}
	packed := packBundle(plain)
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("gzip reads %q, %v", got, err)
	}
	if got, err := unpackBundle(packed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("unpacked %q, %v", got, err)
	}
	for i := range packed {
		for bit := range 8 {
			damaged := bytes.Clone(packed)
			damaged[i] ^= 1 << bit
			if _, err := unpackBundle(damaged); err == nil {
				t.Errorf("bit %d of byte %d was flipped unnoticed", bit, i)
			}
		}
		if _, err := unpackBundle(packed[:i]); err == nil {
			t.Errorf("cut to %d bytes unnoticed", i)
		}
	}
	if _, err := unpackBundle(append(packed, 0)); err == nil {
		t.Error("a byte more went unnoticed")
	}
}
