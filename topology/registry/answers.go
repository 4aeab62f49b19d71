package registry

// MaxAnswers is how many commands' results are remembered. A proposer that
// lost an answer asks again within seconds; this many take longer to propose.
const MaxAnswers = 16_384

// answers remembers what became of the newest commands.
type answers struct {
	byID  table[Result]
	order queue[string]
}

func (a answers) of(id string) *Result { return a.byID.get(id) }

func (a answers) add(id string, r Result) answers {
	if id == "" {
		return a // such a command was refused, and again would be
	}
	if a.order.len() == MaxAnswers {
		a.byID = a.byID.drop(*a.order.at(a.order.first))
		a.order = a.order.dropTo(a.order.first + 1)
	}
	a.byID = a.byID.put(id, &r)
	a.order = a.order.push(&id)
	return a
}
