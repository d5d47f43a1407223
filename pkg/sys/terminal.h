// What people see: progress bars, tables, sizes. Colours and bars only on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace monopod::sys {

// One line on stderr, redrawn at most ten times a second; silent where stderr is no terminal.
class ProgressBar {
 public:
  enum class Unit { kBytes, kCount };
  explicit ProgressBar(std::string title, Unit unit = Unit::kBytes);
  ~ProgressBar();
  void update(std::int64_t done, std::int64_t total, std::string_view step);
  void finish();  // clears the line

 private:
  std::string format(std::int64_t number) const;

  std::string title_;
  Unit unit_;
  bool shown_ = false;
  bool terminal_ = false;
  std::chrono::steady_clock::time_point drawn_{};
};

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print() const;  // to stdout, columns padded; control characters escaped

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Control characters as \x1b.
std::string printable(std::string_view text);
std::string format_size(std::int64_t bytes);  // "1.5 MiB"

}  // namespace monopod::sys
