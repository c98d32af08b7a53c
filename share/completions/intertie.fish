# fish completion for intertie. `intertie completion fish` prints it; put it into ~/.config/fish/completions/intertie.fish
function __intertie_names
    intertie $argv[1] list --json 2>/dev/null | string match -rag '"name": *"([^"]*)"'
end
function __intertie_bare
    not __fish_seen_subcommand_from serve ask explain receipts models providers check config doctor status version completion
end
function __intertie_sub # VERB SUB…: in VERB, one of SUB given
    __fish_seen_subcommand_from $argv[1]; and __fish_seen_subcommand_from $argv[2..]
end
function __intertie_open # VERB SUB…: in VERB, none of SUB given yet
    __fish_seen_subcommand_from $argv[1]; and not __fish_seen_subcommand_from $argv[2..]
end

complete -c intertie -f
complete -c intertie -l help -d 'what it does, with examples'
complete -c intertie -l config -r -F -d 'configuration file'
complete -c intertie -n __intertie_bare -l version -d 'print the version'
complete -c intertie -n __intertie_bare -a serve -d 'run the daemon'
complete -c intertie -n __intertie_bare -a ask -d 'ask a question'
complete -c intertie -n __intertie_bare -a explain -d 'where an answer came from, and why'
complete -c intertie -n __intertie_bare -a receipts -d 'what ran where, and what it cost'
complete -c intertie -n __intertie_bare -a models -d 'the local models'
complete -c intertie -n __intertie_bare -a providers -d 'the servers an Ask may go to'
complete -c intertie -n __intertie_bare -a check -d 'what private data a text holds, and where it could go'
complete -c intertie -n __intertie_bare -a config -d 'the configuration'
complete -c intertie -n __intertie_bare -a doctor -d 'find what is wrong, and how to mend it'
complete -c intertie -n __intertie_bare -a status -d 'what the running daemon is doing'
complete -c intertie -n __intertie_bare -a version -d 'print the version'
complete -c intertie -n __intertie_bare -a completion -d 'print a shell completion script'

complete -c intertie -n '__fish_seen_subcommand_from serve' -l listen -x -d 'address:port'
complete -c intertie -n '__fish_seen_subcommand_from serve' -l engine -r -F -d 'llama-server, or none for remote only'
complete -c intertie -n '__fish_seen_subcommand_from serve' -l io-threads -x -d 'threads for connections'
complete -c intertie -n '__fish_seen_subcommand_from ask' -l stream -d 'print the answer as it comes'
complete -c intertie -n '__fish_seen_subcommand_from ask' -l model -x -a 'auto auto:private auto:fast auto:cheap auto:best (__intertie_names models)'
complete -c intertie -n '__fish_seen_subcommand_from ask' -l system -x -d 'a system message'
complete -c intertie -n '__fish_seen_subcommand_from ask' -l max-tokens -x -d 'most tokens of the answer'
complete -c intertie -n '__fish_seen_subcommand_from ask' -l why -d 'say where it ran and why'
complete -c intertie -n '__fish_seen_subcommand_from explain' -a last -d 'the newest decision'
complete -c intertie -n '__fish_seen_subcommand_from receipts' -l follow -d 'go on printing new ones'
complete -c intertie -n '__fish_seen_subcommand_from receipts' -l limit -x -d 'how many'
complete -c intertie -n '__fish_seen_subcommand_from ask explain receipts check status doctor list show test' -l json -d 'machine-readable output'
complete -c intertie -n '__fish_seen_subcommand_from check' -F
complete -c intertie -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'

complete -c intertie -n '__intertie_open models list add pull rm show' -a list -d 'what can run here'
complete -c intertie -n '__intertie_open models list add pull rm show' -a add -d 'use a GGUF file where it lies'
complete -c intertie -n '__intertie_open models list add pull rm show' -a pull -d 'download a GGUF'
complete -c intertie -n '__intertie_open models list add pull rm show' -a rm -d 'forget a model'
complete -c intertie -n '__intertie_open models list add pull rm show' -a show -d 'one model'
complete -c intertie -n '__intertie_sub models show rm' -a '(__intertie_names models)'
complete -c intertie -n '__intertie_sub models add' -F
complete -c intertie -n '__intertie_sub models add pull' -l name -x -d 'its name'
complete -c intertie -n '__intertie_sub models pull' -l sha256 -x -d 'its hash, 64 hex digits'
complete -c intertie -n '__intertie_open providers list test' -a list -d 'configured providers'
complete -c intertie -n '__intertie_open providers list test' -a test -d 'reach a provider'
complete -c intertie -n '__intertie_sub providers test' -a '(__intertie_names providers)'
complete -c intertie -n '__intertie_open config show path init' -a show -d 'the configuration in force'
complete -c intertie -n '__intertie_open config show path init' -a path -d 'where it is read from'
complete -c intertie -n '__intertie_open config show path init' -a init -d 'write a commented sample'
complete -c intertie -n '__intertie_sub config init' -l force -d 'over an existing file'
