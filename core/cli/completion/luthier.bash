# Completes Luthier's commands in bash: luthier, python -m luthier, python -m core.
# It runs the program that is typed, and evaluates nothing of the answer.

_luthier_completion() {
    local -a program=("${COMP_WORDS[0]/#\~\//$HOME/}")
    local answered kind="" candidate
    COMPREPLY=()
    case "${COMP_WORDS[0]##*/}" in
    python*)
        local package="${COMP_WORDS[2]}"
        [[ "${COMP_WORDS[1]}" == -m && "$package" =~ ^(core|luthier)$ && $COMP_CWORD -gt 2 ]] ||
            return 0
        # In a folder of another project, the package `core` may be its own: it is not run.
        [[ -e "$package/__main__.py" && ! -e core/cli/completion/answer.py ]] && return 0
        program+=(-m "$package")
        ;;
    esac
    while IFS= read -r answered; do
        if [[ -z "$kind" ]]; then
            kind="$answered"
            continue
        fi
        candidate="${answered%%$'\t'*}"
        COMPREPLY+=("$candidate")
    done < <("${program[@]}" --complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    # Older shells, as macOS has them, know no `compopt`.
    if [[ "$kind" == files ]]; then
        compopt -o filenames 2>/dev/null
    fi
    if [[ ${#COMPREPLY[@]} -gt 0 && "${COMPREPLY[0]}" =~ [=./]$ ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

complete -F _luthier_completion luthier
complete -o bashdefault -o default -F _luthier_completion python python3
