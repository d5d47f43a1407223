// What a module file says, decoded and validated: immutable, shared by every instance of it. Internal to the package; users see engine.h.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wasm/reader.h"
#include "wasm/types.h"

namespace monopod::wasm {

struct Range {  // of the module's bytes
  std::uint32_t from = 0, to = 0;
};

struct SizeLimits {
  std::uint64_t min = 0, max = 0;
  bool has_max = false, is64 = false;
};
struct GlobalType {
  ValType type;
  bool is_mutable = false;
};
struct TableType {
  ValType element;
  SizeLimits limits;
};

enum class ExternKind : std::uint8_t { kFunction = 0, kTable = 1, kMemory = 2, kGlobal = 3, kTag = 4 };

struct Import {
  std::string_view module, name;
  ExternKind kind{};
  std::uint32_t index = 0;  // among those of its kind
};
struct Export {
  std::string_view name;
  ExternKind kind{};
  std::uint32_t index = 0;
};
struct Function {
  std::uint32_t type = 0;  // number in the engine's registry
  Range body;              // declarations of locals and code; empty for imports
  static constexpr std::uint32_t kSlotsUnknown = ~std::uint32_t{0};
  std::uint32_t max_slots = kSlotsUnknown;  // locals and operands at most, recorded by the validator; unknown of a body that was checked before (KnownBodies)
  bool imported = false;
};
struct Global {
  GlobalType type;
  Range init;  // constant expression without its `end`; empty for imports
};
struct Table {
  TableType type;
  std::optional<Range> init;  // of every element; null where absent
};
enum class SegmentMode : std::uint8_t { kActive, kPassive, kDeclared };
struct ElementSegment {
  SegmentMode mode{};
  std::uint32_t table = 0;
  Range offset;
  ValType type;
  std::vector<std::uint32_t> functions;  // one of the two lists
  std::vector<Range> expressions;
  std::size_t size() const { return functions.size() + expressions.size(); }
};
struct DataSegment {
  SegmentMode mode{};
  std::uint32_t memory = 0;
  Range offset;
  Range bytes;
};

// What is accepted: all that the engine knows, or exactly the specification's version 2.0 where the two differ in what is an error (several memories,
// constant expressions over the module's own globals).
enum class Level : std::uint8_t { kCurrent, kCore2 };

struct ModuleData {
  Level level = Level::kCurrent;
  std::vector<std::uint8_t> bytes;
  std::shared_ptr<TypeRegistry> registry;
  std::vector<std::uint32_t> types;  // type index -> number
  std::vector<const FuncType*> type_of;  // number's type, by type index
  std::vector<Import> imports;
  std::vector<Function> functions;
  std::vector<const FuncType*> function_types;  // by function index
  std::vector<Table> tables;
  std::vector<SizeLimits> memories;
  std::vector<Global> globals;
  std::vector<std::uint32_t> tags;  // type numbers
  std::vector<Export> exports;
  std::vector<ElementSegment> elements;
  std::vector<DataSegment> data;
  std::optional<std::uint32_t> start;
  std::optional<std::uint32_t> data_count;
  std::vector<bool> declared;  // functions that ref.func may name
  std::uint32_t imported_functions = 0, imported_tables = 0, imported_memories = 0, imported_globals = 0, imported_tags = 0;
  Range code_section;
  bool defining_type = false;  // while its section is read: a type may name itself
  std::vector<std::pair<std::string_view, Range>> custom;

  std::string_view text(Range r) const { return {reinterpret_cast<const char*>(bytes.data()) + r.from, r.to - r.from}; }
  // From the name section; empty where it says nothing. The section is read at the first question.
  std::string_view function_name(std::uint32_t index) const;
  std::string describe_function(std::uint32_t index) const;  // "$name", "export \"name\"", or "function 3"

 private:
  mutable std::once_flag names_read_;
  mutable std::vector<std::string_view> names_;
};

// Asked once, when everything before the Code section is read: whether these very bytes were validated before, by this build. Bodies are not checked again then.
class KnownBodies {
 public:
  virtual ~KnownBodies() = default;
  virtual bool were_checked(const ModuleData& module) = 0;
};

// Decodes and validates in one pass over the bytes. Errors: kInvalidArgument "… at byte 0x1f in $name: type mismatch: …"; kUnimplemented for proposals that are
// recognised but not supported (garbage collection, threads, legacy exceptions) and for components; kResourceExhausted past a limit of limits.h.
Result<std::shared_ptr<ModuleData>> decode_module(std::shared_ptr<TypeRegistry> registry, std::vector<std::uint8_t> bytes, Level level = Level::kCurrent, KnownBodies* known = nullptr);

// Reads a value type or fails the reader. Type indices become numbers.
ValType read_value_type(Reader& reader, const ModuleData& module);
std::uint32_t read_heap_type(Reader& reader, const ModuleData& module);
void fail_garbage_collection(Reader& reader);
bool is_valid_utf8(std::string_view text);

}  // namespace monopod::wasm
