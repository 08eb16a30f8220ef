#compdef hybrid-ir
# Completion of hybrid-ir for zsh: a file _hybrid-ir in a folder of fpath, or
# eval "$(hybrid-ir completion zsh)" behind compinit
_hybrid_ir() {
    local -a found finished unfinished
    local word
    found=("${(@f)$("${words[1]}" completion words -- "${(@Q)words[2,CURRENT]}" 2> /dev/null)}")
    for word in $found; do
        if [[ "$word" == *[=.,] || "$word" == *"=["*[^]] ]]; then
            unfinished+=("$word")
        else
            finished+=("$word")
        fi
    done
    if (( ${#finished} + ${#unfinished} == 0 )); then
        # The value of a key that takes any: a file, behind its equals sign.
        compset -P '*='
        _files
        return
    fi
    # -U: they fit already. zsh would take the [ of an unfinished list for a pattern, and quotes it.
    compadd -U -- $finished
    compadd -U -S '' -- $unfinished
}
if [[ "$funcstack[1]" == "_hybrid-ir" ]]; then
    _hybrid_ir "$@"
else
    compdef _hybrid_ir hybrid-ir
fi
