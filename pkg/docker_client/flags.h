// What was said on a command line, whoever parsed it: names without dashes, the long one where there are two.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace monopod::docker_client {

class Flags {
 public:
  void add(std::string name, std::string value) { all_[std::move(name)].push_back(std::move(value)); }
  bool has(std::string_view name) const { return all_.find(name) != all_.end(); }
  // The last of a name's values; the fallback where there is none.
  std::string text(std::string_view name, std::string_view fallback = {}) const;
  std::vector<std::string> list(std::string_view name) const;
  // Said, and not as --name=false.
  bool on(std::string_view name) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> all_;
};

}  // namespace monopod::docker_client
