#include "base/log.h"

#include <unistd.h>

#include <cstdio>

#include "base/clock.h"

namespace monopod::log {
namespace {

Options g_options;  // see configure()

constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};

void append_escaped(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (c == '\n') out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += hex;
    } else out += c;
  }
  out += '"';
}

void append_value(std::string& out, const Value& value, Format format) {
  bool plain = !value.quoted() || (format == Format::kText && !value.text().empty() &&
                                   value.text().find_first_of(" \"\\=\n\t\x1b") == std::string::npos);
  if (plain) out += value.text();
  else append_escaped(out, value.text());
}

}  // namespace

void configure(const Options& options) { g_options = options; }
bool enabled(Level level) { return level >= g_options.level; }

std::string format_line(Level level, std::string_view time, std::string_view sentence, Fields fields, Format format) {
  std::string out;
  std::string_view name = kNames[static_cast<int>(level)];
  if (format == Format::kJson) {
    out.append("{\"time\":\"").append(time).append("\",\"level\":\"").append(name).append("\",\"msg\":");
    append_escaped(out, sentence);
    for (const Field& f : fields) {
      out += ',';
      append_escaped(out, f.key);
      out += ':';
      append_value(out, f.value, format);
    }
    out += '}';
  } else {
    out.append(time).append(" ").append(name).append(" ").append(sentence);
    for (const Field& f : fields) {
      out.append(" ").append(f.key).append("=");
      append_value(out, f.value, format);
    }
  }
  return out += '\n';
}

void write(Level level, std::string_view sentence, Fields fields) {
  if (!enabled(level)) return;
  std::string line = format_line(level, format_rfc3339_micro(RealClock().wall()), sentence, fields, g_options.format);
  [[maybe_unused]] ssize_t n = ::write(g_options.fd, line.data(), line.size());  // one write: lines of processes do not mix
}

}  // namespace monopod::log
