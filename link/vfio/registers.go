package vfio

import "github.com/oobnet/oobnet/link/vfio/internal/driver"

// Register is one of a NIC's registers: its name in the datasheet, its byte offset
// in BAR 0, and what it reads as.
type Register = driver.Register
