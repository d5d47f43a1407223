#include "sys/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace monopod::sys {
// Names come from images and clients: no terminal escapes through them (CVE-2021-25743).
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      out += c;
      continue;
    }
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += hex;
  }
  return out;
}

ProgressBar::ProgressBar(std::string title, Unit unit) : title_(printable(title)), unit_(unit), terminal_(::isatty(2) != 0) {}
ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::update(std::int64_t done, std::int64_t total, std::string_view step) {
  auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  shown_ = true;
  constexpr int kWidth = 30;
  int filled = total > 0 ? static_cast<int>(std::min<std::int64_t>(kWidth, done * kWidth / total)) : 0;
  std::string bar(static_cast<std::size_t>(filled), '=');
  bar.resize(kWidth, ' ');
  std::fprintf(stderr, "\r\033[K%s [%s] %s%s%s  %s", title_.c_str(), bar.c_str(), format(done).c_str(), total > 0 ? " of " : "", total > 0 ? format(total).c_str() : "",
               printable(step.substr(0, 40)).c_str());
}

std::string ProgressBar::format(std::int64_t number) const { return unit_ == Unit::kBytes ? format_size(number) : std::to_string(number); }

void ProgressBar::finish() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
  drawn_ = {};  // what comes after it is drawn at once
}

void Table::print() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], printable(row[i]).size());
    }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string cell = printable(row[i]);
      if (i + 1 < row.size()) cell.resize(widths[i] + 3, ' ');
      line += cell;
    }
    std::printf("%s\n", line.c_str());
  }
}

std::string format_size(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace monopod::sys
