package pack

import (
	"archive/zip"
	"io"
	"maps"
	"slices"
)

// writeZIP writes files in the order of their names, without times: the same
// files are the same bytes.
func writeZIP(w io.Writer, files map[string][]byte, deflate bool) error {
	z := zip.NewWriter(w)
	method := zip.Store
	if deflate {
		method = zip.Deflate
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			return err
		}
		if _, err := f.Write(files[name]); err != nil {
			return err
		}
	}
	return z.Close()
}

const readme = `This is an evidence pack of Aver: decisions about who may do what, as they were recorded in a tamper-evident log, and all
that they rest on.

Check it, without a network:
  aver verify PACK --key VKEY

VKEY is the verifier key of the decision log. Have it from somebody you believe, by another way than this pack came.

  manifest.json             what is here, with SHA-256 digests, signed (DSSE, in-toto Statement)
  decisions/, authority/    entries of the two logs: leaf.json is what the Merkle tree commits to, payload.json what the leaf
                            commits to (sha256sum payload.json is its "payload"), proof is a C2SP tlog-proof;
                            checkpoint is the log's signed tree head
  reports/why/              each decision in words
  frames.ndjson             what the policy engine was asked, in Cedar's JSON formats

docs/packs.md in Aver's source describes the format well enough to check a pack with a program that is not Aver's.
`
