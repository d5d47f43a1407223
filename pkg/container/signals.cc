#include "container/signals.h"

#include <csignal>
#include <tuple>

#include "base/strings.h"

namespace monopod::container {
namespace {

struct Signal {
  std::string_view name;
  int number;
};
constexpr Signal kSignals[] = {{"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"ILL", SIGILL}, {"TRAP", SIGTRAP}, {"ABRT", SIGABRT}, {"IOT", SIGIOT}, {"BUS", SIGBUS}, {"FPE", SIGFPE},
                               {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2}, {"PIPE", SIGPIPE}, {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"STKFLT", 16}, {"CHLD", SIGCHLD},
                               {"CONT", SIGCONT}, {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
                               {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"POLL", SIGIO}, {"PWR", SIGPWR}, {"SYS", SIGSYS}};

}  // namespace

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

}  // namespace monopod::container
