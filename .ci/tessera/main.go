// Command tessera checks a served log with Tessera's client and fsck library,
// which share no code with the writer of its tiles: every tile and bundle, an
// inclusion proof of every 97th entry, and consistency from each of several
// sizes to the checkpoint's.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	address := flag.String("log", "", "address of the log, with a slash at its end")
	vkey := flag.String("vkey", "", "verifier key of the log")
	tokenFile := flag.String("token-file", "", "file with a bearer token")
	flag.Parse()
	if err := run(*address, *vkey, *tokenFile); err != nil {
		fmt.Fprintln(os.Stderr, "tessera:", err)
		os.Exit(1)
	}
}

func run(address, vkey, tokenFile string) error {
	// fsck can hang on a corrupt tile with one worker.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	root, err := url.Parse(address)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, http.DefaultClient)
	if err != nil {
		return err
	}
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return err
		}
		fetcher.SetAuthorizationHeader("Bearer " + strings.TrimSpace(string(token)))
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	origin := verifier.Name()
	if err := fsck.New(origin, verifier, fetcher, leafHashes, fsck.Opts{N: 4}).Check(ctx); err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, origin)
	if err != nil {
		return err
	}
	builder, err := client.NewProofBuilder(ctx, checkpoint.Size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	leaves, err := client.FetchLeafHashes(ctx, fetcher.ReadTile, 0, checkpoint.Size, checkpoint.Size)
	if err != nil {
		return err
	}
	included := 0
	for i := uint64(0); i < checkpoint.Size; i += 97 {
		p, err := builder.InclusionProof(ctx, i)
		if err != nil {
			return err
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, checkpoint.Size, leaves[i], p, checkpoint.Hash); err != nil {
			return fmt.Errorf("inclusion of %d: %w", i, err)
		}
		included++
	}
	consistent := 0
	for _, older := range []uint64{1, 2, 3, checkpoint.Size / 3, checkpoint.Size / 2, checkpoint.Size - 1} {
		if older == 0 || older >= checkpoint.Size {
			continue
		}
		p, err := builder.ConsistencyProof(ctx, older, checkpoint.Size)
		if err != nil {
			return err
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, older, checkpoint.Size, p, rootOf(leaves[:older]), checkpoint.Hash); err != nil {
			return fmt.Errorf("consistency from %d: %w", older, err)
		}
		consistent++
	}
	fmt.Printf("%s: %d entries: Tessera's fsck found nothing; %d inclusion and %d consistency proofs hold\n",
		origin, checkpoint.Size, included, consistent)
	return nil
}

func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(b.Entries))
	for i, e := range b.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(e)
	}
	return hashes, nil
}

// rootOf is the root of the tree over some leaf hashes.
func rootOf(hashes [][]byte) []byte {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := 1
	for half*2 < len(hashes) {
		half *= 2
	}
	return rfc6962.DefaultHasher.HashChildren(rootOf(hashes[:half]), rootOf(hashes[half:]))
}
