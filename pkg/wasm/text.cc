#include "wasm/text.h"

#include <bit>
#include <charconv>

#include "base/strings.h"
#include "wasm/dwarf/source_map.h"
#include "wasm/ops.h"

namespace monopod::wasm {
namespace {

constexpr std::size_t kSourcesShown = 1'000;

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    auto b = static_cast<std::uint8_t>(c);
    if (b < 0x20 || b >= 0x7f || c == '"' || c == '\\') out += cat('\\', kHex[b >> 4], kHex[b & 15]);
    else out += c;
  }
  return out + "\"";
}

std::string limits_text(const SizeLimits& l) { return cat(l.is64 ? "i64 " : "", l.min, l.has_max ? cat(" ", l.max) : std::string()); }
std::string global_text(const GlobalType& g) { return g.is_mutable ? cat("(mut ", format_type(g.type), ")") : format_type(g.type); }
std::string signature_text(const FuncType& t) {
  std::string out;
  for (ValType p : t.params) out += cat(" (param ", format_type(p), ")");
  for (ValType r : t.results) out += cat(" (result ", format_type(r), ")");
  return out;
}

template <typename F, typename Bits>
std::string float_text(Bits bits) {
  auto value = std::bit_cast<F>(bits);
  if (value != value) {
    char text[32];
    auto [end, ec] = std::to_chars(text, text + sizeof text, bits & ((Bits{1} << (sizeof(F) == 4 ? 23 : 52)) - 1), 16);
    return cat(bits >> (sizeof(Bits) * 8 - 1) != 0 ? "-" : "", "nan:0x", std::string_view(text, end));
  }
  char text[64];
  auto [end, ec] = std::to_chars(text, text + sizeof text, value, std::chars_format::hex);
  std::string out(text, end);
  if (out == "inf" || out == "-inf") return out;
  out.insert(out.front() == '-' ? 1 : 0, "0x");
  return out;
}

class Disassembler {
 public:
  explicit Disassembler(const ModuleData& m) : m_(m) {}

  std::string function(std::uint32_t index) {
    const Function& f = m_.functions[index];
    std::string out = cat("  (func (;", index, ";)", m_.function_name(index).empty() ? "" : cat(" (; ", quoted(m_.function_name(index)), " ;)"), signature_text(*m_.function_types[index]));
    Reader r(m_.bytes.data(), m_.bytes.data() + f.body.from, m_.bytes.data() + f.body.to);
    for (std::uint32_t groups = r.u32(); groups-- > 0;) {
      std::uint32_t count = r.u32();
      ValType type = read_value_type(r, m_);
      if (count == 0) continue;
      out += "\n    (local";
      for (std::uint32_t i = 0; i < count; ++i) out += cat(" ", format_type(type));
      out += ")";
    }
    depth_ = 2;
    while (!r.done() && !r.failed()) {
      if (r.peek() == kEnd && r.left() == 1) break;
      out += line(r);
    }
    return out + ")\n";
  }

  std::string constant(Range range) {
    Reader r(m_.bytes.data(), m_.bytes.data() + range.from, m_.bytes.data() + range.to);
    std::string out;
    depth_ = 0;
    while (!r.done() && !r.failed()) out += cat(out.empty() ? "" : " ", line(r).substr(1));
    return out;
  }

 private:
  std::string line(Reader& r) {
    std::uint8_t code = r.byte();
    if ((code == kEnd || code == kElse) && depth_ > 0) --depth_;
    std::string out = cat("\n", std::string(std::min<std::size_t>(depth_, 100) * 2, ' '), instruction(r, code));
    if (code == kBlock || code == kLoop || code == kIf || code == kElse || code == kTryTable) ++depth_;
    return out;
  }

  std::string block_type(Reader& r) {
    std::uint8_t first = r.peek();
    if (first == 0x40) return r.byte(), "";
    if ((first & 0xc0) == 0x40) return cat(" (result ", format_type(read_value_type(r, m_)), ")");
    return cat(" (type ", r.s33(), ")");
  }

  std::string memory_immediates(Reader& r, const Op& op) {
    std::string out;
    std::uint32_t flags = r.u32();
    std::uint32_t memory = (flags & 0x40) != 0 ? r.u32() : 0;
    if (memory != 0) out += cat(" ", memory);
    std::uint64_t offset = m_.memories[memory].is64 ? r.u64() : r.u32();
    if (offset != 0) out += cat(" offset=", offset);
    if ((flags & 0x3f) != natural_alignment(op.immediates)) out += cat(" align=", std::uint64_t{1} << (flags & 0x3f));
    return out;
  }

  std::string simple(Reader& r, const Op& op) {
    std::string out = op.name != nullptr ? op.name : "?";
    if (is_memory(op.immediates)) out += memory_immediates(r, op);
    if (has_lane(op.immediates)) out += cat(" ", std::uint32_t{r.byte()});
    return out;
  }

  std::string instruction(Reader& r, std::uint8_t code) {
    auto one = [&r](std::string_view name) { return cat(name, " ", r.u32()); };
    auto two = [&r](std::string_view name) {
      std::uint32_t a = r.u32(), b = r.u32();
      return cat(name, " ", a, " ", b);
    };
    switch (code) {
      case kUnreachable: return "unreachable";
      case kNop: return "nop";
      case kBlock: return "block" + block_type(r);
      case kLoop: return "loop" + block_type(r);
      case kIf: return "if" + block_type(r);
      case kElse: return "else";
      case kEnd: return "end";
      case kTryTable: {
        std::string out = "try_table" + block_type(r);
        for (std::uint32_t n = r.u32(); n-- > 0;) {
          static constexpr const char* kClauses[] = {"catch", "catch_ref", "catch_all", "catch_all_ref"};
          std::uint8_t kind = r.byte() & 3;
          std::string tag = kind < 2 ? cat(" ", r.u32()) : std::string();
          out += cat(" (", kClauses[kind], tag, " ", r.u32(), ")");
        }
        return out;
      }
      case kThrow: return one("throw");
      case kThrowRef: return "throw_ref";
      case kBr: return one("br");
      case kBrIf: return one("br_if");
      case kBrTable: {
        std::string out = "br_table";
        for (std::uint32_t n = r.u32() + 1; n-- > 0;) out += cat(" ", r.u32());
        return out;
      }
      case kReturn: return "return";
      case kCall: return one("call");
      case kReturnCall: return one("return_call");
      case kCallIndirect:
      case kReturnCallIndirect: {
        std::uint32_t type = r.u32(), table = r.u32();
        return cat(code == kCallIndirect ? "call_indirect " : "return_call_indirect ", table, " (type ", type, ")");
      }
      case kCallRef: return one("call_ref");
      case kReturnCallRef: return one("return_call_ref");
      case kDrop: return "drop";
      case kSelect: return "select";
      case kSelectTyped: {
        std::string out = "select";
        for (std::uint32_t n = r.u32(); n-- > 0;) out += cat(" (result ", format_type(read_value_type(r, m_)), ")");
        return out;
      }
      case kLocalGet: return one("local.get");
      case kLocalSet: return one("local.set");
      case kLocalTee: return one("local.tee");
      case kGlobalGet: return one("global.get");
      case kGlobalSet: return one("global.set");
      case kTableGet: return one("table.get");
      case kTableSet: return one("table.set");
      case kMemorySize: return one("memory.size");
      case kMemoryGrow: return one("memory.grow");
      case kI32Const: return cat("i32.const ", r.s32());
      case kI64Const: return cat("i64.const ", r.s64());
      case kF32Const: return cat("f32.const ", float_text<float>(r.raw<std::uint32_t>()));
      case kF64Const: return cat("f64.const ", float_text<double>(r.raw<std::uint64_t>()));
      case kRefNull: return cat("ref.null ", format_type(make_ref(read_heap_type(r, m_), true)));
      case kRefIsNull: return "ref.is_null";
      case kRefFunc: return one("ref.func");
      case kRefAsNonNull: return "ref.as_non_null";
      case kBrOnNull: return one("br_on_null");
      case kBrOnNonNull: return one("br_on_non_null");
      case kPrefixByteMisc: {
        std::uint32_t sub = r.u32();
        if (sub < 8) return simple(r, kOps.misc[sub]);
        switch (sub) {
          case kMemoryInit: return two("memory.init");
          case kDataDrop: return one("data.drop");
          case kMemoryCopy: return two("memory.copy");
          case kMemoryFill: return one("memory.fill");
          case kTableInit: return two("table.init");
          case kElemDrop: return one("elem.drop");
          case kTableCopy: return two("table.copy");
          case kTableGrow: return one("table.grow");
          case kTableSize: return one("table.size");
          default: return one("table.fill");
        }
      }
      case kPrefixByteSimd: {
        std::uint32_t sub = r.u32();
        if (sub != kV128Const && sub != kI8x16Shuffle) return simple(r, kOps.simd[sub % kSimdOps]);
        std::string out = sub == kV128Const ? "v128.const i8x16" : "i8x16.shuffle";
        for (std::uint8_t b : r.bytes(16)) out += cat(" ", std::uint32_t{b});
        return out;
      }
      default: return simple(r, kOps.plain[code]);
    }
  }

  const ModuleData& m_;
  std::size_t depth_ = 0;
};

std::string import_text(const ModuleData& m, const Import& i) {
  switch (i.kind) {
    case ExternKind::kFunction: return cat("(func", signature_text(*m.function_types[i.index]), ")");
    case ExternKind::kTable: return cat("(table ", limits_text(m.tables[i.index].type.limits), " ", format_type(m.tables[i.index].type.element), ")");
    case ExternKind::kMemory: return cat("(memory ", limits_text(m.memories[i.index]), ")");
    case ExternKind::kGlobal: return cat("(global ", global_text(m.globals[i.index].type), ")");
    case ExternKind::kTag: break;
  }
  return cat("(tag", signature_text(m.registry->type(m.tags[i.index])), ")");
}

constexpr std::string_view kKinds[] = {"func", "table", "memory", "global", "tag"};

}  // namespace

std::string disassemble(const Module& module, std::optional<std::uint32_t> only) {
  const ModuleData& m = module.data();
  Disassembler d(m);
  if (only) return d.function(*only);
  std::string out = "(module\n";
  for (std::size_t i = 0; i < m.types.size(); ++i) out += cat("  (type (;", i, ";) (func", signature_text(*m.type_of[i]), "))\n");
  for (const Import& i : m.imports) out += cat("  (import ", quoted(i.module), " ", quoted(i.name), " ", import_text(m, i), ")\n");
  for (std::size_t i = m.imported_tables; i < m.tables.size(); ++i) out += cat("  (table (;", i, ";) ", limits_text(m.tables[i].type.limits), " ", format_type(m.tables[i].type.element), ")\n");
  for (std::size_t i = m.imported_memories; i < m.memories.size(); ++i) out += cat("  (memory (;", i, ";) ", limits_text(m.memories[i]), ")\n");
  for (std::size_t i = m.imported_tags; i < m.tags.size(); ++i) out += cat("  (tag (;", i, ";)", signature_text(m.registry->type(m.tags[i])), ")\n");
  for (std::size_t i = m.imported_globals; i < m.globals.size(); ++i) out += cat("  (global (;", i, ";) ", global_text(m.globals[i].type), " ", d.constant(m.globals[i].init), ")\n");
  for (const Export& e : m.exports) out += cat("  (export ", quoted(e.name), " (", kKinds[static_cast<std::size_t>(e.kind)], " ", e.index, "))\n");
  if (m.start) out += cat("  (start ", *m.start, ")\n");
  for (std::uint32_t i = m.imported_functions; i < m.functions.size(); ++i) out += d.function(i);
  for (const ElementSegment& s : m.elements) {
    out += s.mode == SegmentMode::kActive ? cat("  (elem (table ", s.table, ") (offset ", d.constant(s.offset), ")") : s.mode == SegmentMode::kDeclared ? std::string("  (elem declare") : std::string("  (elem");
    if (s.expressions.empty()) {
      out += " func";
      for (std::uint32_t f : s.functions) out += cat(" ", f);
    } else {
      out += cat(" ", format_type(s.type));
      for (Range e : s.expressions) out += cat(" (item ", d.constant(e), ")");
    }
    out += ")\n";
  }
  for (const DataSegment& s : m.data) {
    out += s.mode == SegmentMode::kActive ? cat("  (data (memory ", s.memory, ") (offset ", d.constant(s.offset), ") ") : std::string("  (data ");
    out += quoted(m.text(s.bytes)) + ")\n";
  }
  return out + ")\n";
}

std::string describe(const Module& module) {
  const ModuleData& m = module.data();
  std::string out = cat("size       ", m.bytes.size(), " bytes, code ", m.code_section.to - m.code_section.from, "\n");
  out += cat("functions  ", m.functions.size(), " (", m.imported_functions, " imported), types ", m.types.size(), ", globals ", m.globals.size(), ", tables ", m.tables.size(), ", tags ", m.tags.size(), "\n");
  out += cat("segments   data ", m.data.size(), ", elements ", m.elements.size(), "\n");
  for (const SizeLimits& l : m.memories) out += cat("memory     ", limits_text(l), " pages of 64 KiB\n");
  if (m.start) out += cat("start      ", m.describe_function(*m.start), "\n");
  for (const Import& i : m.imports) out += cat("import     ", quoted(i.module), " ", quoted(i.name), " ", import_text(m, i), "\n");
  for (const Export& e : m.exports) {
    out += cat("export     ", quoted(e.name), " ", kKinds[static_cast<std::size_t>(e.kind)], " ", e.index);
    if (e.kind == ExternKind::kFunction) out += cat(" ", format_type(*m.function_types[e.index]));
    out += "\n";
  }
  for (const auto& [name, range] : m.custom) out += cat("custom     ", quoted(name), " ", range.to - range.from, " bytes\n");
  for (const dwarf::SourceUnit& unit : dwarf::SourceMap(dwarf::find_sections(m)).units(kSourcesShown)) out += cat("source     ", quoted(unit.name), " (DWARF ", unit.version, ")\n");
  return out;
}

}  // namespace monopod::wasm
