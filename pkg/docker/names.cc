#include "docker/names.h"

#include <algorithm>
#include <csignal>
#include <iterator>

#include "base/strings.h"
#include "docker/limits.h"

namespace monopod::docker {
namespace {

constexpr std::string_view kQualities[] = {"amber", "brave", "bright", "calm", "clever", "curious", "eager", "early", "fair", "fleet", "gentle", "golden", "happy", "keen", "kind", "lively",
                                           "lucid", "merry", "mild", "modest", "nimble", "noble", "patient", "plucky", "quick", "quiet", "rapid", "sharp", "sober", "steady", "sunny", "swift",
                                           "tidy", "warm", "wise", "witty"};
constexpr std::string_view kAnimals[] = {"badger", "beaver", "bison", "crane", "curlew", "dolphin", "eagle", "falcon", "ferret", "finch", "fox", "gecko", "heron", "hoopoe", "ibex", "jackdaw",
                                         "kestrel", "kite", "lark", "linnet", "lynx", "marten", "mole", "newt", "otter", "owl", "plover", "puffin", "raven", "robin", "salmon", "seal",
                                         "stork", "swift", "tern", "vole", "walrus", "wren"};

struct Signal {
  std::string_view name;
  int number;
};
constexpr Signal kSignals[] = {{"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"ILL", SIGILL}, {"TRAP", SIGTRAP}, {"ABRT", SIGABRT}, {"IOT", SIGIOT}, {"BUS", SIGBUS}, {"FPE", SIGFPE},
                               {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2}, {"PIPE", SIGPIPE}, {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"STKFLT", 16}, {"CHLD", SIGCHLD},
                               {"CONT", SIGCONT}, {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
                               {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"POLL", SIGIO}, {"PWR", SIGPWR}, {"SYS", SIGSYS}};

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

Result<> check_object_name(std::string_view name, std::string_view what) {
  auto good = [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; };
  if (name.size() >= 2 && name.size() <= kNameBytesMax && is_alnum(name[0]) && std::ranges::all_of(name, good)) return {};
  if (what == "container") return fail(Code::kInvalidArgument, cat("Invalid container name (", name.substr(0, 64), "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"));
  return fail(Code::kInvalidArgument, cat("\"", name.substr(0, 64), "\" includes invalid characters for a local ", what, " name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"));
}

std::string random_name(Rng& rng) {
  return cat(kQualities[rng.below(std::size(kQualities))], "_", kAnimals[rng.below(std::size(kAnimals))]);
}

std::string familiar_name(std::string_view reference) {
  for (std::string_view prefix : {"docker.io/library/", "docker.io/"})
    if (reference.starts_with(prefix)) return std::string(reference.substr(prefix.size()));
  return std::string(reference);
}

std::optional<int> parse_signal(std::string_view text) {
  if (auto number = parse_int<int>(text)) return *number > 0 && *number <= 64 ? number : std::nullopt;
  if (text.size() > 3 && iequals(text.substr(0, 3), "SIG")) text.remove_prefix(3);
  for (const Signal& s : kSignals)
    if (iequals(s.name, text)) return s.number;
  for (auto [prefix, base, sign] : {std::tuple("RTMIN+", 34, 1), std::tuple("RTMAX-", 64, -1)})
    if (text.size() > 6 && iequals(text.substr(0, 6), prefix))
      if (auto n = parse_int<int>(text.substr(6)); n && *n >= 0 && *n <= 30) return base + sign * *n;
  if (iequals(text, "RTMIN")) return 34;
  if (iequals(text, "RTMAX")) return 64;
  return std::nullopt;
}

}  // namespace monopod::docker
