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
	roles        []string // any of them; none: whoever
	cedar        string
	rego         []string // the lines of the body
	cerbos       string   // CEL
}

// rules are the ten policies that every kind of payment has.
var rules = []rule{
	{
		name: "clerk-creates", reason: "Clerks create payments of their department up to 10,000.",
		actions: []string{Create}, roles: []string{clerk},
		cedar:  fmt.Sprintf(`principal.department == resource.department && resource.amount <= %d`, clerkLimit),
		rego:   []string{`input.subject.properties.department == input.resource.properties.department`, fmt.Sprintf(`input.resource.properties.amount <= %d`, clerkLimit)},
		cerbos: fmt.Sprintf(`P.attr.department == R.attr.department && R.attr.amount <= %d`, clerkLimit),
	}, {
		name: "manager-creates", reason: "Managers create payments of their department up to 1,000,000.",
		actions: []string{Create}, roles: []string{manager},
		cedar:  fmt.Sprintf(`principal.department == resource.department && resource.amount <= %d`, managerLimit),
		rego:   []string{`input.subject.properties.department == input.resource.properties.department`, fmt.Sprintf(`input.resource.properties.amount <= %d`, managerLimit)},
		cerbos: fmt.Sprintf(`P.attr.department == R.attr.department && R.attr.amount <= %d`, managerLimit),
	}, {
		name: "staff-reads", reason: "Clerks and managers read the payments of their department.",
		actions: []string{Read}, roles: []string{clerk, manager},
		cedar:  `principal.department == resource.department`,
		rego:   []string{`input.subject.properties.department == input.resource.properties.department`},
		cerbos: `P.attr.department == R.attr.department`,
	}, {
		name: "auditor-reads", reason: "Auditors read and export all payments.",
		actions: []string{Read, Export}, roles: []string{auditor},
	}, {
		name: "manager-approves", reason: "Managers approve payments of their department that somebody else created.",
		actions: []string{Approve}, roles: []string{manager},
		cedar:  `principal.department == resource.department && resource.created_by != principal.login`,
		rego:   []string{`input.subject.properties.department == input.resource.properties.department`, `input.resource.properties.created_by != input.subject.properties.login`},
		cerbos: `P.attr.department == R.attr.department && R.attr.created_by != P.attr.login`,
	}, {
		name: "creator-cancels", reason: "Who created a payment may cancel it.",
		actions: []string{Cancel},
		cedar:   `resource.created_by == principal.login`,
		rego:    []string{`input.resource.properties.created_by == input.subject.properties.login`},
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
			var conditions []string
			switch len(r.roles) {
			case 0:
			case 1:
				conditions = append(conditions, `principal.role == "`+r.roles[0]+`"`)
			default:
				conditions = append(conditions, fmt.Sprintf(`[%s].contains(principal.role)`, quoted(r.roles)))
			}
			if r.cedar != "" {
				conditions = append(conditions, r.cedar)
			}
			fmt.Fprintf(&b, "@id(\"%s-%s\")\n@reason(\"%s\")\n%s (principal, %s, resource is %s)\nwhen { %s };\n\n",
				kind, r.name, r.reason, effect, action, kind, strings.Join(conditions, " && "))
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
					fmt.Fprintf(&b, "\tinput.subject.properties.role == %q\n", r.roles[0])
				default:
					fmt.Fprintf(&b, "\tinput.subject.properties.role in {%s}\n", quoted(r.roles))
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
