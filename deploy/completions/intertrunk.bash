
# Calls and settings by their names, which the running daemon knows; everything else as above.
_intertrunk_named() {
    local line="${COMP_LINE:0:COMP_POINT}" word="${COMP_WORDS[COMP_CWORD]}" what= name
    local typed="${line##* }"
    local -a words
    read -ra words <<<"$line"
    [[ -n $typed ]] || words+=("")
    case "${words[1]}" in
        show | capture | terminate) what=calls ;;
        set) what=settings ;;
    esac
    if [[ -z $what || $typed == -* || ${#words[@]} -ne 3 ]]; then
        _intertrunk "$@"
        return
    fi
    # Of a name with @ or : the shell takes only what is behind it for the word.
    local before="${typed%"$word"}"
    COMPREPLY=()
    # A name is somebody else's word: it is quoted, and never expanded.
    while IFS= read -r name; do
        [[ $name == "$typed"* ]] && COMPREPLY+=("$(printf %q "${name#"$before"}")")
    done < <(intertrunk names "$what" 2>/dev/null)
}
complete -F _intertrunk_named -o nosort -o bashdefault -o default intertrunk
