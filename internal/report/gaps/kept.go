package gaps

import "container/list"

// kept is a map that holds a bounded number of values: beyond it, the one that
// was not asked for the longest is let go.
type kept[K comparable, V any] struct {
	max     int
	dropped uint64 // how many values were let go of
	items   map[K]*list.Element
	order   *list.List  // of keptItem, the latest first
	drop    func(K, *V) // called for what is let go; may be nil
}

type keptItem[K comparable, V any] struct {
	key   K
	value V
}

func newKept[K comparable, V any](most int) *kept[K, V] {
	return &kept[K, V]{max: most, items: map[K]*list.Element{}, order: list.New()}
}

// at returns the value of a key, a new one if there is none.
func (k *kept[K, V]) at(key K) *V {
	if e, ok := k.items[key]; ok {
		k.order.MoveToFront(e)
		return &e.Value.(*keptItem[K, V]).value
	}
	if len(k.items) >= k.max {
		oldest := k.order.Back().Value.(*keptItem[K, V])
		k.delete(oldest.key)
		k.dropped++
		if k.drop != nil {
			k.drop(oldest.key, &oldest.value)
		}
	}
	item := &keptItem[K, V]{key: key}
	k.items[key] = k.order.PushFront(item)
	return &item.value
}

// find returns the value of a key, nil if there is none.
func (k *kept[K, V]) find(key K) *V {
	e, ok := k.items[key]
	if !ok {
		return nil
	}
	return &e.Value.(*keptItem[K, V]).value
}

func (k *kept[K, V]) delete(key K) {
	if e, ok := k.items[key]; ok {
		k.order.Remove(e)
		delete(k.items, key)
	}
}

// each calls f for all values, the one that was asked for the longest ago first.
func (k *kept[K, V]) each(f func(K, *V)) {
	for e := k.order.Back(); e != nil; e = e.Prev() {
		item := e.Value.(*keptItem[K, V])
		f(item.key, &item.value)
	}
}
