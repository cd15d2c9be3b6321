package metrics_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// families are metrics by their names.
type families map[string]family

// family is what is known of a metric: its labels, and the values that they have,
// none where they are not known.
type family struct {
	values    map[string][]string
	histogram bool
}

// query checks a query in the part of Prometheus's language that the dashboard
// makes use of: selectors, rates, aggregations and arithmetic.
//
// Source: https://prometheus.io/docs/prometheus/latest/querying/basics/.
type query struct {
	families  families
	variables map[string]bool // of the dashboard
	asked     map[string]bool // the families that were asked for

	tokens  []string
	problem error // the first one
}

// result is what an expression yields: its labels, nil of a number. A range is
// for functions of ranges alone.
type result struct {
	labels map[string]bool
	ranged bool
}

var (
	// token is a name, a number, a text, a range, an operator or a bracket.
	token = regexp.MustCompile(`^(?:[A-Za-z_:][A-Za-z0-9_:]*|[0-9.]+|"[^"]*"|\[[^\]]*\]|=~|!~|!=|>=|<=|==|[-+*/%<>=(){},])`)
	span  = regexp.MustCompile(`^\[([0-9]+[smhd]|\$__rate_interval)\]$`)

	operators = []string{"+", "-", "*", "/", "%", "<", ">", "<=", ">=", "==", "!="}
	matchers  = []string{"=", "!=", "=~", "!~"}
	// ofRanges are functions that keep the labels of the ranges that they take,
	// aggregations leave those that they are told to.
	ofRanges     = []string{"rate", "irate", "increase", "delta", "max_over_time", "min_over_time", "avg_over_time"}
	aggregations = []string{"sum", "max", "min", "avg", "count"}
)

// check returns the labels of a query's result, sorted.
func (q *query) check(expr string) ([]string, error) {
	for rest := strings.TrimSpace(expr); rest != ""; rest = strings.TrimSpace(rest) {
		t := token.FindString(rest)
		if t == "" {
			return nil, fmt.Errorf("want a word, and not %q", rest)
		}
		q.tokens = append(q.tokens, t)
		rest = rest[len(t):]
	}
	r := q.expression()
	if len(q.tokens) > 0 {
		q.fail("want its end before %q", strings.Join(q.tokens, " "))
	}
	return slices.Sorted(maps.Keys(r.labels)), q.problem
}

// fail keeps the first problem, and ends the query, so that all loops end.
func (q *query) fail(format string, args ...any) {
	if q.problem == nil {
		q.problem = fmt.Errorf(format, args...)
	}
	q.tokens = nil
}

// next is the token in front, "" at the end.
func (q *query) next() string {
	if len(q.tokens) == 0 {
		return ""
	}
	return q.tokens[0]
}

func (q *query) take() string {
	t := q.next()
	if t == "" {
		q.fail("want more")
		return ""
	}
	q.tokens = q.tokens[1:]
	return t
}

// accept takes a token if it is in front.
func (q *query) accept(t string) bool {
	if q.next() != t {
		return false
	}
	q.take()
	return true
}

func (q *query) want(t string) {
	if !q.accept(t) {
		q.fail("want %s before %q", t, strings.Join(q.tokens, " "))
	}
}

// list calls one for each entry up to the end, with commas between them.
func (q *query) list(end string, one func()) {
	for q.problem == nil && !q.accept(end) {
		one()
		if q.next() != end {
			q.want(",")
		}
	}
}

// expression is terms with operators between them. The result has the labels
// that both sides have: what an operator matches series by.
func (q *query) expression() result {
	left := q.instant()
	for slices.Contains(operators, q.next()) {
		q.take()
		right := q.instant()
		switch {
		case left.labels == nil:
			left = right
		case right.labels != nil:
			maps.DeleteFunc(left.labels, func(l string, _ bool) bool { return !right.labels[l] })
		}
	}
	return left
}

// instant is a term that is no range.
func (q *query) instant() result {
	r := q.term()
	if r.ranged {
		q.fail("a range stands where one value should")
	}
	return r
}

func (q *query) term() (r result) {
	switch t := q.take(); {
	case t == "":
	case t == "(":
		r = q.expression()
		q.want(")")
	case strings.Trim(t, "0123456789.") == "": // a number
	case slices.Contains(aggregations, t):
		return q.aggregation()
	case slices.Contains(ofRanges, t):
		q.want("(")
		if r = q.term(); !r.ranged {
			q.fail("%s takes a range", t)
		}
		r.ranged = false
		q.want(")")
	case t == "histogram_quantile":
		q.want("(")
		q.instant()
		q.want(",")
		if r = q.expression(); !r.labels["le"] {
			q.fail("%s wants the label le", t)
		}
		delete(r.labels, "le")
		q.want(")")
	case q.next() == "(":
		q.fail("there is no function %s", t)
	default:
		return q.selector(t)
	}
	return r
}

// aggregation has its labels in front or behind, or none.
func (q *query) aggregation() result {
	by := q.by()
	q.want("(")
	r := q.expression()
	q.want(")")
	by = append(by, q.by()...)
	sum := result{labels: map[string]bool{}}
	for _, l := range by {
		if !r.labels[l] {
			q.fail("there is no label %s to go by, but %v", l, slices.Sorted(maps.Keys(r.labels)))
		}
		sum.labels[l] = true
	}
	return sum
}

func (q *query) by() (labels []string) {
	if q.accept("by") {
		q.want("(")
		q.list(")", func() { labels = append(labels, q.take()) })
	}
	return labels
}

// selector is a metric with matchers and a range, or without.
func (q *query) selector(name string) (r result) {
	f := q.families[name]
	base, bucket := strings.CutSuffix(name, "_bucket")
	if bucket && q.families[base].histogram {
		f, name = q.families[base], base
	} else if f.histogram {
		q.fail("%s is a histogram: ask for %s_bucket", name, name)
	} else if f.values == nil {
		q.fail("there is no metric %s", name)
	}
	q.asked[name] = true
	r.labels = map[string]bool{}
	for l := range f.values {
		r.labels[l] = true
	}
	if f.histogram {
		r.labels["le"] = true
	}
	if q.accept("{") {
		q.list("}", func() { q.matcher(f) })
	}
	if strings.HasPrefix(q.next(), "[") {
		r.ranged = true
		if s := q.take(); !span.MatchString(s) {
			q.fail("%s is no range", s)
		}
	}
	return r
}

// matcher is LABEL OP "VALUE". A value that no series has picks nothing, and
// leaves nothing out.
func (q *query) matcher(f family) {
	label := q.take()
	values, ok := f.values[label]
	if !ok {
		q.fail("there is no label %s, but %v", label, slices.Sorted(maps.Keys(f.values)))
		return
	}
	op := q.take()
	if !slices.Contains(matchers, op) {
		q.fail("want an operator behind %s, and not %q", label, op)
		return
	}
	text := strings.Trim(q.take(), `"`)
	if v, ok := strings.CutPrefix(text, "$"); ok {
		if !q.variables[v] {
			q.fail("there is no variable $%s", v)
		}
		return
	}
	either := []string{text}
	if strings.HasSuffix(op, "~") {
		either = strings.Split(text, "|")
	}
	for _, v := range either {
		if !slices.Contains(values, v) {
			q.fail("%s is never %q, but one of %q", label, v, slices.Compact(slices.Sorted(slices.Values(values))))
		}
	}
}
