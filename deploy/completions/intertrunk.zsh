
# Calls and settings by their names, which the running daemon knows. What they are is somebody else's word: compadd quotes it.
_intertrunk_named() {
    local -a names
    names=("${(@f)$(intertrunk names $1 2>/dev/null)}")
    compadd -a names
}
