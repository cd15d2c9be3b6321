// Package serve is `oobnet serve`: a process that owns a stack, as a config file
// says, and is managed through its control socket.
package serve
