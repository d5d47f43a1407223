// What changes of a head on its way through: lines dropped, and lines added behind the others. Values cannot start a new line (hardening H2).
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "proxy/codec/head.h"
#include "proxy/config/spec.h"
#include "proxy/io/slab.h"
#include "proxy/stream/outbox.h"

namespace monopod::proxy {

// Text that lives as long as its exchange.
class Arena {
 public:
  explicit Arena(SlabPool& pool) : pool_(pool), slab_(pool.take()) {}
  ~Arena() {
    pool_.give(slab_);
    for (char* slab : full_) pool_.give(slab);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  // Concatenated; parts of more than a slab in sum are cut off there.
  std::string_view join(std::initializer_list<std::string_view> parts);
  void clear() {
    used_ = 0;
    for (char* slab : full_) pool_.give(slab);
    full_.clear();
  }

 private:
  SlabPool& pool_;
  char* slab_;
  std::size_t used_ = 0;
  std::vector<char*> full_;
};

class HeadEdits {
 public:
  void clear() { added_.clear(); }
  // name is lowercase. Control characters in value become blanks.
  void add(Arena& arena, std::string_view name, std::string_view value);
  // line: whole, sound, and outliving the exchange; its name is lowercase.
  void add_line(std::string_view line, std::size_t name_size) { added_.push_back({line, name_size}); }
  void remove(Head& head, std::string_view name);
  void set(Head& head, Arena& arena, std::string_view name, std::string_view value) {
    remove(head, name);
    add(arena, name, value);
  }
  void apply(const HeaderOperations& operations, Head& head, Arena& arena);
  // Of what goes on: the first one, whoever put it there. Null data where there is none.
  std::string_view find(const Head& head, std::string_view name) const;
  // Of what was added alone.
  std::string_view find_added(std::string_view name) const;
  // Lines that stay, what was added, and the empty line. Runs of unchanged lines are one part.
  void write(const Head& head, Outbox& out) const;
  // The same as names and values: f(name, value, id, secret).
  template <typename F>
  void each(const Head& head, F f) const {
    for (std::size_t i = 0; i < head.count; ++i)
      if (const FieldSpan& s = head.fields[i]; !s.dropped) f(head.name(s), head.value(s), s.id, s.secret);
    for (const Added& a : added_) f(a.line.substr(0, a.name_size), a.line.substr(a.name_size + 2, a.line.size() - a.name_size - 4), name_id(a.line.substr(0, a.name_size)), false);
  }

 private:
  struct Added {
    std::string_view line;  // with its CRLF
    std::size_t name_size;
  };
  std::vector<Added> added_;
};

}  // namespace monopod::proxy
