package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
)

// oscalVersion is the version of the Open Security Controls Assessment Language that results are written in.
const oscalVersion = "1.1.2"

// namespace is that of the names of properties that are ours.
const namespace = "https://aver-authz.example/ns/oscal"

// counted is what an assessment says of the entries of a range.
type counted struct {
	first, last aver.Time
	outcomes    map[aver.Outcome]uint64
	activities  uint64
	erased      uint64
	findings    map[aver.FindingCode]uint64
	policies    map[string]uint64 // by bundle: decisions that one of its policies determined
}

func (s *Source) count(ctx context.Context, from, end uint64) (*counted, error) {
	c := &counted{outcomes: map[aver.Outcome]uint64{}, findings: map[aver.FindingCode]uint64{}, policies: map[string]uint64{}}
	for e, err := range s.Decisions.Entries(from, end) {
		if err == nil {
			err = ctx.Err()
		}
		var p *parsed
		if err == nil {
			p, err = s.parse(e)
		}
		if err != nil {
			return nil, err
		}
		if c.first == 0 {
			c.first = p.leaf.Time
		}
		c.last = max(c.last, p.leaf.Time)
		switch {
		case p.leaf.Kind == aver.KindActivity:
			c.activities++
			if p.activity != nil {
				for _, f := range p.activity.Findings {
					c.findings[f.Code]++
				}
			}
		case p.leaf.Outcome != nil:
			c.outcomes[*p.leaf.Outcome]++
		}
		if p.record == nil {
			if p.activity == nil {
				c.erased++
			}
			continue
		}
		var bundles []string
		for _, policy := range cite(&p.record.Decision).policies {
			bundle, _, _ := strings.Cut(policy, "/")
			add(&bundles, bundle)
		}
		for _, b := range bundles {
			c.policies[b]++
		}
	}
	return c, nil
}

// writeOSCAL writes assessment results over the entries [from, end) of the decision log: an observation for what was
// counted and for each active bundle with the controls that it implements, and a finding for each control gap. It claims
// no control to be satisfied: that is the assessor's to say.
func (s *Source) writeOSCAL(ctx context.Context, w io.Writer, from, end uint64) error {
	c, err := s.count(ctx, from, end)
	if err != nil {
		return err
	}
	root, err := s.Decisions.TreeHash(end)
	if err != nil {
		return err
	}
	seed := fmt.Sprintf("%s %d %d %s", s.Decisions.Origin(), from, end, root)
	// Ids follow from the evidence, so that the same export is the same file.
	id := func(what string) string { return uuid.NewSHA1(uuid.NameSpaceURL, []byte(seed+" "+what)).String() }

	party, resource := id("party"), id("log")
	observations, controls, err := s.observations(c, id, resource)
	if err != nil {
		return err
	}
	start, stop := c.first, c.last
	if start == 0 { // there is nothing in the range
		start, stop = s.Now, s.Now
	}
	result := object{
		"uuid": id("result"), "title": fmt.Sprintf("Entries %d to %d of %s", from, end, s.Decisions.Origin()),
		"description": "What the decision log of Aver holds, counted from its records. Each count can be made again from the log alone.",
		"start":       start.String(), "end": stop.String(),
		"props":             []object{prop("first-entry", fmt.Sprint(from)), prop("end-entry", fmt.Sprint(end)), prop("tree-root", root.String())},
		"reviewed-controls": reviewed(controls),
		"observations":      observations,
	}
	if s.Findings != nil {
		list, err := s.Findings(ctx)
		if err != nil {
			return err
		}
		s.oscalFindings(result, list, id, resource)
	}
	document := object{"assessment-results": object{
		"uuid": id("document"),
		"metadata": object{
			"title": "Aver: decisions and control gaps", "last-modified": s.Now.String(), "version": fmt.Sprint(end), "oscal-version": oscalVersion,
			"parties": []object{{"uuid": party, "type": "organization", "name": s.Decisions.Origin()}},
		},
		"import-ap": object{"href": "#" + id("plan")},
		"results":   []object{result},
		"back-matter": object{"resources": []object{
			{"uuid": resource, "title": "The decision log", "description": "C2SP tlog-tiles; origin " + s.Decisions.Origin() + ". The root of its first " + fmt.Sprint(end) + " entries is " + root.String() + "."},
			{"uuid": id("plan"), "title": "There is no assessment plan", "description": "These results are continuous monitoring: what the log holds is reported as it is."},
		}},
	}}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(document)
}

func prop(name, value string) object { return object{"name": name, "ns": namespace, "value": value} }

// token is text as a token of OSCAL: letters, digits, full stops, hyphens and underscores, beginning with a letter.
func token(s string) string {
	t := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, s)
	if t == "" || !(t[0] >= 'a' && t[0] <= 'z' || t[0] >= 'A' && t[0] <= 'Z') {
		t = "c-" + t
	}
	return t
}

func reviewed(controls []string) object {
	if len(controls) == 0 {
		return object{"control-selections": []object{{"description": "No active policy bundle names a control.", "include-all": object{}}}}
	}
	var ids []object
	for _, c := range controls {
		ids = append(ids, object{"control-id": c})
	}
	return object{"control-selections": []object{{"description": "The controls that active policy bundles say they implement.", "include-controls": ids}}}
}

// observations are what was counted, and what each active bundle decided, with the controls that it names.
func (s *Source) observations(c *counted, id func(string) string, resource string) (list []object, controls []string, err error) {
	observe := func(what, title, description string, props ...object) {
		list = append(list, object{
			"uuid": id("observation " + what), "title": title, "description": description, "methods": []string{"EXAMINE"}, "types": []string{"control-objective"},
			"relevant-evidence": []object{{"href": "#" + resource, "description": "The records of the decision log"}},
			"collected":         s.Now.String(),
		}.set("props", props))
	}
	var counts []object
	total := uint64(0)
	for _, o := range aver.Outcomes() {
		total += c.outcomes[o]
		counts = append(counts, prop("outcome-"+o.String(), fmt.Sprint(c.outcomes[o])))
	}
	observe("decisions", "Decisions", fmt.Sprintf("%d decisions were recorded before they were answered.", total), append(counts, prop("payloads-erased", fmt.Sprint(c.erased)))...)
	var codes []object
	for _, code := range slices.Sorted(maps.Keys(c.findings)) {
		codes = append(codes, prop("finding-"+string(code), fmt.Sprint(c.findings[code])))
	}
	observe("activities", "Activities", fmt.Sprintf("%d activities were reported by enforcement points.", c.activities), codes...)

	st, err := s.State()
	if err != nil {
		return nil, nil, err
	}
	for _, v := range st.ActiveBundles() {
		meta := v.Bundle.Meta()
		props := []object{prop("bundle-digest", v.Bundle.Digest()), prop("decisions", fmt.Sprint(c.policies[v.Bundle.Name()]))}
		for _, control := range meta.Controls {
			props = append(props, prop("control", control))
			add(&controls, token(control))
		}
		if meta.Owner != "" {
			props = append(props, prop("owner", meta.Owner))
		}
		observe("bundle "+v.Bundle.Name(), "Policy bundle "+v.Bundle.Name(),
			fmt.Sprintf("Its policies determined, or wanted something of, %d decisions.", c.policies[v.Bundle.Name()]), props...)
	}
	slices.Sort(controls)
	return list, controls, nil
}

// oscalFindings adds the control gaps to a result.
func (s *Source) oscalFindings(result object, list []aver.GapFinding, id func(string) string, resource string) {
	observations := result["observations"].([]object)
	var findings []object
	for _, f := range list {
		observation := id("observation gap " + f.ID)
		observations = append(observations, object{
			"uuid": observation, "title": f.Rule, "description": f.Text, "methods": []string{"EXAMINE"}, "types": []string{"finding"},
			"relevant-evidence": []object{{"href": "#" + resource, "description": "The records that the finding names"}},
			"collected":         s.Now.String(),
			"props":             []object{prop("severity", string(f.Severity)), prop("first-seen", f.FirstSeen.String()), prop("last-seen", f.LastSeen.String()), prop("count", fmt.Sprint(f.Count))},
		})
		status := object{"state": "not-satisfied"}
		switch f.State {
		case aver.GapAccepted:
			status["reason"], status["remarks"] = "other", "The risk is accepted until "+f.Answer.Until.String()+"."
		case aver.GapClosed:
			status = object{"state": "satisfied", "reason": "other", "remarks": f.Answer.By + " says that it is mended."}
		}
		findings = append(findings, object{
			"uuid": id("finding " + f.ID), "title": f.Gap + " " + f.Rule, "description": f.Text,
			"target":               object{"type": "objective-id", "target-id": token(f.Gap + "-" + f.Rule), "status": status},
			"related-observations": []object{{"observation-uuid": observation}},
		})
	}
	result["observations"] = observations
	result.set("findings", findings)
}
