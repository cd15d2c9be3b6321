package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// zone has the IPv4 addresses of each name, in lower case and with the final dot.
type zone map[string][]netip.Addr

// ttl is how long a resolver may keep an answer, seconds.
const ttl = 60

// readHosts reads a file as /etc/hosts is: an address and its names a line.
func readHosts(path string) (zone, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it is read alone
	z := zone{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		a, err := netip.ParseAddr(fields[0])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if !a.Is4() {
			continue
		}
		for _, name := range fields[1:] {
			if _, ok := dns.IsDomainName(name); !ok {
				return nil, fmt.Errorf("%s:%d: %q is no name", path, n, name)
			}
			key := dns.CanonicalName(name)
			z[key] = append(z[key], a)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return z, nil
}

// ServeDNS implements dns.Handler.
func (z zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		m.Rcode = dns.RcodeNotImplemented
		z.write(w, m)
		return
	}
	asked := q.Question[0]
	addrs, ok := z[dns.CanonicalName(asked.Name)]
	if !ok {
		m.Rcode = dns.RcodeNameError
	}
	if asked.Qtype == dns.TypeA && asked.Qclass == dns.ClassINET {
		for _, a := range addrs {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: asked.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: a.AsSlice(),
			})
		}
	}
	m.Truncate(dns.MinMsgSize)
	z.write(w, m)
}

// write sends an answer. Whoever does not get it asks again; what the socket
// could not send it has counted.
func (zone) write(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(m) }
