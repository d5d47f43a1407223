// Shell completion, made from the command line's own description so that it cannot fall behind.
#include <cstdio>

#include "base/strings.h"
#include "cmd/commands.h"

namespace monopod::cmd {
namespace {

// "path words..." lines: every subcommand path with what may follow it.
void collect(const CLI::App& app, const std::string& path, std::string& cases) {
  std::vector<std::string> words;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App* a) { return !a->get_group().empty(); })) words.push_back(sub->get_name());
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  cases += cat("    \"", path, "\") words=\"", join(words, " "), "\" ;;\n");
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App* a) { return !a->get_group().empty(); })) collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), cases);
}

std::string bash_script(const CLI::App& root) {
  std::string cases;
  collect(root, "", cases);
  return cat(
      "_monopod() {\n"
      "  local path=\"\" words=\"\" i w\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    w=\"${COMP_WORDS[i]}\"\n"
      "    [[ $w == -* ]] && continue\n"
      "    path=\"${path:+$path }$w\"\n"
      "  done\n"
      "  case \"$path\" in\n",
      cases,
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "  [[ ${#COMPREPLY[@]} == 0 ]] && COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "}\n"
      "complete -F _monopod monopod\n");
}

}  // namespace

void add_completion(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "completion", "Print shell completion", "  source <(monopod completion bash)\n  monopod completion zsh > ~/.monopod-completion && source ~/.monopod-completion");
  auto shell = std::make_shared<std::string>("bash");
  app->add_option("shell", *shell, "bash or zsh")->check(CLI::IsMember({"bash", "zsh"}));
  const CLI::App* root = &parent;
  app->callback([shell, root, &invocation] {
    invocation.run = [shell, root] {
      if (*shell == "zsh") std::printf("autoload -U +X bashcompinit && bashcompinit\n");
      std::printf("%s", bash_script(*root).c_str());
      return 0;
    };
  });
}

}  // namespace monopod::cmd
