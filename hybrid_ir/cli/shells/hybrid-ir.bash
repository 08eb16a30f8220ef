# Completion of hybrid-ir for bash: eval "$(hybrid-ir completion bash)"
_hybrid_ir() {
    local line="${COMP_LINE:0:COMP_POINT}" current="" start word
    local -a words
    read -ra words <<< "$line"
    # Behind a blank a new word begins.
    if [[ "$line" == *[[:space:]] ]]; then
        words+=("")
    fi
    current="${words[${#words[@]}-1]}"
    # Readline replaces what stands behind the last = or : alone, unless the word is quoted.
    start=""
    if [[ "$current" != [\"\']* && "$current" == *[=:]* ]]; then
        start="${current%"${current##*[=:]}"}"
    fi
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$start"}")
        if [[ "$word" == *[=.,] || "$word" == *"=["*[!]] ]]; then
            compopt -o nospace 2> /dev/null
        fi
    done < <("${words[0]}" completion words -- "${words[@]:1}" 2> /dev/null)
}
complete -o default -F _hybrid_ir hybrid-ir
