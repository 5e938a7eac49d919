package flags

import (
	"time"

	"github.com/urfave/cli/v2"
)

// section builds the flags of one help category. Each flag is bound to the option it sets, whose value at that moment is its
// default. So a flag has one line: where its value goes, its name, its environment variable, its text.
type section struct {
	category string
	hidden   bool
}

// hide returns the section with its flags left out of the help text.
func (s section) hide() section {
	s.hidden = true
	return s
}

// env spells the environment variables of a flag; none for an empty name.
func env(names ...string) []string {
	var out []string
	for _, name := range names {
		if name != "" {
			out = append(out, EnvPrefix+"_"+name)
		}
	}
	return out
}

func (s section) text(dst *string, name, variable, usage string) *cli.StringFlag {
	return &cli.StringFlag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) file(dst *string, name, variable, usage string) *cli.StringFlag {
	f := s.text(dst, name, variable, usage)
	f.TakesFile = true
	return f
}

func (s section) path(dst *string, name, variable, usage string) *cli.PathFlag {
	return &cli.PathFlag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) list(dst *cli.StringSlice, name, variable, usage string) *cli.StringSliceFlag {
	return &cli.StringSliceFlag{Destination: dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) onoff(dst *bool, name, variable, usage string) *cli.BoolFlag {
	return &cli.BoolFlag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) integer(dst *int, name, variable, usage string) *cli.IntFlag {
	return &cli.IntFlag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) unsigned(dst *uint, name, variable, usage string) *cli.UintFlag {
	return &cli.UintFlag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) number(dst *uint64, name, variable, usage string) *cli.Uint64Flag {
	return &cli.Uint64Flag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) decimal(dst *float64, name, variable, usage string) *cli.Float64Flag {
	return &cli.Float64Flag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

func (s section) duration(dst *time.Duration, name, variable, usage string) *cli.DurationFlag {
	return &cli.DurationFlag{Destination: dst, Value: *dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}

// choice is a flag whose destination itself parses and refuses values.
func (s section) choice(dst cli.Generic, name, variable, usage string) *cli.GenericFlag {
	return &cli.GenericFlag{Value: dst, Name: name, EnvVars: env(variable), Usage: usage, Category: s.category, Hidden: s.hidden}
}
