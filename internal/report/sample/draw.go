package sample

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/aver-authz/aver"
)

// Spec is how a sample is to be drawn.
type Spec struct {
	Nonce     string
	Method    aver.SampleMethod
	Strata    string // of a stratified sample: one of [Strata]
	Size      int
	Discarded []aver.DiscardedSample // drawn before, and set aside, in that order
}

// Stratum is what was drawn of the rows that have a value in common.
type Stratum struct {
	Value string `json:"value"`
	Count int    `json:"count"` // rows
	Drawn int    `json:"drawn"`
}

// Seed is SHA-256 over the population's digest, the root of its tree and the auditor's nonce: 32 bytes, 32 bytes, and
// the nonce in UTF-8, one after the other. So it is settled by the population and by what nobody knew when that was
// fixed. The digest is in base64url, the root in standard base64.
func Seed(digest, root, nonce string) ([sha256.Size]byte, error) {
	d, err := base64.RawURLEncoding.Strict().DecodeString(digest)
	if err != nil || len(d) != sha256.Size {
		return [sha256.Size]byte{}, fmt.Errorf("%q is not the digest of a population", digest)
	}
	r, err := base64.StdEncoding.Strict().DecodeString(root)
	if err != nil || len(r) != sha256.Size {
		return [sha256.Size]byte{}, fmt.Errorf("%q is not the root of a tree", root)
	}
	return sha256.Sum256(slices.Concat(d, r, []byte(nonce))), nil
}

// Rank is HMAC-SHA256 of a row's index, in decimal digits, under the seed. Lower ranks are drawn first.
func Rank(seed [sha256.Size]byte, index uint64) (rank [sha256.Size]byte) {
	mac := hmac.New(sha256.New, seed[:])
	mac.Write(strconv.AppendUint(nil, index, 10))
	mac.Sum(rank[:0])
	return rank
}

// Drawn is a sample.
type Drawn struct {
	aver.SampleDrawn
	Seed   string    `json:"seed"`  // in hexadecimal
	Ranks  []string  `json:"ranks"` // of the rows, in their order, in hexadecimal
	Strata []Stratum `json:"drawn_strata,omitempty"`
}

// Draw draws a sample. Rows are those of the population, ascending; value gives the stratum of a row. A population with
// fewer rows than are wanted gives all of them.
func Draw(p *aver.Population, rows []uint64, value func(index uint64) (string, error), spec Spec) (*Drawn, error) {
	text, err := p.Canonical()
	if err != nil {
		return nil, err
	}
	out := &Drawn{SampleDrawn: aver.SampleDrawn{
		Population: p.ID, Digest: aver.Digest(text), Nonce: spec.Nonce, Method: spec.Method, Strata: spec.Strata, Size: spec.Size,
		Discarded: spec.Discarded,
	}}
	if err := out.Validate(); err != nil {
		return nil, &WishError{err}
	}
	seed, err := Seed(out.Digest, p.Tree.Root, spec.Nonce)
	if err != nil {
		return nil, err
	}
	d := drawer{seed: seed, rows: rows, gone: map[uint64]bool{}}
	draw := d.simple
	switch spec.Method {
	case aver.SampleInterval:
		draw = d.interval
	case aver.SampleStratified:
		if err := d.stratify(value, spec.Size); err != nil {
			return nil, err
		}
		draw = d.stratified
	}
	drawn := draw(spec.Size)
	for _, x := range spec.Discarded {
		if !slices.Contains(drawn, x.Index) {
			return nil, &WishError{fmt.Errorf("row %d was not drawn, so it can't be set aside", x.Index)}
		}
		d.gone[x.Index] = true
		drawn = draw(spec.Size)
	}
	out.Rows, out.Strata, out.Seed = drawn, d.counts(drawn), hex.EncodeToString(seed[:])
	for _, i := range drawn {
		rank := Rank(seed, i)
		out.Ranks = append(out.Ranks, hex.EncodeToString(rank[:]))
	}
	return out, nil
}

type drawer struct {
	seed   [sha256.Size]byte
	rows   []uint64
	gone   map[uint64]bool
	ranked []uint64            // all rows by their rank; nil: not yet
	strata map[string][]uint64 // by value, each by rank
	values []string            // sorted
	share  map[string]int
}

// byRank sorts rows by their rank.
func (d *drawer) byRank(rows []uint64) []uint64 {
	type ranked struct {
		rank  [sha256.Size]byte
		index uint64
	}
	list := make([]ranked, len(rows))
	for i, r := range rows {
		list[i] = ranked{Rank(d.seed, r), r}
	}
	slices.SortFunc(list, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	out := make([]uint64, len(rows))
	for i, r := range list {
		out[i] = r.index
	}
	return out
}

// best returns the first n of ranked rows that were not set aside.
func (d *drawer) best(ranked []uint64, n int) []uint64 {
	out := []uint64{}
	for _, r := range ranked {
		if len(out) == n {
			break
		}
		if !d.gone[r] {
			out = append(out, r)
		}
	}
	return out
}

func (d *drawer) simple(size int) []uint64 {
	if d.ranked == nil {
		d.ranked = d.byRank(d.rows)
	}
	return d.best(d.ranked, size)
}

// interval draws the rows at (start + i*count) / size, rounded down, for i from 0 to size-1. The start, below count, is
// the first eight bytes of HMAC-SHA256("interval") under the seed, as a big-endian number, modulo count. So every row
// has the same chance. For one that was set aside stands the next row that was neither drawn nor set aside, the first
// following the last.
func (d *drawer) interval(size int) []uint64 {
	count := uint64(len(d.rows))
	if count == 0 {
		return []uint64{}
	}
	size = min(size, len(d.rows))
	mac := hmac.New(sha256.New, d.seed[:])
	mac.Write([]byte("interval"))
	start := binary.BigEndian.Uint64(mac.Sum(nil)) % count
	taken := map[uint64]bool{}
	positions := make([]uint64, size)
	for i := range positions {
		positions[i] = (start + uint64(i)*count) / uint64(size)
		taken[positions[i]] = true
	}
	out := []uint64{}
next:
	for _, at := range positions {
		free := at
		for step := uint64(1); d.gone[d.rows[free]] || free != at && taken[free]; step++ {
			if step == count {
				continue next // nothing is left
			}
			free = (at + step) % count
		}
		taken[free] = true
		out = append(out, d.rows[free])
	}
	return out
}

// stratify sorts the rows into strata and settles how many of each are drawn: one of each, and the rest in proportion to
// the other rows of each, by the largest remainder, where remainders are the same in the order of the values.
func (d *drawer) stratify(value func(uint64) (string, error), size int) error {
	byValue := map[string][]uint64{}
	for _, r := range d.rows {
		v, err := value(r)
		if err != nil {
			return err
		}
		byValue[v] = append(byValue[v], r)
	}
	d.values = slices.Sorted(maps.Keys(byValue))
	total, k := len(d.rows), len(d.values)
	size = min(size, total)
	if size < k {
		return &WishError{fmt.Errorf("there are %d strata, so that a sample of %d can't have a row of each: ask for %d or more", k, size, k)}
	}
	d.strata, d.share = map[string][]uint64{}, map[string]int{}
	left := size - k
	remainders := map[string]uint64{}
	for _, v := range d.values {
		d.strata[v] = d.byRank(byValue[v])
		d.share[v] = 1
		if rest := uint64(total - k); rest > 0 {
			high, low := bits.Mul64(uint64(size-k), uint64(len(byValue[v])-1))
			quotient, remainder := bits.Div64(high, low, rest)
			d.share[v] += int(quotient)
			left -= int(quotient)
			remainders[v] = remainder
		}
	}
	order := slices.Clone(d.values)
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(remainders[b], remainders[a]), strings.Compare(a, b))
	})
	for _, v := range order[:left] {
		d.share[v]++
	}
	return nil
}

func (d *drawer) stratified(int) []uint64 {
	out := []uint64{}
	for _, v := range d.values {
		out = append(out, d.best(d.strata[v], d.share[v])...)
	}
	return out
}

func (d *drawer) counts(drawn []uint64) (out []Stratum) {
	is := map[uint64]bool{}
	for _, r := range drawn {
		is[r] = true
	}
	for _, v := range d.values {
		s := Stratum{Value: v, Count: len(d.strata[v])}
		for _, r := range d.strata[v] {
			if is[r] {
				s.Drawn++
			}
		}
		out = append(out, s)
	}
	return out
}

// errOtherSample says that a sample is not the one that follows from its nonce.
var errOtherSample = errors.New("the rows are not those that the population, the nonce and the method lead to")

// Check draws a sample again and compares.
func (s *Drawn) Check(p *aver.Population, rows []uint64, value func(index uint64) (string, error)) error {
	again, err := Draw(p, rows, value, Spec{Nonce: s.Nonce, Method: s.Method, Strata: s.SampleDrawn.Strata, Size: s.Size, Discarded: s.Discarded})
	if err != nil {
		return err
	}
	if s.Population != again.Population || s.Digest != again.Digest || !slices.Equal(s.Rows, again.Rows) || s.Seed != again.Seed ||
		!slices.Equal(s.Ranks, again.Ranks) || !slices.Equal(s.Strata, again.Strata) {
		return errOtherSample
	}
	return nil
}
