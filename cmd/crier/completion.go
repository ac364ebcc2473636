package main

import (
	"fmt"
	"io"
)

// completionCmd is crier completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says how a script is put to use.
func (*completionCmd) Help() string {
	return `In bash:  source <(crier completion bash)
In zsh:   source <(crier completion zsh)
In fish:  crier completion fish | source

Write the line into the shell's start file to have it always.`
}

// Run prints the script.
func (c *completionCmd) Run(std *streams) error {
	_, err := io.WriteString(std.out, scripts[c.Shell])
	return err
}

// scripts hand the words up to the cursor to crier __complete, which knows the
// commands and flags; they only translate its answer for the shell. It is
// never changed.
var scripts = map[string]string{
	"bash": `# bash completion for crier
_crier() {
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files)
			compopt -o filenames 2>/dev/null
			while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
			;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _crier crier
`,
	"zsh": `#compdef crier
_crier() {
	local line
	local -a found
	for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		case $line in
		'') ;;
		:files) _files ;;
		*$'\t'*) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
		*) found+=("${line//:/\\:}") ;;
		esac
	done
	(( ${#found} )) && _describe -t crier crier found
	return 0
}
(( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit }
compdef _crier crier
`,
	"fish": `# fish completion for crier
function __crier_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            printf '%s\n' $line
        end
    end
end
complete -c crier -f -a '(__crier_complete)'
`,
}

// completeCmd is crier __complete, which the scripts call.
type completeCmd struct {
	Words []string `arg:"" optional:"" help:"The words of the command line after crier, up to the cursor."`
}

// Run prints a line for each word that can come next: the word, and, if that
// is known, a tab and what it is. The line :files stands for the names of files.
func (c *completeCmd) Run(app *appModel, std *streams) error {
	for _, w := range app.complete(c.Words) {
		if _, err := fmt.Fprintln(std.out, w); err != nil {
			return err
		}
	}
	return nil
}
