"""The `hybrid-ir` commands, one thin file each."""
