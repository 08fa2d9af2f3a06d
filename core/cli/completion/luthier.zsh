#compdef luthier
# Completes Luthier's commands in zsh: luthier, python -m luthier, python -m core.
# It runs the program that is typed, and evaluates nothing of the answer.

_luthier_completion() {
    emulate -L zsh
    local -a program found names titles open_names open_titles
    local line kind name title typed="${(Q)words[1]}"
    local -i first=2
    program=("${typed/#\~\//$HOME/}")
    if [[ "${typed:t}" == python* ]]; then
        first=4
        program+=(-m "${words[3]}")
        # In a folder of another project, the package `core` may be its own: it is not run.
        [[ -e "${words[3]}/__main__.py" && ! -e core/cli/completion/answer.py ]] && return 1
    fi
    local -a typed_words=("${(@Q)words[first,CURRENT-1]}" "${(Q)PREFIX}")
    found=("${(@f)$("${program[@]}" --complete zsh "${typed_words[@]}" 2>/dev/null)}")
    kind="${found[1]}"
    for line in "${found[@]:1}"; do
        name="${line%%$'\t'*}"
        [[ -n "$name" ]] || continue
        title="$name"
        [[ "$line" == *$'\t'* ]] && title="$name  -- ${line#*$'\t'}"
        if [[ "$name" == *[=./] ]]; then
            open_names+=("$name") open_titles+=("$title")
        else
            names+=("$name") titles+=("$title")
        fi
    done
    (( $#open_names )) && compadd -l -S '' -d open_titles -a -- open_names
    (( $#names )) && compadd -l -d titles -a -- names
}

_luthier_python() {
    if [[ "${words[2]}" == -m && "${words[3]}" == (core|luthier) ]] && (( CURRENT > 3 )); then
        _luthier_completion
    elif (( $+functions[_python] )); then
        _python "$@"
    else
        _default "$@"
    fi
}

if ! (( $+functions[compdef] )); then
    autoload -Uz compinit && compinit
fi
compdef _luthier_completion luthier
compdef _luthier_python python python3
