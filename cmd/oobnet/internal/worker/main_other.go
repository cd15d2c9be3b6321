//go:build !linux

package worker

import "os/exec"

func ownGroup(*exec.Cmd) {}

// Main returns: the wire contests need Linux, so there are no workers.
func Main() {}
