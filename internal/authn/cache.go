package authn

import (
	"crypto/sha256"
	"sync"
)

// cache remembers tokens that were verified, by their SHA-256, since agents and PEPs show the same one again and again and
// checking a signature costs more than deciding. A token counts from it only while the keys it was verified with are those
// of now, and it has not expired: so nothing holds longer for having been seen before.
type cache struct {
	mu   sync.Mutex
	seen map[cacheKey]*verified
}

type cacheKey struct {
	token [sha256.Size]byte
	use   use
}

// maxSeen bounds the cache; when it is full it begins anew.
const maxSeen = 4096

func (c *cache) get(key cacheKey) (*verified, bool) {
	c.mu.Lock()
	v, ok := c.seen[key]
	c.mu.Unlock()
	return v, ok && v.still()
}

func (c *cache) put(key cacheKey, v *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil || len(c.seen) >= maxSeen {
		c.seen = map[cacheKey]*verified{}
	}
	c.seen[key] = v
}
