// Structured logs: a constant sentence and key/values, one line each on stderr (or the journal).
//   log::info("pod started", {{"pod", name}, {"ms", elapsed}});
// Never secrets, tokens, environment values or Secret objects.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace monopod::log {

enum class Level { kDebug, kInfo, kWarn, kError };

// A value of a log line, already as text.
class Value {
 public:
  Value(std::string_view text) : text_(text), quoted_(true) {}
  Value(const char* text) : text_(text), quoted_(true) {}
  Value(const std::string& text) : text_(text), quoted_(true) {}
  Value(bool b) : text_(b ? "true" : "false") {}
  template <typename T>
    requires std::is_integral_v<T> && (!std::is_same_v<T, bool>)
  Value(T n) : text_(std::to_string(n)) {}
  Value(double d) : text_(std::to_string(d)) {}
  Value(const Error& e) : text_(e.message()), quoted_(true) {}

  const std::string& text() const { return text_; }
  bool quoted() const { return quoted_; }

 private:
  std::string text_;
  bool quoted_ = false;
};

struct Field {
  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

enum class Format { kText, kJson };

struct Options {
  Level level = Level::kInfo;
  Format format = Format::kText;
  int fd = 2;  // not owned
};

// Set once in main, before any thread; a process-wide sink (one of the two mutable globals of the tree).
void configure(const Options& options);

void write(Level level, std::string_view sentence, Fields fields);
bool enabled(Level level);

inline void debug(std::string_view sentence, Fields fields = {}) { if (enabled(Level::kDebug)) write(Level::kDebug, sentence, fields); }
inline void info(std::string_view sentence, Fields fields = {}) { if (enabled(Level::kInfo)) write(Level::kInfo, sentence, fields); }
inline void warn(std::string_view sentence, Fields fields = {}) { write(Level::kWarn, sentence, fields); }
inline void error(std::string_view sentence, Fields fields = {}) { write(Level::kError, sentence, fields); }

// The line as write() would emit it, newline included; for tests.
std::string format_line(Level level, std::string_view time, std::string_view sentence, Fields fields, Format format);

}  // namespace monopod::log
