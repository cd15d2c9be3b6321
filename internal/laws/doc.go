// Package laws holds the tests that keep the house's laws: which package may
// import which, what library code never does, what every file and package
// carries. CONTRIBUTING.md lists the laws and says which test keeps which.
//
// A law is a function from the parsed tree to findings, so that each can be
// shown to fail on a small made-up tree: see TestEachLawCanFail.
package laws
