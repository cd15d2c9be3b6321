// Package linktest tests links, and tests with links.
//
//   - [Suite] is what every link has to pass: the contract of package link as
//     tests. The link's own test opens a [Wire] and hands it over.
//   - [Shadow] is a link around a link that knows the owner of each buffer and
//     reports whoever breaks the rules: the device or its user.
//   - [Fault] is a link around a link that drops, corrupts, duplicates,
//     reorders and delays frames, after a seed or after a rule.
//   - [LinkPeer] makes a link into a [Peer]: the far end of a wire, for tests
//     that only want to send and receive bytes.
package linktest
