
# Calls and settings by their names, which the running daemon knows.
complete -c intertrunk -n "__fish_seen_subcommand_from show capture terminate" -f -a "(intertrunk names calls 2>/dev/null)"
complete -c intertrunk -n "__fish_seen_subcommand_from set" -f -a "(intertrunk names settings 2>/dev/null)"
