# Completion of hybrid-ir for fish: ~/.config/fish/completions/hybrid-ir.fish
function __hybrid_ir_words
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] completion words -- $words[2..-1] "$current" 2>/dev/null
end
function __hybrid_ir_has_words
    set -g __hybrid_ir_found (__hybrid_ir_words)
    test (count $__hybrid_ir_found) -gt 0
end
# Where the command has no words of its own, fish offers files.
complete -c hybrid-ir -n __hybrid_ir_has_words -f -a '$__hybrid_ir_found'
