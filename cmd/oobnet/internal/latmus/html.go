package latmus

import (
	"html/template"
	"io"
	"strings"
)

// page is a report that needs nothing but itself.
var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"us":  func(ns int64) float64 { return us(ns) },
	"usf": func(ns float64) float64 { return ns / 1000 },
}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>oobnet latmus</title>
<style>
body{font:14px/1.4 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:1em}
.bad{color:#b00}
</style></head><body>
<h1>oobnet latmus</h1>
<p>{{.R.Mode}}, {{.R.Interface}} ({{.R.Link}}), {{.R.Addr}}{{with .R.Peer}} to {{.}}{{end}}: {{.R.Size}} bytes each
{{us .R.PeriodNS}} us for {{printf "%.1f" .R.Seconds}} s, priority {{.R.Priority}}, poll {{.R.Poll}}{{with .R.Stress}}, disturbed by {{.}}{{end}}.
{{.Started}}</p>
<table><tr><th>us</th><th>count</th><th>min</th><th>mean</th><th>p50</th><th>p99</th><th>p99.9</th><th>max</th></tr>
{{range .R.Figures}}<tr><td>{{.Name}}</td><td>{{.Count}}</td><td>{{printf "%.3f" (us .Min)}}</td><td>{{printf "%.3f" (usf .Mean)}}</td><td>{{printf "%.3f" (us .P50)}}</td><td>{{printf "%.3f" (us .P99)}}</td><td>{{printf "%.3f" (us .P999)}}</td><td>{{printf "%.3f" (us .Max)}}</td></tr>
{{end}}</table>
{{if .R.MaxRatio}}<p>To sockets of the kernel in the same run: p99.9 {{printf "%.2f" .R.P999Ratio}}, worst {{printf "%.2f" .R.MaxRatio}}. Of theirs {{.R.KernelSent}} were sent, {{.R.KernelLost}} lost.</p>{{end}}
{{.Picture}}
<table><tr><th>packets</th><th></th></tr>
<tr><td>sent</td><td>{{.R.Sent}}</td></tr><tr><td>received</td><td>{{.R.Received}}</td></tr>
<tr{{if .R.Lost}} class="bad"{{end}}><td>lost</td><td>{{.R.Lost}}</td></tr><tr><td>late</td><td>{{.R.Late}}</td></tr>
<tr><td>duplicates</td><td>{{.R.Duplicates}}</td></tr><tr{{if .R.BadCRC}} class="bad"{{end}}><td>wrong CRC</td><td>{{.R.BadCRC}}</td></tr>
<tr{{if .R.Demoted}} class="bad"{{end}}><td>demoted</td><td>{{.R.Demoted}}</td></tr><tr><td>send errors</td><td>{{.R.SendErrors}}</td></tr>
{{if or .R.Unlogged .R.Unmatched}}<tr class="bad"><td>not in the figures: no room, no match</td><td>{{.R.Unlogged}}, {{.R.Unmatched}}</td></tr>
{{end}}<tr><td>activations left out</td><td>{{.R.Overruns}}</td></tr><tr><td>collections of garbage</td><td>{{.R.Collections}}</td></tr></table>
{{range .R.Refused}}<p class="bad">refused: {{.}}</p>{{end}}
<h2>The worst exchanges</h2>
{{range .R.Worst}}<table><tr><th>{{.Kind}} {{.Sequence}} at {{printf "%.3f" .At}} s</th><th>{{printf "%.3f" (us .TotalNS)}} us</th></tr>
{{range .Steps}}<tr><td>{{.Name}}</td><td>{{printf "%.3f" (us .NS)}}</td></tr>{{end}}</table>
<p>{{range .Causes}}{{.}}. {{else}}No cause seen from here: Go's scheduler, the kernel, the host or another process. {{end}}</p>
{{end}}
<h2>Environment</h2><pre>{{range .R.Environment.Lines}}{{.}}
{{end}}{{with .R.Machine.CPU}}CPU                {{.}}
{{end}}{{with .R.CommandLine}}command line       {{.}}
{{end}}{{range $k, $v := .R.NIC}}{{printf "%-18s" $k}} {{$v}}
{{end}}</pre></body></html>
`))

// WriteHTML writes the report as one page with its picture in it.
func (r *Report) WriteHTML(w io.Writer) error {
	var svg strings.Builder
	if err := r.WriteSVG(&svg); err != nil {
		return err
	}
	return page.Execute(w, map[string]any{
		"R": r, "Started": r.started.Format("2006-01-02 15:04:05 MST"),
		// The picture is ours: numbers and names of figures.
		"Picture": template.HTML(svg.String()),
	})
}
