#include "codec/json_indent.h"

#include <utility>

namespace monopod::json {
namespace {

void indent_into(std::string& out, const Value& value, std::size_t depth) {
  auto line = [&](std::size_t level) { out.append(1, '\n').append(2 * level, ' '); };
  bool first = true;
  if (const Object* object = value.if_object(); object != nullptr && !object->empty()) {
    out += '{';
    for (const auto& member : *object) {
      if (!std::exchange(first, false)) out += ',';
      line(depth + 1);
      out += format(Value(member.key()));
      out += ": ";
      indent_into(out, member.value(), depth + 1);
    }
    line(depth);
    out += '}';
  } else if (const Array* array = value.if_array(); array != nullptr && !array->empty()) {
    out += '[';
    for (const Value& item : *array) {
      if (!std::exchange(first, false)) out += ',';
      line(depth + 1);
      indent_into(out, item, depth + 1);
    }
    line(depth);
    out += ']';
  } else {
    out += format(value);
  }
}

}  // namespace

std::string format_indented(const Value& value) {
  std::string out;
  indent_into(out, value, 0);
  return out;
}

}  // namespace monopod::json
