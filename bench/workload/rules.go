package workload

import (
	"fmt"
	"strings"
)

// rule is one policy in all three languages. The conditions are written out in each, since the point is that they are
// written as their users would.
type rule struct {
	name, reason string
	forbid       bool
	actions      []string
	group        string   // in Cedar's scope; "": whoever
	roles        []string // the same in the peers' words
	cedar        string
	rego         []string // the lines of the body
	cerbos       string   // CEL
}

// rules are the ten policies that every kind of payment has.
var rules = []rule{
	{
		name: "clerk-creates", reason: "Clerks create payments of their department up to 10,000.",
		actions: []string{Create}, group: "clerks", roles: []string{clerk},
		cedar:  fmt.Sprintf(`principal.department == resource.department && resource.amount <= %d`, clerkLimit),
		rego:   []string{`person.department == input.resource.properties.department`, fmt.Sprintf(`input.resource.properties.amount <= %d`, clerkLimit)},
		cerbos: fmt.Sprintf(`P.attr.department == R.attr.department && R.attr.amount <= %d`, clerkLimit),
	}, {
		name: "manager-creates", reason: "Managers create payments of their department up to 1,000,000.",
		actions: []string{Create}, group: "managers", roles: []string{manager},
		cedar:  fmt.Sprintf(`principal.department == resource.department && resource.amount <= %d`, managerLimit),
		rego:   []string{`person.department == input.resource.properties.department`, fmt.Sprintf(`input.resource.properties.amount <= %d`, managerLimit)},
		cerbos: fmt.Sprintf(`P.attr.department == R.attr.department && R.attr.amount <= %d`, managerLimit),
	}, {
		name: "staff-reads", reason: "Clerks and managers read the payments of their department.",
		actions: []string{Read}, group: "staff", roles: []string{clerk, manager},
		cedar:  `principal.department == resource.department`,
		rego:   []string{`person.department == input.resource.properties.department`},
		cerbos: `P.attr.department == R.attr.department`,
	}, {
		name: "auditor-reads", reason: "Auditors read and export all payments.",
		actions: []string{Read, Export}, group: "auditors", roles: []string{auditor},
	}, {
		name: "manager-approves", reason: "Managers approve payments of their department that somebody else created.",
		actions: []string{Approve}, group: "managers", roles: []string{manager},
		cedar:  `principal.department == resource.department && resource.created_by != principal.login`,
		rego:   []string{`person.department == input.resource.properties.department`, `input.resource.properties.created_by != person.login`},
		cerbos: `P.attr.department == R.attr.department && R.attr.created_by != P.attr.login`,
	}, {
		name: "creator-cancels", reason: "Who created a payment may cancel it.",
		actions: []string{Cancel},
		cedar:   `resource.created_by == principal.login`,
		rego:    []string{`input.resource.properties.created_by == person.login`},
		cerbos:  `R.attr.created_by == P.attr.login`,
	}, {
		name: "sanctions", reason: "No payments to sanctioned countries.", forbid: true,
		actions: []string{Create, Approve},
		cedar:   fmt.Sprintf(`[%s].contains(resource.country)`, quoted(sanctioned)),
		rego:    []string{fmt.Sprintf(`input.resource.properties.country in {%s}`, quoted(sanctioned))},
		cerbos:  fmt.Sprintf(`R.attr.country in [%s]`, quoted(sanctioned)),
	}, {
		name: "currency", reason: "Payments are made in euros, dollars and pounds.", forbid: true,
		actions: []string{Create},
		cedar:   fmt.Sprintf(`![%s].contains(resource.currency)`, quoted(currencies)),
		rego:    []string{fmt.Sprintf(`not input.resource.properties.currency in {%s}`, quoted(currencies))},
		cerbos:  fmt.Sprintf(`!(R.attr.currency in [%s])`, quoted(currencies)),
	}, {
		name: "frozen", reason: "Nothing is changed about a frozen payment.", forbid: true,
		actions: []string{Create, Approve, Cancel},
		cedar:   `resource.frozen`,
		rego:    []string{`input.resource.properties.frozen`},
		cerbos:  `R.attr.frozen`,
	}, {
		name: "approval-limit", reason: "Nobody approves more than 5,000,000 alone.", forbid: true,
		actions: []string{Approve},
		cedar:   fmt.Sprintf(`resource.amount > %d`, approveLimit),
		rego:    []string{fmt.Sprintf(`input.resource.properties.amount > %d`, approveLimit)},
		cerbos:  fmt.Sprintf(`R.attr.amount > %d`, approveLimit),
	},
}

func quoted(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = `"` + v + `"`
	}
	return strings.Join(out, ", ")
}

// Cedar returns a bundle of so many policies :: file name -> text.
func Cedar(policies int) map[string]string {
	files := map[string]string{}
	for i := range policies / RulesPerKind {
		kind := KindName(i)
		var b strings.Builder
		for _, r := range rules {
			effect := "permit"
			if r.forbid {
				effect = "forbid"
			}
			actions := make([]string, len(r.actions))
			for j, a := range r.actions {
				actions[j] = `Action::"` + a + `"`
			}
			action := "action == " + actions[0]
			if len(actions) > 1 {
				action = "action in [" + strings.Join(actions, ", ") + "]"
			}
			principal := "principal"
			if r.group != "" {
				principal = `principal in group::"` + r.group + `"`
			}
			fmt.Fprintf(&b, "@id(\"%s-%s\")\n@reason(\"%s\")\n%s (%s, %s, resource is %s)", kind, r.name, r.reason, effect, principal, action, kind)
			if r.cedar != "" {
				fmt.Fprintf(&b, "\nwhen { %s }", r.cedar)
			}
			b.WriteString(";\n\n")
		}
		files[kind+".cedar"] = b.String()
	}
	return files
}

// RegoPackage is where [Rego] defines allow and results.
const RegoPackage = "payments"

// Rego returns the same policies as a Rego module. The comparisons stand in the form that OPA's rule index uses. allow
// is the answer to one check, results those to a batch.
func Rego(policies int) string {
	var b strings.Builder
	b.WriteString(`package payments

default allow := false

person := data.people[input.subject.id]

allow if {
	permit
	not forbid
}

results := [allowed |
	some check in input.evaluations
	allowed := allow with input as check
]
`)
	for i := range policies / RulesPerKind {
		for _, r := range rules {
			head := "permit"
			if r.forbid {
				head = "forbid"
			}
			// One rule for each action, because the index sees equality only.
			for _, action := range r.actions {
				fmt.Fprintf(&b, "\n# %s\n%s if {\n\tinput.resource.type == %q\n\tinput.action.name == %q\n", r.reason, head, KindName(i), action)
				switch len(r.roles) {
				case 0:
				case 1:
					fmt.Fprintf(&b, "\tperson.role == %q\n", r.roles[0])
				default:
					fmt.Fprintf(&b, "\tperson.role in {%s}\n", quoted(r.roles))
				}
				for _, line := range r.rego {
					b.WriteString("\t" + line + "\n")
				}
				b.WriteString("}\n")
			}
		}
	}
	return b.String()
}

// PeopleData returns so many people as a data document for [Rego]: what is known of them, by login.
func PeopleData(n int) map[string]any {
	people := map[string]any{}
	for i := range n {
		p := PersonAt(i)
		people[p.Login] = p.Attributes()
	}
	return map[string]any{"people": people}
}

// Cerbos returns the same policies as Cerbos's resource policies, one for each kind :: file name -> text.
func Cerbos(policies int) map[string]string {
	files := map[string]string{}
	for i := range policies / RulesPerKind {
		var b strings.Builder
		fmt.Fprintf(&b, "apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: %s\n  version: default\n  rules:\n", KindName(i))
		for _, r := range rules {
			effect, roles := "EFFECT_ALLOW", r.roles
			if r.forbid {
				effect = "EFFECT_DENY"
			}
			if len(roles) == 0 {
				roles = []string{"*"}
			}
			fmt.Fprintf(&b, "    - name: %s\n      actions: [%s]\n      effect: %s\n      roles: [%s]\n", r.name, quoted(r.actions), effect, quoted(roles))
			if r.cerbos != "" {
				fmt.Fprintf(&b, "      condition:\n        match:\n          expr: >-\n            %s\n", r.cerbos)
			}
		}
		files[KindName(i)+".yaml"] = b.String()
	}
	return files
}
