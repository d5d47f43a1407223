// The command line of `monopod runtime`: runc's, word for word, since podman, conmon and containerd's shim speak it. Not CLI11: it runs at every
// container start, and Go's flags differ in what they take ("-flag", "--flag=value", options after arguments).
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::cmd {

enum class OptionKind { kFlag, kValue, kList, kIgnored };  // ignored: taken with a value, without effect

struct RuntimeOption {
  std::string_view names;  // "force f": without dashes
  OptionKind kind;
  std::string_view help;
};

class RuntimeArguments {
 public:
  // Takes options off the front of words (of all words where interleaved), which keeps the rest. kInvalidArgument names what is wrong.
  Result<> parse(std::span<const RuntimeOption> options, std::vector<std::string>& words, bool interleaved);

  bool flag(std::string_view name) const;
  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
  std::string value(std::string_view name, std::string_view fallback = {}) const;  // the last one
  const std::vector<std::string>& list(std::string_view name) const;
  Result<int> number(std::string_view name, int fallback) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

std::string format_option_help(std::span<const RuntimeOption> options);

}  // namespace monopod::cmd
