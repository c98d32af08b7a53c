# bash completion for intertie. `intertie completion bash` prints it; put it into
# ~/.local/share/bash-completion/completions/intertie
_intertie() {
  local verbs="serve ask explain receipts models providers check config doctor status version completion"
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb= sub= word skip=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [ -n "$skip" ]; then skip=; continue; fi
    case $word in
      --config | --listen | --engine | --io-threads | --model | --system | --max-tokens | --limit | --name | --sha256) skip=1 ;;
      -*) ;;
      *) if [ -z "$verb" ]; then verb=$word; elif [ -z "$sub" ]; then sub=$word; fi ;;
    esac
  done
  case $previous in
    --config) COMPREPLY=($(compgen -f -X '!*.toml' -- "$current") $(compgen -d -- "$current")); return ;;
    --engine) COMPREPLY=($(compgen -W none -- "$current") $(compgen -f -- "$current")); return ;;
    --model) COMPREPLY=($(compgen -W "auto auto:private auto:fast auto:cheap auto:best $(_intertie_names models)" -- "$current"))
             __ltrim_colon_completions "$current" 2>/dev/null; return ;;
    --listen | --io-threads | --system | --max-tokens | --limit | --name | --sha256) COMPREPLY=(); return ;;
  esac
  local options="--help --config" words=
  case $verb in
    "") words=$verbs options+=" --version" ;;
    serve) options+=" --listen --engine --io-threads" ;;
    ask) options+=" --stream --model --system --max-tokens --why --json" ;;
    explain) words=last options+=" --json" ;;
    receipts) options+=" --follow --limit --json" ;;
    status | doctor) options+=" --json" ;;
    completion) words="bash zsh fish" ;;
    check) options+=" --json"
           [[ $current == -* ]] || { COMPREPLY=($(compgen -f -- "$current")); return; } ;;
    config) case $sub in "") words="show path init" ;; init) options+=" --force" ;; esac ;;
    providers) case $sub in
        "") words="list test" ;;
        list) options+=" --json" ;;
        test) words=$(_intertie_names providers) options+=" --json" ;;
      esac ;;
    models) case $sub in
        "") words="list add pull rm show" ;;
        list) options+=" --json" ;;
        show) words=$(_intertie_names models) options+=" --json" ;;
        rm) words=$(_intertie_names models) ;;
        add) options+=" --name"
             [[ $current == -* ]] || { COMPREPLY=($(compgen -f -X '!*.gguf' -- "$current") $(compgen -d -- "$current")); return; } ;;
        pull) options+=" --sha256 --name" ;;
      esac ;;
  esac
  if [[ $current == -* ]]; then words=$options; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}

# Names that the configuration knows; silent when there is none.
_intertie_names() { intertie "$1" list --json 2>/dev/null | grep -o '"name": *"[^"]*"' | cut -d'"' -f4; }

complete -F _intertie intertie
