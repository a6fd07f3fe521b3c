package ledger

import "sync"

// cache keeps the blocks that single entries were last read from. The zero value is ready for use.
type cache struct {
	mu     sync.Mutex
	blocks map[cacheKey]entryBlock
	ring   [16]cacheKey // in order of arrival
	next   int
}

type cacheKey struct {
	name  string // of the segment's file
	first uint64
}

func (c *cache) get(k cacheKey) (entryBlock, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.blocks[k]
	return b, ok
}

func (c *cache) put(k cacheKey, b entryBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks == nil {
		c.blocks = map[cacheKey]entryBlock{}
	}
	if _, ok := c.blocks[k]; ok {
		return
	}
	delete(c.blocks, c.ring[c.next])
	c.ring[c.next] = k
	c.blocks[k] = b
	c.next = (c.next + 1) % len(c.ring)
}

// drop forgets the blocks of a segment's file.
func (c *cache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.blocks {
		if k.name == name {
			delete(c.blocks, k)
		}
	}
}
