// Package filter says who gets a received frame: this stack, the host, or
// nobody.
//
// A [Filter] is either [Rules], written as Go values or as text, or a
// [Program], an eBPF object file. The same filter runs in the kernel, as an
// XDP program, in front of links that the kernel feeds, and here, on bytes, in
// front of all others. Its verdicts have EVL's names and numbers
// (https://v4.xenomai.org, "Out-of-band networking", ingress filtering).
package filter
