package authority

import (
	"hash/maphash"
	"maps"
)

// table is a map whose copies are cheap: they share shards until one of them changes. A copy of a frozen table may be
// changed while others read the original, so a change to one of 100,000 entries copies about a hundred.
//
// Which shard a key is in is arbitrary and never shows: whatever lists a table sorts it.
type table[K comparable, V any] struct {
	shards *[shardCount]map[K]V
	own    *[shardCount]bool // the shards that no other table shares; nil: frozen, everything is shared
	len    int
}

const shardCount = 1024

var seed = maphash.MakeSeed()

func shardOf[K comparable](key K) uint64 { return maphash.Comparable(seed, key) % shardCount }

func (t *table[K, V]) get(key K) (V, bool) { return t.getIn(shardOf(key), key) }

// getIn is get for those who look into several tables, of which a key is in the same shard.
func (t *table[K, V]) getIn(shard uint64, key K) (V, bool) {
	if t.shards == nil {
		var none V
		return none, false
	}
	v, ok := t.shards[shard][key]
	return v, ok
}

func (t *table[K, V]) put(key K, value V) {
	shard := t.writable(key)
	before := len(shard)
	shard[key] = value
	t.len += len(shard) - before
}

func (t *table[K, V]) delete(key K) {
	shard := t.writable(key)
	before := len(shard)
	delete(shard, key)
	t.len += len(shard) - before
}

// writable returns the shard of a key, copied first if others share it.
func (t *table[K, V]) writable(key K) map[K]V {
	if t.own == nil {
		shards := new([shardCount]map[K]V)
		if t.shards != nil {
			*shards = *t.shards
		}
		t.shards, t.own = shards, new([shardCount]bool)
	}
	i := shardOf(key)
	if !t.own[i] {
		t.own[i] = true
		if t.shards[i] == nil {
			t.shards[i] = map[K]V{}
		} else {
			t.shards[i] = maps.Clone(t.shards[i])
		}
	}
	return t.shards[i]
}

// freeze must come before the table is copied.
func (t *table[K, V]) freeze() { t.own = nil }

// values lists the values in no particular order.
func (t *table[K, V]) values() []V {
	out := make([]V, 0, t.len)
	if t.shards != nil {
		for _, shard := range t.shards {
			for _, v := range shard {
				out = append(out, v)
			}
		}
	}
	return out
}

// each calls f for all entries, in no particular order.
func (t *table[K, V]) each(f func(K, V)) {
	if t.shards == nil {
		return
	}
	for _, shard := range t.shards {
		for k, v := range shard {
			f(k, v)
		}
	}
}
