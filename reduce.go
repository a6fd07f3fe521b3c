package aver

// A Keep appends to full the canonical form of values that a caller chose, which
// are the context, or the properties of the "subject", "action" or "resource"; and
// to kept, the canonical form of what is kept of them. It tells whether that is
// anything.
type Keep func(full, kept []byte, of string, values map[string]any) (f, k []byte, any bool)

// AppendReduced appends the canonical form of the request to full, and to kept the
// same with less in it: what is empty is left out. Both are made in one pass, since
// each record needs both. The request must be valid.
func (r *Request) AppendReduced(full, kept []byte, keep Keep) (f, k []byte) {
	o := twofold{object{dst: full}, object{dst: kept}}
	a := o.begin("action")
	a.string("name", r.Action.Name)
	a.values("properties", "action", r.Action.Properties, keep)
	o.end(a)
	o.values("context", "context", r.Context, keep)
	o.party("resource", &r.Resource, keep)
	o.party("subject", &r.Subject, keep)
	return o.full.close(), o.kept.close()
}

// twofold writes the members of an object and of its reduced form.
type twofold struct{ full, kept object }

func (o *twofold) begin(name string) twofold {
	o.full.name(name)
	o.kept.name(name)
	return twofold{object{dst: o.full.dst}, object{dst: o.kept.dst}}
}

func (o *twofold) end(inner twofold) {
	o.full.dst, o.kept.dst = inner.full.close(), inner.kept.close()
}

func (o *twofold) string(name, value string) {
	o.full.string(name, value)
	o.kept.string(name, value)
}

func (o *twofold) party(name string, p *Party, keep Keep) {
	m := o.begin(name)
	m.string("id", p.ID)
	m.values("properties", name, p.Properties, keep)
	m.string("type", p.Type)
	o.end(m)
}

// values writes a member whose value is reduced, and nothing when there is none:
// none that was sent, or none that is kept.
func (o *twofold) values(name, of string, values map[string]any, keep Keep) {
	if values == nil {
		return
	}
	undo := o.kept
	o.full.name(name)
	o.kept.name(name)
	var any bool
	if o.full.dst, o.kept.dst, any = keep(o.full.dst, o.kept.dst, of, values); !any {
		o.kept = object{dst: o.kept.dst[:len(undo.dst)], open: undo.open}
	}
}
