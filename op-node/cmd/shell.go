package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
)

// man is the command that prints the manual page, made of the flag table.
func man() *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "Prints the manual page, for man(1)",
		Action: func(ctx *cli.Context) error {
			page, err := programOf(ctx).ToManWithSection(1)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(ctx.App.Writer, page)
			return err
		},
	}
}

// completion is the command that prints what a shell needs to complete commands and flags.
func completion() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "Prints the completions for a shell: bash, zsh or fish",
		ArgsUsage: "SHELL",
		Action: func(ctx *cli.Context) error {
			var script string
			var err error
			switch shell := ctx.Args().First(); shell {
			case "bash":
				script = bashCompletion
			case "zsh":
				script = zshCompletion
			case "fish":
				script, err = programOf(ctx).ToFishCompletion()
			default:
				err = fmt.Errorf("no completions for %q: give bash, zsh or fish", shell)
			}
			if ctx.NArg() > 1 {
				err = errors.New("give one shell: bash, zsh or fish")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(ctx.App.Writer, script)
			return err
		},
	}
}

// programOf is the program that a subcommand belongs to.
func programOf(ctx *cli.Context) *cli.App {
	lineage := ctx.Lineage()
	for i := len(lineage) - 1; i >= 0; i-- {
		if lineage[i].App != nil {
			return lineage[i].App
		}
	}
	return ctx.App
}

// The program completes itself: asked with its own words and --generate-bash-completion, it prints what may follow.
const (
	bashCompletion = `# bash completion for op-node
_op_node() {
	local word="${COMP_WORDS[COMP_CWORD]}"
	local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ "$word" == -* ]] && words+=("$word")
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F _op_node op-node
`
	zshCompletion = `#compdef op-node
_op_node() {
	local -a found
	local word="${words[CURRENT]}"
	local asked=("${(@)words[1,CURRENT-1]}")
	[[ "$word" == -* ]] && asked+=("$word")
	found=("${(@f)$("${asked[@]}" --generate-bash-completion 2>/dev/null)}")
	compadd -- "${found[@]}" || _files
}
_op_node "$@"
`
)
