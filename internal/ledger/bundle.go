package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Entry bundles lie on the disk as gzip (RFC 1952), since nothing in a log is as large for what it says: whoever serves
// the directory as it is adds "Content-Encoding: gzip". An extra field holds the SHA-256 of all that follows it, so that
// every byte of the file is accounted for, those too that decompression would not miss.

// bundleHeader is a gzip header without a time or a name, up to the extra field's hash.
var bundleHeader = []byte{
	0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, // deflate, an extra field follows, no time, unknown system
	4 + sha256.Size, 0, 'A', 'v', sha256.Size, 0,
}

const bundleTrailer = 8 // CRC-32 and length

// packBundle compresses an entry bundle.
func packBundle(plain []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(plain)/2 + 128)
	out.Write(bundleHeader)
	out.Write(make([]byte, sha256.Size))
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("ledger: compressing into memory: " + err.Error())
	}
	b := binary.LittleEndian.AppendUint32(out.Bytes(), crc32.ChecksumIEEE(plain))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(plain)))
	body := len(bundleHeader) + sha256.Size
	sum := sha256.Sum256(b[body:])
	copy(b[len(bundleHeader):], sum[:])
	return b
}

var errBundle = errors.New("it is not an entry bundle as it was written")

// unpackBundle is the inverse of packBundle. Any byte that differs from what was written is an error.
func unpackBundle(packed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(packed, bundleHeader)
	if !ok || len(rest) < sha256.Size+bundleTrailer {
		return nil, errBundle
	}
	sum, body := rest[:sha256.Size], rest[sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, errBundle
	}
	size := binary.LittleEndian.Uint32(body[len(body)-4:])
	if size > maxBundle {
		return nil, errBundle
	}
	r := flate.NewReader(bytes.NewReader(body[:len(body)-bundleTrailer]))
	defer r.Close()
	plain := make([]byte, size)
	if _, err := io.ReadFull(r, plain); err != nil {
		return nil, errBundle
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, errBundle
	}
	if crc32.ChecksumIEEE(plain) != binary.LittleEndian.Uint32(body[len(body)-bundleTrailer:]) {
		return nil, errBundle
	}
	return plain, nil
}
