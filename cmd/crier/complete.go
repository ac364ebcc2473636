package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// appModel is the commands and flags as kong knows them.
type appModel struct{ *kong.Application }

// fileNames is what complete returns where the name of a file belongs.
const fileNames = ":files"

// complete lists what the last of the words can become, given those before
// it. It never fails: of words that make no sense it makes what it can.
func (a *appModel) complete(words []string) []string {
	words, valueOnly := joinAssignments(words)
	if len(words) == 0 {
		words = []string{""}
	}
	words, last := words[:len(words)-1], words[len(words)-1]
	at := &place{node: a.Node}
	for _, w := range words {
		at.walk(w)
	}
	switch {
	case at.waiting != nil:
		return values(at.waiting.Value, last, "")
	case !at.onlyArgs && strings.HasPrefix(last, "--") && strings.Contains(last, "="):
		name, value, _ := strings.Cut(last, "=")
		f := at.flag(name)
		if f == nil {
			return nil
		}
		prefix := name + "="
		if valueOnly {
			prefix = ""
		}
		return values(f.Value, value, prefix)
	case !at.onlyArgs && strings.HasPrefix(last, "-"):
		return at.flags(last)
	}
	return at.next(last)
}

// joinAssignments puts together what bash takes apart at "=": the words
// --flag, =, value. valueOnly says that the last word was such a value, of
// which alone the shell wants to hear.
func joinAssignments(words []string) (joined []string, valueOnly bool) {
	for i := 0; i < len(words); i++ {
		valueOnly = false
		if words[i] == "=" && len(joined) > 0 && strings.HasPrefix(joined[len(joined)-1], "--") {
			joined[len(joined)-1] += "="
			if i+1 < len(words) {
				i++
				joined[len(joined)-1] += words[i]
			}
			valueOnly = true
			continue
		}
		joined = append(joined, words[i])
	}
	return joined, valueOnly
}

// place is how far a command line has got.
type place struct {
	node     *kong.Node
	args     int        // positional arguments that are there
	waiting  *kong.Flag // whose value comes next
	used     []*kong.Flag
	onlyArgs bool // after --
}

// walk goes past a word.
func (p *place) walk(w string) {
	switch {
	case p.waiting != nil:
		p.waiting = nil
	case p.onlyArgs:
		p.args++
	case w == "--":
		p.onlyArgs = true
	case strings.HasPrefix(w, "-") && w != "-":
		name, _, assigned := strings.Cut(w, "=")
		f := p.flag(name)
		if f == nil {
			return
		}
		p.used = append(p.used, f)
		if !assigned && takesValue(f) {
			p.waiting = f
		}
	default:
		for _, child := range p.node.Children {
			if child.Name == w || slices.Contains(child.Aliases, w) {
				p.node, p.args = child, 0
				return
			}
		}
		p.args++
	}
}

func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// flag finds a flag by its name or short name.
func (p *place) flag(name string) *kong.Flag {
	for _, group := range p.node.AllFlags(false) {
		for _, f := range group {
			if "--"+f.Name == name || f.Short != 0 && "-"+string(f.Short) == name {
				return f
			}
		}
	}
	return nil
}

// flags lists flags that may still come.
func (p *place) flags(prefix string) (found []string) {
	for _, group := range p.node.AllFlags(true) {
		for _, f := range group {
			if name := "--" + f.Name; strings.HasPrefix(name, prefix) && (!slices.Contains(p.used, f) || f.IsSlice()) {
				found = append(found, described(name, f.Help))
			}
		}
	}
	return found
}

// next lists commands, or values of the next argument.
func (p *place) next(prefix string) (found []string) {
	if p.args == 0 && !p.onlyArgs {
		for _, child := range p.node.Children {
			if !child.Hidden && strings.HasPrefix(child.Name, prefix) {
				found = append(found, described(child.Name, child.Help))
			}
		}
	}
	if args := p.node.Positional; len(args) > 0 {
		arg := args[min(p.args, len(args)-1)]
		if p.args < len(args) || arg.IsSlice() {
			found = append(found, values(arg, prefix, "")...)
		}
	}
	return found
}

// values lists the values that a flag or argument can have, if they are known.
func values(v *kong.Value, prefix, before string) (found []string) {
	if v.Enum != "" {
		for _, value := range v.EnumSlice() {
			if value != "" && strings.HasPrefix(value, prefix) {
				found = append(found, described(before+value, ""))
			}
		}
		return found
	}
	switch v.Tag.Type {
	case "path", "existingfile", "existingdir":
		return []string{fileNames}
	}
	return nil
}

// described is a word with what it is, on one line.
func described(word, help string) string {
	if help, _, _ = strings.Cut(help, "\n"); help == "" {
		return word
	}
	return word + "\t" + help
}
