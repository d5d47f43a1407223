#include <algorithm>
#include <unordered_set>

#include "base/strings.h"
#include "wasm/limits.h"
#include "wasm/module.h"
#include "wasm/validator.h"

namespace monopod::wasm {
namespace {

enum Section : std::uint8_t { kCustom, kType, kImport, kFunction, kTable, kMemory, kGlobal, kExport, kStart, kElement, kCode, kData, kDataCount, kTag };
// Where a section stands among the others.
constexpr std::uint8_t kOrder[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 11, 6};
constexpr std::string_view kSectionNames[] = {"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"};

class Decoder {
 public:
  Decoder(ModuleData& m, KnownBodies* known) : m_(m), known_(known), validator_(m), r_(m.bytes.data(), m.bytes.data(), m.bytes.data() + m.bytes.size()) {}

  Result<> run() {
    header();
    std::uint8_t last = 0;
    bool code_seen = false;
    while (!r_.done() && !r_.failed()) {
      const std::uint8_t* at = r_.at();
      std::uint8_t id = r_.byte();
      if (id > kTag) {
        r_.fail_at("malformed section id", at);
        break;
      }
      std::uint32_t size = r_.u32();
      if (size > r_.left()) r_.fail("length out of bounds");
      if (r_.failed()) break;
      if (id != kCustom) {
        if (kOrder[id] <= last) r_.fail_at(kOrder[id] == last ? "duplicate section" : "unexpected content after last section", at);
        if (r_.failed()) break;
        last = kOrder[id];
      }
      section_ = id;
      Reader whole = r_;
      r_ = Reader(m_.bytes.data(), whole.at(), whole.at() + size);
      std::uint32_t from = static_cast<std::uint32_t>(r_.offset());
      if (id == kCode) code_seen = true, m_.code_section = {from, from + size};
      section(id);
      if (!r_.failed() && !r_.done()) r_.fail("section size mismatch");
      if (r_.failed()) break;
      if (m_.level == Level::kCore2 && m_.memories.size() > 1) r_.fail("multiple memories");
      if (r_.failed()) break;
      whole.bytes(size);
      r_ = whole;
      section_ = kCustom;
    }
    if (!r_.failed() && !code_seen && m_.functions.size() != m_.imported_functions) r_.fail("function and code section have inconsistent lengths");
    if (!r_.failed() && m_.data_count.value_or(0) != 0 && m_.data.empty()) r_.fail("data count and data section have inconsistent lengths");
    return r_.failed() ? Result<>(error()) : Result<>();
  }

 private:
  std::unexpected<Error> error() {
    std::string_view why = r_.why();
    std::string detail = validator_.take_detail();
    static constexpr char kHex[] = "0123456789abcdef";
    std::string at;
    for (std::size_t n = r_.where(); n != 0 || at.empty(); n >>= 4) at.insert(at.begin(), kHex[n & 15]);
    std::string where = cat("at byte 0x", at);
    if (section_ != kCustom && current_ == ~0u) where += cat(" in the ", kSectionNames[section_], " section");
    if (current_ != ~0u) where += cat(" in ", name_of_current());
    Code code = Code::kInvalidArgument;
    if (why.find("not supported") != std::string_view::npos) code = Code::kUnimplemented;
    else if (why.starts_with("too many") || why.ends_with("too large")) code = why.starts_with("integer") ? Code::kInvalidArgument : Code::kResourceExhausted;
    return fail(code, cat("wasm module: ", where, ": ", why, detail.empty() ? "" : ": ", detail));
  }

  // The name section stands behind the code: look for it only now that somebody asks.
  std::string name_of_current() {
    Reader r(m_.bytes.data(), m_.bytes.data() + m_.code_section.to, m_.bytes.data() + m_.bytes.size());
    while (!r.done()) {
      std::uint8_t id = r.byte();
      std::span<const std::uint8_t> body = r.bytes(r.u32());
      if (r.failed() || id != kCustom) continue;
      Reader custom(m_.bytes.data(), body.data(), body.data() + body.size());
      std::span<const std::uint8_t> name = custom.bytes(custom.u32());
      if (!custom.failed()) m_.custom.emplace_back(std::string_view(reinterpret_cast<const char*>(name.data()), name.size()), Range{static_cast<std::uint32_t>(custom.offset()), static_cast<std::uint32_t>(custom.offset() + custom.left())});
    }
    return m_.describe_function(current_);
  }

  void header() {
    constexpr std::uint8_t kMagic[] = {0, 'a', 's', 'm'};
    std::span<const std::uint8_t> magic = r_.bytes(4);
    if (r_.failed() || !std::ranges::equal(magic, kMagic)) return r_ = Reader(m_.bytes.data(), m_.bytes.data(), m_.bytes.data() + m_.bytes.size()), r_.fail("magic header not detected: not a WebAssembly binary");
    std::uint32_t version = r_.raw<std::uint32_t>();
    if (r_.failed() || version == 1) return;
    if (version >> 16 == 1) return r_.fail("a component (WASI preview 2) is not supported: build a core module (target wasm32-wasip1), or extract it with `wasm-tools component unbundle`");
    r_.fail("unknown binary version");
  }

  std::string_view name() {
    const std::uint8_t* at = r_.at();
    std::uint32_t size = r_.u32();
    if (size > kNameBytesMax) return r_.fail_at("name too large", at), std::string_view();
    std::span<const std::uint8_t> bytes = r_.bytes(size);
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!is_valid_utf8(text)) r_.fail_at("malformed UTF-8 encoding", at);
    return text;
  }

  SizeLimits limits(bool memory) {
    const std::uint8_t* at = r_.at();
    std::uint8_t flags = r_.byte();
    SizeLimits out;
    if (flags & 0x02) return r_.fail_at("shared memories (threads) are not supported", at), out;
    if (flags & 0x08) return r_.fail_at("custom page sizes are not supported", at), out;
    if (flags > 7) return r_.fail_at("malformed limits flags", at), out;
    out.has_max = (flags & 1) != 0;
    out.is64 = (flags & 4) != 0;
    out.min = out.is64 ? r_.u64() : r_.u32();
    out.max = !out.has_max ? ~std::uint64_t{0} : out.is64 ? r_.u64() : r_.u32();
    if (r_.failed()) return out;
    std::uint64_t top = memory ? (out.is64 ? std::uint64_t{1} << 48 : kMemory32PagesMax) : out.is64 ? ~std::uint64_t{0} : 0xffff'ffffu;
    if (out.min > top || (out.has_max && out.max > top)) return r_.fail_at("memory size must be at most 65536 pages (4GiB)", at), out;
    if (out.has_max && out.min > out.max) return r_.fail_at("size minimum must not be greater than maximum", at), out;
    return out;
  }

  TableType table_type() {
    TableType out;
    const std::uint8_t* at = r_.at();
    out.element = read_value_type(r_, m_);
    if (!r_.failed() && !out.element.is_ref()) return r_.fail_at("malformed reference type", at), out;
    out.limits = limits(false);
    return out;
  }

  // How many globals a constant expression may name: those before it; in 2.0 imported ones only.
  std::uint32_t constant_globals() const { return m_.level == Level::kCore2 ? m_.imported_globals : static_cast<std::uint32_t>(m_.globals.size()); }

  GlobalType global_type() {
    GlobalType out;
    out.type = read_value_type(r_, m_);
    const std::uint8_t* at = r_.at();
    std::uint8_t mutability = r_.byte();
    if (mutability > 1) r_.fail_at("malformed mutability", at);
    out.is_mutable = mutability == 1;
    return out;
  }

  std::uint32_t type_index() {
    const std::uint8_t* at = r_.at();
    std::uint32_t index = r_.u32();
    if (!r_.failed() && index >= m_.types.size()) r_.fail_at("unknown type", at);
    return r_.failed() ? 0 : index;
  }

  void add_function(std::uint32_t type, bool imported) {
    if (r_.failed()) return;
    m_.functions.push_back({.type = m_.types[type], .imported = imported});
    m_.function_types.push_back(m_.type_of[type]);
    m_.declared.push_back(false);
  }

  void add_tag() {
    const std::uint8_t* at = r_.at();
    if (r_.byte() != 0) return r_.fail_at("malformed tag attribute", at);
    std::uint32_t type = type_index();
    if (r_.failed()) return;
    if (!m_.type_of[type]->results.empty()) return r_.fail_at("non-empty tag result type", at);
    m_.tags.push_back(m_.types[type]);
  }

  void types() {
    std::uint32_t count = r_.count(kTypesMax, 3, "too many types");
    m_.types.reserve(count);
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      const std::uint8_t* at = r_.at();
      std::uint8_t form = r_.byte();
      if (form == 0x5e || form == 0x5f || form == 0x4e || form == 0x4f || form == 0x50) return r_.fail_at("garbage collection types (struct, array, rec, sub) are not supported", at);
      if (form != 0x60) return r_.fail_at("malformed type form", at);
      FuncType type;
      m_.defining_type = true;
      std::uint32_t params = r_.count(kParametersMax, 1, "too many parameters");
      for (std::uint32_t k = 0; k < params && !r_.failed(); ++k) type.params.push_back(read_value_type(r_, m_));
      std::uint32_t results = r_.count(kResultsMax, 1, "too many results");
      for (std::uint32_t k = 0; k < results && !r_.failed(); ++k) type.results.push_back(read_value_type(r_, m_));
      m_.defining_type = false;
      if (r_.failed()) return;
      std::uint32_t number = m_.registry->number_of(std::move(type));
      if (number == TypeRegistry::kTypesOfEngineMax) return r_.fail_at("too many types in this process", at);
      m_.types.push_back(number);
      m_.type_of.push_back(&m_.registry->type(number));
    }
  }

  void imports() {
    std::uint32_t count = r_.count(kImportsMax, 4, "too many imports");
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      Import import;
      import.module = name();
      import.name = name();
      const std::uint8_t* at = r_.at();
      std::uint8_t kind = r_.byte();
      if (kind > 4) return r_.fail_at("malformed import kind", at);
      import.kind = static_cast<ExternKind>(kind);
      switch (import.kind) {
        case ExternKind::kFunction: import.index = m_.imported_functions++, add_function(type_index(), true); break;
        case ExternKind::kTable: import.index = m_.imported_tables++, m_.tables.push_back({table_type(), std::nullopt}); break;
        case ExternKind::kMemory: import.index = m_.imported_memories++, m_.memories.push_back(limits(true)); break;
        case ExternKind::kGlobal: import.index = m_.imported_globals++, m_.globals.push_back({global_type(), {}}); break;
        case ExternKind::kTag: import.index = m_.imported_tags++, add_tag(); break;
      }
      m_.imports.push_back(import);
    }
  }

  void tables() {
    std::uint32_t count = r_.count(kTablesMax, 3, "too many tables");
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      Table table;
      const std::uint8_t* at = r_.at();
      if (r_.peek() == 0x40) {
        r_.byte();
        if (r_.byte() != 0) return r_.fail_at("malformed table", at);
        table.type = table_type();
        if (!r_.failed()) table.init = validator_.check_constant(r_, table.type.element, m_.imported_globals);
      } else {
        table.type = table_type();
        if (!r_.failed() && !table.type.element.defaultable()) return r_.fail_at("type mismatch: a table of references that cannot be null needs an initial value", at);
      }
      m_.tables.push_back(table);
    }
  }

  void globals() {
    std::uint32_t count = r_.count(kGlobalsMax, 3, "too many globals");
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      Global global{global_type(), {}};
      if (r_.failed()) return;
      global.init = validator_.check_constant(r_, global.type.type, constant_globals());
      m_.globals.push_back(global);
    }
  }

  void exports() {
    std::uint32_t count = r_.count(kExportsMax, 3, "too many exports");
    std::unordered_set<std::string_view> seen;
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      const std::uint8_t* at = r_.at();
      Export e{.name = name()};
      std::uint8_t kind = r_.byte();
      e.index = r_.u32();
      if (r_.failed()) return;
      if (kind > 4) return r_.fail_at("malformed export kind", at);
      e.kind = static_cast<ExternKind>(kind);
      const std::size_t sizes[] = {m_.functions.size(), m_.tables.size(), m_.memories.size(), m_.globals.size(), m_.tags.size()};
      static constexpr const char* kUnknown[] = {"unknown function", "unknown table", "unknown memory", "unknown global", "unknown tag"};
      if (e.index >= sizes[kind]) return r_.fail_at(kUnknown[kind], at);
      if (!seen.insert(e.name).second) return r_.fail_at("duplicate export name", at);
      if (e.kind == ExternKind::kFunction) m_.declared[e.index] = true;
      m_.exports.push_back(e);
    }
  }

  void elements() {
    std::uint32_t count = r_.count(kElementSegmentsMax, 2, "too many element segments");
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      const std::uint8_t* at = r_.at();
      std::uint32_t flags = r_.u32();
      if (flags > 7) return r_.fail_at("malformed elements segment kind", at);
      ElementSegment s;
      s.type = kFuncRef;
      bool expressions = (flags & 4) != 0;
      s.mode = (flags & 1) == 0 ? SegmentMode::kActive : (flags & 2) != 0 ? SegmentMode::kDeclared : SegmentMode::kPassive;
      if (s.mode == SegmentMode::kActive) {
        if (flags & 2) s.table = r_.u32();
        if (!r_.failed() && s.table >= m_.tables.size()) return r_.fail_at("unknown table", at);
        if (r_.failed()) return;
        s.offset = validator_.check_constant(r_, m_.tables[s.table].type.limits.is64 ? kI64 : kI32, constant_globals());
      }
      if (flags & 3) {
        if (expressions) s.type = read_value_type(r_, m_);
        else if (r_.byte() != 0) return r_.fail_at("malformed element kind", at);
        if (!r_.failed() && !s.type.is_ref()) return r_.fail_at("malformed reference type", at);
      }
      if (!expressions) s.type = make_ref(kHeapFunc, false);
      if (expressions && (flags & 3) == 0) s.type = kFuncRef;
      std::uint32_t n = r_.count(kElementsMax, 1, "too many elements");
      if (expressions) s.expressions.reserve(n);
      else s.functions.reserve(n);
      for (std::uint32_t k = 0; k < n && !r_.failed(); ++k) {
        if (expressions) {
          s.expressions.push_back(validator_.check_constant(r_, s.type, constant_globals()));
        } else {
          std::uint32_t f = r_.u32();
          if (r_.failed()) return;
          if (f >= m_.functions.size()) return r_.fail_at("unknown function", at);
          m_.declared[f] = true;
          s.functions.push_back(f);
        }
      }
      if (!r_.failed() && s.mode == SegmentMode::kActive && !matches(s.type, m_.tables[s.table].type.element)) return r_.fail_at("type mismatch: elements do not fit the table", at);
      m_.elements.push_back(std::move(s));
    }
  }

  void code() {
    const std::uint8_t* at = r_.at();
    std::uint32_t count = r_.u32();
    if (!r_.failed() && count != m_.functions.size() - m_.imported_functions) return r_.fail_at("function and code section have inconsistent lengths", at);
    bool check = known_ == nullptr || !known_->were_checked(m_);
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      current_ = m_.imported_functions + i;
      at = r_.at();
      std::uint32_t size = r_.u32();
      if (size > kFunctionBytesMax) return r_.fail_at("function body too large", at);
      std::uint32_t from = static_cast<std::uint32_t>(r_.offset());
      std::span<const std::uint8_t> body = r_.bytes(size);
      if (r_.failed()) return;
      Function& function = m_.functions[current_];
      function.body = {from, from + size};
      if (!check) continue;
      Reader reader(m_.bytes.data(), body.data(), body.data() + body.size());
      validator_.check_function(reader, function, *m_.function_types[current_]);
      if (reader.failed()) return r_ = reader, void();
    }
    if (!r_.failed()) current_ = ~0u;
  }

  void data() {
    const std::uint8_t* at = r_.at();
    std::uint32_t count = r_.count(kDataSegmentsMax, 2, "too many data segments");
    if (m_.data_count && *m_.data_count != count) return r_.fail_at("data count and data section have inconsistent lengths", at);
    for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) {
      at = r_.at();
      std::uint32_t flags = r_.u32();
      if (flags > 2) return r_.fail_at("malformed data segment kind", at);
      DataSegment s;
      s.mode = flags == 1 ? SegmentMode::kPassive : SegmentMode::kActive;
      if (flags == 2) s.memory = r_.u32();
      if (s.mode == SegmentMode::kActive && !r_.failed()) {
        if (s.memory >= m_.memories.size()) return r_.fail_at("unknown memory", at);
        s.offset = validator_.check_constant(r_, m_.memories[s.memory].is64 ? kI64 : kI32, constant_globals());
      }
      std::uint32_t size = r_.u32();
      std::uint32_t from = static_cast<std::uint32_t>(r_.offset());
      r_.bytes(size);
      s.bytes = {from, from + size};
      m_.data.push_back(s);
    }
  }

  void section(std::uint8_t id) {
    switch (id) {
      case kCustom: {
        std::string_view title = name();
        if (r_.failed()) return;
        std::uint32_t from = static_cast<std::uint32_t>(r_.offset());
        m_.custom.emplace_back(title, Range{from, static_cast<std::uint32_t>(from + r_.left())});
        r_.bytes(r_.left());
        return;
      }
      case kType: return types();
      case kImport: return imports();
      case kFunction: {
        std::uint32_t count = r_.count(kFunctionsMax, 1, "too many functions");
        m_.functions.reserve(m_.functions.size() + count);
        for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) add_function(type_index(), false);
        return;
      }
      case kTable: return tables();
      case kMemory: {
        std::uint32_t count = r_.count(kMemoriesMax, 2, "too many memories");
        for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) m_.memories.push_back(limits(true));
        return;
      }
      case kTag: {
        std::uint32_t count = r_.count(kTagsMax, 2, "too many tags");
        for (std::uint32_t i = 0; i < count && !r_.failed(); ++i) add_tag();
        return;
      }
      case kGlobal: return globals();
      case kExport: return exports();
      case kStart: {
        const std::uint8_t* at = r_.at();
        std::uint32_t index = r_.u32();
        if (r_.failed()) return;
        if (index >= m_.functions.size()) return r_.fail_at("unknown function", at);
        const FuncType& type = *m_.function_types[index];
        if (!type.params.empty() || !type.results.empty()) return r_.fail_at("start function must take and give nothing", at);
        m_.start = index;
        return;
      }
      case kElement: return elements();
      case kDataCount: m_.data_count = r_.u32(); return;
      case kCode: return code();
      case kData: return data();
      default: return;
    }
  }

  ModuleData& m_;
  KnownBodies* known_;
  Validator validator_;
  Reader r_;
  std::uint8_t section_ = kCustom;
  std::uint32_t current_ = ~0u;  // function whose body is looked at
};

}  // namespace

void fail_garbage_collection(Reader& r) { r.fail("garbage collection (struct, array, i31, any) is not supported"); }

std::uint32_t read_heap_type(Reader& r, const ModuleData& m) {
  const std::uint8_t* at = r.at();
  std::int64_t code = r.s33();
  if (r.failed()) return kHeapFunc;
  if (code >= 0) {
    auto index = static_cast<std::uint32_t>(code);
    if (index < m.types.size()) return m.types[index];
    if (m.defining_type && index == m.types.size()) return TypeRegistry::kSelf;
    return r.fail_at("unknown type", at), kHeapFunc;
  }
  std::uint32_t byte = static_cast<std::uint32_t>(code & 0x7f);
  if (byte >= 0x6a && byte <= 0x6e) return r.fail_at("garbage collection types (any, eq, i31, struct, array) are not supported", at), kHeapFunc;
  std::uint32_t heap = kHeapAbstract | byte;
  if (code < -64 || (heap != kHeapFunc && heap != kHeapExtern && heap != kHeapExn && heap != kHeapNoFunc && heap != kHeapNoExtern && heap != kHeapNoExn)) return r.fail_at("malformed heap type", at), kHeapFunc;
  return heap;
}

ValType read_value_type(Reader& r, const ModuleData& m) {
  const std::uint8_t* at = r.at();
  std::uint8_t code = r.byte();
  if (code >= 0x7b && code <= 0x7f) return {code};
  if (code == 0x63 || code == 0x64) return make_ref(read_heap_type(r, m), code == 0x63);
  std::uint32_t heap = kHeapAbstract | code;
  if (heap == kHeapFunc || heap == kHeapExtern || heap == kHeapExn || heap == kHeapNoFunc || heap == kHeapNoExtern || heap == kHeapNoExn) return make_ref(heap, true);
  if ((code >= 0x6a && code <= 0x6e) || code == 0x71) return r.fail_at("garbage collection types (any, eq, i31, struct, array) are not supported", at), kI32;
  if (!r.failed()) r.fail_at("malformed value type", at);
  return kI32;
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    auto b = static_cast<std::uint8_t>(text[i++]);
    if (b < 0x80) continue;
    int more = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
    if (b < 0xc2 || b > 0xf4 || text.size() - i < static_cast<std::size_t>(more)) return false;
    std::uint32_t point = b & (0x3fu >> more);
    for (int k = 0; k < more; ++k) {
      auto c = static_cast<std::uint8_t>(text[i++]);
      if ((c & 0xc0) != 0x80) return false;
      point = point << 6 | (c & 0x3f);
    }
    if ((more == 2 && point < 0x800) || (more == 3 && (point < 0x10000 || point > 0x10ffff)) || (point >= 0xd800 && point <= 0xdfff)) return false;
  }
  return true;
}

std::string_view ModuleData::function_name(std::uint32_t index) const {
  std::call_once(names_read_, [this] {
    for (const auto& [title, range] : custom) {
      if (title != "name") continue;
      Reader r(bytes.data(), bytes.data() + range.from, bytes.data() + range.to);
      while (!r.done() && !r.failed()) {
        std::uint8_t id = r.byte();
        std::span<const std::uint8_t> body = r.bytes(r.u32());
        if (r.failed() || id != 1) continue;
        Reader list(bytes.data(), body.data(), body.data() + body.size());
        std::uint32_t count = list.count(kFunctionsMax, 2, "too many names");
        for (std::uint32_t i = 0; i < count; ++i) {
          std::uint32_t function = list.u32();
          std::span<const std::uint8_t> text = list.bytes(list.u32());
          if (list.failed()) break;  // a bad name section is no error: names end here
          if (function >= functions.size()) continue;
          if (names_.size() <= function) names_.resize(function + 1);
          names_[function] = {reinterpret_cast<const char*>(text.data()), text.size()};
        }
      }
    }
  });
  return index < names_.size() ? names_[index] : std::string_view();
}

std::string ModuleData::describe_function(std::uint32_t index) const {
  std::string_view given = function_name(index);
  if (!given.empty() && given.size() <= 1000 && is_valid_utf8(given)) return cat("$", given);
  for (const Export& e : exports)
    if (e.kind == ExternKind::kFunction && e.index == index && e.name.size() <= 1000) return cat("function ", index, " (export \"", e.name, "\")");
  return cat("function ", index);
}

Result<std::shared_ptr<ModuleData>> decode_module(std::shared_ptr<TypeRegistry> registry, std::vector<std::uint8_t> bytes, Level level, KnownBodies* known) {
  if (bytes.size() > kModuleBytesMax) return fail(Code::kResourceExhausted, cat("wasm module: ", bytes.size(), " bytes, the most is ", kModuleBytesMax));
  auto module = std::make_shared<ModuleData>();
  module->level = level;
  module->registry = std::move(registry);
  module->bytes = std::move(bytes);
  TRY(Decoder(*module, known).run());
  return module;
}

}  // namespace monopod::wasm
