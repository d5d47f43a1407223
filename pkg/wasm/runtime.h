// What exists at run time: functions, tables, memories, globals, and the state of the machine that executes. Internal to the package; users see engine.h.
//
//   Store ── Machine (stack, fuel, interrupt)              one thread of execution at a time
//     └─ Instance ── Vm: entries[] ─► register code of the module (shared by instances, made when first called)
//                        functions[], tables[], memories[], globals[] ─► objects, own or imported
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "wasm/module.h"

namespace monopod::wasm {

struct Insn;
struct Vm;
struct CodeCache;
class Tier;
class Store;
class Pool;
class Caller;

enum class Trap : std::uint8_t {
  kNone, kUnreachable, kMemory, kTable, kDivideByZero, kOverflow, kConversion, kUninitialized, kUndefined, kSignature, kNullReference, kStack, kFuel, kInterrupted,
  kException, kHost, kLimit, kExit,  // kException: unwinding; kExit: no error, the guest asked to end
};
std::string_view trap_text(Trap trap);  // the wording of the core specification's test suite

// A host function as the machine calls it: arguments in slots, results to the same place. A trap is raised through caller.
using HostCall = void (*)(Caller& caller, void* data, std::uint64_t* slots);

struct FunctionObject {
  std::uint32_t type = 0;   // number in the registry
  std::uint32_t index = 0;  // in the module of vm
  Vm* vm = nullptr;         // null: of the host
  HostCall host = nullptr;
  void* data = nullptr;
  const FuncType* signature = nullptr;
  const std::atomic<const void*>* native = nullptr;  // where the address of its compiled entry stands; never null where any code is compiled
  std::string name;  // of host functions, for backtraces
};

struct TableObject {
  TableType type;
  std::uint64_t elements_max = 0;  // of the type and the store's limit
  std::vector<std::uint64_t> elements;
  // The same, for compiled code.
  std::uint64_t* data = nullptr;
  std::uint64_t size = 0;
  void resize(std::uint64_t count, std::uint64_t value) {
    elements.resize(count, value);
    data = elements.data();
    size = count;
  }
};

// Linear memory: a reservation of addresses, of which the first `bytes` are accessible. Never moves.
struct MemoryObject {
  SizeLimits type;
  std::uint8_t* base = nullptr;
  std::uint64_t bytes = 0;
  std::uint64_t reserved = 0;
  std::uint64_t pages_max = 0;
  std::uint64_t accessible = 0;  // bytes, or more of a range that was used before
  bool fresh = false;            // nobody has touched its pages before this instance
  bool maps_files = false;       // some of its pages are a file's: nobody gets the range afterwards
  bool guarded = false;          // whatever 32 bits of address and kGuardBytes of offset reach is reserved: behind `bytes` is nothing but a fault
  Pool* pool = nullptr;
  ~MemoryObject();
  MemoryObject() = default;
  MemoryObject(const MemoryObject&) = delete;
  MemoryObject& operator=(const MemoryObject&) = delete;
  static Result<std::unique_ptr<MemoryObject>> make(const SizeLimits& type, std::uint64_t pages_max, Pool* pool);  // pool: may be null, outlives it
  bool grow(std::uint64_t pages);  // false: past the limit, or no memory; nothing changed
  Result<> map(std::uint64_t offset, int fd, std::uint64_t from, std::uint64_t count, bool shared);  // Memory::map()
  Result<> unmap(std::uint64_t offset, std::uint64_t count);
};

struct GlobalObject {
  GlobalType type;
  alignas(16) std::uint64_t value[2] = {};
};

struct TagObject {
  std::uint32_t type = 0;
};

struct ExceptionObject {
  const TagObject* tag = nullptr;
  std::vector<std::uint64_t> payload;
  const std::uint64_t* values = nullptr;  // the same, for compiled code
  bool marked = false;
};

// An activation when a trap ended it: at this byte of the module.
struct TrapFrame {
  const ModuleData* module = nullptr;
  std::uint32_t function = 0, offset = 0;
};
inline constexpr std::size_t kTrapFramesMax = 10'000;

// The same for people: what repeats, as recursion does, is counted.
struct BacktraceLine {
  const ModuleData* module = nullptr;
  std::uint32_t function = 0, offset = 0;
  std::uint64_t repeats = 0;
  const FunctionObject* host = nullptr;  // of the host; else null
};
inline constexpr std::size_t kBacktraceLinesMax = 50;

// A store's thread of execution.
struct Machine {
  std::uint64_t* stack = nullptr;
  std::uint64_t* stack_end = nullptr;
  // Frames end here. An interruption makes it null, so that function entries ask one question.
  std::atomic<std::uint64_t*> stack_limit{nullptr};
  std::uint64_t* sp = nullptr;       // free from here on, for the next entry
  std::atomic<std::uint32_t> interrupt{0};
  std::int64_t fuel = 0;
  std::uint32_t depth = 0;           // entries on the host's stack
  Trap trap = Trap::kNone;
  const Insn* trap_ip = nullptr;
  std::uint64_t* trap_fp = nullptr;
  ExceptionObject* exception = nullptr;
  std::string message;               // of kHost and kLimit
  std::vector<BacktraceLine> backtrace;  // the innermost first; one more than the most where there are others
  std::vector<TrapFrame> trap_frames;  // the innermost first
  std::int32_t exit_code = 0;
  Store* store = nullptr;
  std::size_t stack_bytes = 0;
  std::atomic<Vm*> vms{nullptr};     // of all instances, for interruptions; only added to
  // Of compiled code, which runs on the host's stack.
  void* native_frame = nullptr;      // where the innermost entry into it saved what a trap restores
  std::uintptr_t native_floor = 0;   // its frames stay above
  std::uintptr_t native_base = 0;    // where the outermost of its runs began
  std::uintptr_t fault_address = 0;  // of the last signal
  bool rethrown = false;             // the backtrace is of an exception that a frame of compiled code, its last line, caught, and may throw again
  // What returned ended in a tail call, of this: its arguments are where the results would be. Whoever sees it calls it, without what returned on the stack.
  const FunctionObject* tail = nullptr;
};

// What the engines see of an instance.
struct Vm {
  const std::atomic<const Insn*>* entries = nullptr;  // of the module's own functions, by index over all functions
  FunctionObject** functions = nullptr;
  std::uint64_t** globals = nullptr;
  TableObject** tables = nullptr;
  MemoryObject** memories = nullptr;
  const std::atomic<std::uint64_t*>* stack_limit = nullptr;
  const std::atomic<std::uint32_t>* interrupt = nullptr;
  Machine* machine = nullptr;
  TagObject** tags = nullptr;
  std::vector<bool> data_dropped;
  std::vector<bool> elements_dropped;
  const ModuleData* module = nullptr;
  CodeCache* code = nullptr;

  // What compiled code reads.
  std::uint8_t* memory_base = nullptr;  // of memory 0
  MemoryObject* memory = nullptr;
  TableObject* table = nullptr;         // 0
  std::uint64_t* table_data = nullptr;  // its elements, for code of modules in which it cannot grow: there they never move
  const std::atomic<const void*>* natives = nullptr;  // entries by index over all functions; null for imports
  const std::atomic<const void*>* foreigns = nullptr; // by type index: for functions of the host and of other instances
  const void* const* helpers = nullptr;               // what machine code calls: it holds no address itself, so that it can be kept in a file
  std::atomic<const void*> epoch{this};               // read at loop heads: an interruption makes it an address that cannot be
  std::atomic<std::uintptr_t> native_limit{~std::uintptr_t{0}};  // of the stack pointer, at function entries; all ones: stop
  const FunctionObject* callee = nullptr;             // of an indirect call under way
  // Of a tail call under way: where to go, what is passed on the host's stack, where the caller's results belong.
  const void* tail_target = nullptr;
  std::uint64_t* tail_slots = nullptr;
  std::uint64_t tail_words[8] = {};
  ExceptionObject* caught = nullptr;                  // set where a call ends with it that stands in a try block of compiled code: asked for behind such calls
  std::int64_t fuel = 0;                              // the machine's, while compiled code of this instance runs
  Tier* tier = nullptr;                               // null: this module is interpreted only
  std::uint32_t warm = 0;
  std::atomic<std::uint32_t>* heat = nullptr;         // by function, where the interpreter counts; see kCallHeat
  Vm* next = nullptr;                                 // of Machine::vms

  std::vector<FunctionObject> own_functions;
  std::vector<FunctionObject*> function_list;
  std::vector<std::uint64_t*> global_list;
  std::vector<GlobalObject*> global_objects;
  std::vector<TableObject*> table_list;
  std::vector<MemoryObject*> memory_list;
  std::vector<TagObject*> tag_list;
};

// The seam between the engines: the interpreter runs everything, a compiler takes over what it can, function by function, and neither knows the other but
// through this. Code is of a module, shared by its instances. Any thread, but for what concerns one instance.
class Tier {
 public:
  enum class Outcome { kNotReady, kDone, kFailed, kTail };  // kFailed: machine.trap says why; kTail: machine.tail says how it goes on
  virtual ~Tier() = default;
  virtual void attach(Vm& vm) = 0;  // a new instance, its memories made
  // Runs a function with its arguments at slots, machine.sp beyond them; results replace them. kNotReady: there is no code for it, nothing was done.
  virtual Outcome call(Vm& vm, std::uint32_t function, std::uint64_t* slots) = 0;
  // Goes on with an activation that stands in its frame at a loop head (the byte of the module where its `loop` is); its results are where its arguments were.
  virtual Outcome enter_loop(Vm& vm, std::uint32_t function, std::uint32_t loop, std::uint64_t* frame) = 0;
  virtual void warm(Vm& vm, std::uint32_t function) = 0;  // called often
  // Compiles all that can be, now, for memories as they usually are: ahead of the first request. Returns how many bytes of the module that is.
  virtual std::size_t compile_all() = 0;
  virtual std::size_t functions_compiled() const = 0;     // so far
  virtual std::size_t bytes() const = 0;                  // of machine code
  // What is compiled so far, for memories as they usually are, as bytes that adopt() of the same build takes back; empty where that is nothing, or cannot be.
  virtual std::string snapshot() const = 0;
  // In place of compiling, before anything else was. snapshot: as it was written, mapped from offset (whole pages) of a file that nobody will change; it is mapped
  // to run in place. False: it is not of this module, or there is no executable memory; nothing was done.
  virtual bool adopt(std::span<const std::uint8_t> snapshot, int fd, std::uint64_t offset) = 0;
};
// Counted by the interpreter where a tier stands behind it: loop heads once, calls kCallHeat times. From Vm::warm on the tier is told.
inline constexpr std::uint32_t kCallHeat = 10;

// Interprets a function of vm's own module, as call_function does; but it may leave a machine.tail.
bool interpret(Vm& vm, std::uint32_t function, std::uint64_t* slots);
// Calls of the host (from: the calling instance), and of the host or another instance; arguments and results at slots, which may be anywhere.
bool call_host(Machine& machine, Vm* from, const FunctionObject& function, std::uint64_t* slots);
bool call_object(Vm& vm, const FunctionObject& function, std::uint64_t* slots);
// Calls from interpreted code of this function go to the tier from now on (true), or no longer do.
void divert(CodeCache& code, std::uint32_t function, bool to_tier);
// An address that faults when read, for Vm::epoch.
const void* forbidden_address();
void stop(Machine& machine);  // compiled code of all instances, at the next loop or call; and
void go_on(Machine& machine);

// Runs a function with its arguments at slots (on the machine's stack, machine.sp beyond them); results replace them. The reason is in machine.trap
// where it fails.
bool call_function(Machine& machine, const FunctionObject& function, std::uint64_t* slots);

// Where something left a machine.tail, calls it. slots: as call_function's, and what was left has its arguments there.
bool follow_tail(Machine& machine, std::uint64_t* slots);

// A constant expression, checked before. functions, globals: of the instance in the making.
void evaluate(const Vm& vm, Range expression, std::uint64_t out[2]);

// One definition of what bulk instructions, start-up and the host do.
bool memory_init(Vm& vm, std::uint32_t segment, std::uint32_t memory, std::uint64_t to, std::uint64_t from, std::uint64_t count);
bool table_init(Vm& vm, std::uint32_t segment, std::uint32_t table, std::uint64_t to, std::uint64_t from, std::uint64_t count);
std::uint64_t table_grow(TableObject& table, std::uint64_t count, std::uint64_t value);  // the old size, or all ones

// Before a failure is told that is none of an exception that was caught: what the backtrace has is of that one.
inline void forget_caught(Machine& machine) {
  if (!machine.rethrown) return;
  machine.rethrown = false;
  machine.backtrace.clear();
  machine.trap_frames.clear();
}

ExceptionObject* make_exception(Machine& machine, const TagObject* tag, const std::uint64_t* payload, std::uint32_t slots);

}  // namespace monopod::wasm
