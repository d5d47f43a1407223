#include "build/file_mode.h"

#include <charconv>

#include "base/strings.h"
#include "build/wrong.h"

namespace monopod::build {

Result<FileMode> FileMode::parse(std::string_view text) {
  auto bad = [text] { return wrong(cat("--chmod=", text.substr(0, 100), ": want octal digits, or clauses as u=rwX,go=rX")); };
  FileMode out;
  if (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    std::uint32_t mode = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
    if (ec != std::errc() || end != text.data() + text.size() || mode > 07777) return bad();
    out.octal_ = mode;
    return out;
  }
  for (std::string_view part : split(text, ',')) {
    Clause clause;
    std::size_t at = 0;
    for (; at < part.size() && std::string_view("ugoa").contains(part[at]); ++at) clause.who |= part[at] == 'u' ? 04700U : part[at] == 'g' ? 02070U : part[at] == 'o' ? 01007U : 07777U;
    if (clause.who == 0) clause.who = 07777;
    if (at == part.size()) return bad();
    while (at < part.size()) {  // "u+x-w"
      clause.operation = part[at++];
      if (!std::string_view("+-=").contains(clause.operation)) return bad();
      clause.bits = 0;
      clause.if_executed = false;
      clause.copied = 0;
      for (; at < part.size() && !std::string_view("+-=").contains(part[at]); ++at) switch (part[at]) {
          case 'r': clause.bits |= 0444; break;
          case 'w': clause.bits |= 0222; break;
          case 'x': clause.bits |= 0111; break;
          case 's': clause.bits |= 06000; break;
          case 't': clause.bits |= 01000; break;
          case 'X': clause.if_executed = true; break;
          case 'u':
          case 'g':
          case 'o': clause.copied = part[at]; break;
          default: return bad();
        }
      out.clauses_.push_back(clause);
    }
  }
  return out;
}

std::uint32_t FileMode::apply(std::uint32_t mode, bool directory) const {
  if (octal_) return *octal_;
  for (const Clause& clause : clauses_) {
    std::uint32_t bits = clause.bits;
    if (clause.if_executed && (directory || (mode & 0111) != 0)) bits |= 0111;
    if (clause.copied != 0) bits |= (clause.copied == 'u' ? mode >> 6 & 7 : clause.copied == 'g' ? mode >> 3 & 7 : mode & 7) * 0111;
    bits &= clause.who;
    // s is of user and group, t of others, whom a clause may be about without meaning their bits.
    if (clause.operation == '+') mode |= bits;
    else if (clause.operation == '-') mode &= ~bits;
    else mode = (mode & ~(clause.who & (directory ? 0777U : 07777U))) | bits;
  }
  return mode;
}

}  // namespace monopod::build
