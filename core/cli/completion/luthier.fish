# Completes Luthier's commands in fish: luthier, python -m luthier, python -m core.
# It runs the program that is typed, and evaluates nothing of the answer.

function __luthier_is_typed
    set -l words (commandline -opc)
    test (count $words) -ge 3; or return 1
    test "$words[2]" = -m; or return 1
    contains -- "$words[3]" core luthier; or return 1
    # In a folder of another project, the package `core` may be its own: it is not run.
    if test -e "$words[3]/__main__.py"; and not test -e core/cli/completion/answer.py
        return 1
    end
    return 0
end

function __luthier_completion
    set -l words (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l first 2
    if string match -qr '(^|/)python[0-9.]*$' -- $words[1]
        set program $program -m $words[3]
        set first 4
    end
    set -l typed
    if test (count $words) -ge $first
        set typed $words[$first..-1]
    end
    set -l current (commandline -ct)
    # A quote that is still open cannot be read: then the word stays as it is typed.
    if set -l read (string unescape -- "$current")
        set current $read
    end
    $program --complete fish $typed "$current" 2>/dev/null | tail -n +2
end

complete -c luthier -f -a '(__luthier_completion)'
complete -c python -n __luthier_is_typed -f -a '(__luthier_completion)'
complete -c python3 -n __luthier_is_typed -f -a '(__luthier_completion)'
