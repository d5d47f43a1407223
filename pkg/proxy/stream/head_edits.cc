#include "proxy/stream/head_edits.h"

#include <algorithm>
#include <cstring>

namespace monopod::proxy {

std::string_view Arena::join(std::initializer_list<std::string_view> parts) {
  std::size_t size = 0;
  for (std::string_view part : parts) size += part.size();
  if (size > kSlabBytes - used_) {
    full_.push_back(slab_);
    slab_ = pool_.take();
    used_ = 0;
  }
  char* begin = slab_ + used_;
  for (std::string_view part : parts) {
    std::size_t n = std::min(part.size(), kSlabBytes - used_);
    if (n > 0) std::memcpy(slab_ + used_, part.data(), n);
    used_ += n;
  }
  return {begin, static_cast<std::size_t>(slab_ + used_ - begin)};
}

void HeadEdits::add(Arena& arena, std::string_view name, std::string_view value) {
  if (name.size() + value.size() > kHeadBytesMax) return;
  std::string_view line = arena.join({name, ": ", value, "\r\n"});
  char* text = const_cast<char*>(line.data());  // the arena's, and nobody else has seen it
  for (std::size_t i = name.size() + 2; i < line.size() - 2; ++i)
    if (static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f) text[i] = ' ';
  added_.push_back({line, name.size()});
}

void HeadEdits::remove(Head& head, std::string_view name) {
  for (std::size_t i = 0; i < head.count; ++i)
    if (equals_lowercase(head.name(head.fields[i]), name)) head.fields[i].dropped = true;
  std::erase_if(added_, [name](const Added& a) { return a.line.substr(0, a.name_size) == name; });
}

void HeadEdits::apply(const HeaderOperations& operations, Head& head, Arena& arena) {
  for (const std::string& name : operations.remove) remove(head, name);
  for (const HeaderValue& v : operations.set) set(head, arena, v.name, v.value);
  for (const HeaderValue& v : operations.add) add(arena, v.name, v.value);
}

std::string_view HeadEdits::find(const Head& head, std::string_view name) const {
  if (const FieldSpan* field = head.find(name)) return head.value(*field);
  return find_added(name);
}

std::string_view HeadEdits::find_added(std::string_view name) const {
  for (const Added& a : added_)
    if (a.line.substr(0, a.name_size) == name) return a.line.substr(a.name_size + 2, a.line.size() - a.name_size - 4);
  return {};
}

void HeadEdits::write(const Head& head, Outbox& out) const {
  std::size_t run = head.line_end;
  for (std::size_t i = 0; i < head.count; ++i) {
    const FieldSpan& f = head.fields[i];
    if (!f.dropped) continue;
    out.add({head.base + run, static_cast<std::size_t>(f.begin) - run});
    run = f.end;
  }
  if (added_.empty()) return out.add({head.base + run, head.size - run});  // with the empty line
  out.add({head.base + run, head.size - 2 - run});
  for (const Added& a : added_) out.add(a.line);
  out.add("\r\n");
}

}  // namespace monopod::proxy
