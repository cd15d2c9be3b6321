package evlnet

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// optional are the options whose value may be missing, and otherwise follows
// without a space.
var optional = map[string]bool{"query-port": true, "filter": true, "set-vlan-ids": true}

// Normalize writes a command line as getopt_long(3) reads it in the form that
// package pflag reads alike: --name=value each. It differs where options have
// optional values (-QoRTf, -Fprogram.o), and where a long name is cut short.
func Normalize(flags *pflag.FlagSet, args []string) (out []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var more []string
		switch {
		case arg == "--":
			return append(append(out, arg), args...), nil
		case strings.HasPrefix(arg, "--"):
			more, args, err = long(flags, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			more, args, err = short(flags, arg[1:], args)
		default:
			more = []string{arg}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// short reads letters, the last of which may have a value.
func short(flags *pflag.FlagSet, letters string, args []string) (out, rest []string, err error) {
	for i := range len(letters) {
		f := flags.ShorthandLookup(letters[i : i+1])
		if f == nil {
			return nil, nil, fmt.Errorf("-%s: there is no option %q: see --help", letters, letters[i])
		}
		if noValue(f) {
			out = append(out, "--"+f.Name)
			continue
		}
		value := letters[i+1:]
		if value == "" && !optional[f.Name] {
			if len(args) == 0 {
				return nil, nil, fmt.Errorf("-%c needs a value: see --help", letters[i])
			}
			value, args = args[0], args[1:]
		}
		return append(out, "--"+f.Name+"="+value), args, nil
	}
	return out, args, nil
}

// long reads a name, or the beginning of one, with its value.
func long(flags *pflag.FlagSet, text string, args []string) (out, rest []string, err error) {
	name, value, has := strings.Cut(text, "=")
	f, err := byName(flags, name)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case noValue(f) && has:
		return nil, nil, fmt.Errorf("--%s takes no value", f.Name)
	case noValue(f):
		return []string{"--" + f.Name}, args, nil
	case !has && !optional[f.Name]:
		if len(args) == 0 {
			return nil, nil, fmt.Errorf("--%s needs a value: see --help", f.Name)
		}
		value, args = args[0], args[1:]
	}
	return []string{"--" + f.Name + "=" + value}, args, nil
}

func noValue(f *pflag.Flag) bool { return f.Value.Type() == "bool" }

// byName finds an option by its name, or by a beginning that no other has.
func byName(flags *pflag.FlagSet, name string) (found *pflag.Flag, err error) {
	if f := flags.Lookup(name); f != nil {
		return f, nil
	}
	n := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if name != "" && strings.HasPrefix(f.Name, name) {
			found = f
			n++
		}
	})
	switch n {
	case 0:
		return nil, fmt.Errorf("there is no option --%s: see --help", name)
	case 1:
		return found, nil
	}
	return nil, fmt.Errorf("option --%s can be several: write it out: see --help", name)
}
