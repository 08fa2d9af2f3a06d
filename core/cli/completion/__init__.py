"""Tab completion in bash, zsh and fish: their scripts, and the answers that they ask for."""
