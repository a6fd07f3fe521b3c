package aver

// ReadRequest reads a request from its JSON text: what [ParseJSON] and then
// [ParseRequest] make of it, errors included.
func ReadRequest(text []byte, limits Limits) (*Request, error) {
	if r, ok := readPlain(text, limits); ok {
		if err := r.takeToken(); err != nil {
			return nil, err
		}
		if err := r.checkContext(); err != nil {
			return nil, err
		}
		return r, nil
	}
	v, err := ParseJSON(text, limits)
	if err != nil {
		return nil, err
	}
	return ParseRequest(v)
}

// readPlain reads a request as nearly all are, with AuthZEN's own members alone and
// each as it should be, right into its place. Of any other, and of every mistake, it
// says only that it is not one, and the caller goes the long way: over maps that are
// made to be taken apart again, which cost more than all the rest of the reading.
func readPlain(text []byte, limits Limits) (*Request, bool) {
	p := jsonParsers.Get().(*jsonParser)
	defer p.free()
	var r Request
	if p.begin(text, limits) != nil || !p.plainRequest(&r) || p.end() != nil || p.withheld {
		return nil, false
	}
	return &r, true
}

func (p *jsonParser) plainRequest(r *Request) bool {
	return p.plain(1, func(name string) bool {
		switch name {
		case "subject":
			return p.plainParty(&r.Subject)
		case "action":
			return p.plain(2, func(name string) bool {
				switch name {
				case "name":
					return p.plainName(&r.Action.Name)
				case "properties":
					return p.plainObject(3, &r.Action.Properties)
				}
				return false
			})
		case "resource":
			return p.plainParty(&r.Resource)
		case "context":
			return p.plainObject(2, &r.Context)
		}
		return false
	})
}

func (p *jsonParser) plainParty(to *Party) bool {
	return p.plain(2, func(name string) bool {
		switch name {
		case "type":
			return p.plainName(&to.Type)
		case "id":
			return p.plainName(&to.ID)
		case "properties":
			return p.plainObject(3, &to.Properties)
		}
		return false
	})
}

// plain reads an object, each of whose members the function reads.
func (p *jsonParser) plain(depth int, member func(name string) bool) bool {
	if !p.at('{') {
		return false
	}
	o, err := p.open(depth)
	for err == nil {
		name, more, bad := p.next(&o)
		if err = bad; !more {
			break
		}
		if !member(name) {
			return false
		}
	}
	return err == nil
}

func (p *jsonParser) plainName(to *string) bool {
	if !p.at('"') {
		return false
	}
	var err error
	*to, err = p.string()
	return err == nil && *to != "" && len(*to) <= maxNameSize
}

func (p *jsonParser) plainObject(depth int, to *map[string]any) bool {
	if !p.at('{') {
		return false
	}
	v, err := p.object(depth)
	if err != nil {
		return false
	}
	*to = v.(map[string]any)
	return true
}

// at tells whether the next byte is that one.
func (p *jsonParser) at(c byte) bool { return p.pos < len(p.text) && p.text[p.pos] == c }
