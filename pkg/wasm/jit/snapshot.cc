#include "wasm/jit/snapshot.h"

#include <algorithm>
#include <cstring>

#include "wasm/jit/tier.h"

// Of the linker: the program's own code.
extern "C" const char __executable_start[], etext[];

namespace monopod::wasm::jit {
namespace {

constexpr std::uint32_t kNone = ~0u;
constexpr std::size_t kPage = 4096;

std::size_t padded(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

class Cutter {
 public:
  explicit Cutter(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  template <typename T>
  bool cut(std::uint32_t count, std::span<const T>& out) {
    std::uint64_t bytes = std::uint64_t{count} * sizeof(T), with_padding = padded(bytes, 4);
    if (with_padding > rest_.size()) return false;
    out = {reinterpret_cast<const T*>(rest_.data()), count};
    rest_ = rest_.subspan(with_padding);
    return true;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

template <typename T>
void append(std::string& out, const std::vector<T>& list) {
  if (!list.empty()) out.append(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(T));
  out.resize(padded(out.size(), 4));
}

// Whether eight bytes anywhere in the code are an address of the code or of the program: that would be wrong in another process.
bool holds_addresses(std::span<const std::uint8_t> code) {
  auto run = reinterpret_cast<std::uintptr_t>(code.data());
  auto text = reinterpret_cast<std::uintptr_t>(&__executable_start), text_end = reinterpret_cast<std::uintptr_t>(&etext);
  for (std::size_t at = 0; at + 8 <= code.size(); ++at) {
    std::uint64_t word = 0;
    std::memcpy(&word, code.data() + at, 8);
    if (word - run < code.size() || word - text < text_end - text) return true;
  }
  return false;
}

}  // namespace

bool parse_snapshot(std::span<const std::uint8_t> bytes, Snapshot& out) {
  if (bytes.size() < sizeof out.head) return false;
  std::memcpy(&out.head, bytes.data(), sizeof out.head);
  const SnapshotHead& h = out.head;
  if (h.code_at % kPage != 0 || h.code_at > bytes.size() || h.code_bytes != bytes.size() - h.code_at || h.code_bytes >= kNone) return false;
  Cutter cutter(bytes.subspan(sizeof h, std::max<std::size_t>(h.code_at, sizeof h) - sizeof h));
  if (!cutter.cut(h.functions, out.natives) || !cutter.cut(h.functions, out.enters) || !cutter.cut(h.types, out.foreigns) || !cutter.cut(h.functions, out.states) ||
      !cutter.cut(h.rows, out.rows) || !cutter.cut(h.places, out.places) || !cutter.cut(h.loops, out.loops))
    return false;
  out.code = bytes.subspan(h.code_at);
  auto inside = [&h](std::uint32_t offset) { return offset == kNone || offset < h.code_bytes; };
  for (std::span<const std::uint32_t> list : {out.natives, out.enters, out.foreigns})
    if (!std::ranges::all_of(list, inside)) return false;
  std::uint64_t before = 0;
  for (const SnapshotRow& row : out.rows) {
    if (row.from < before || row.from >= h.code_bytes || row.bytes > h.code_bytes - row.from || row.function >= h.functions) return false;
    if (row.places_from > h.places || row.places > h.places - row.places_from) return false;
    before = std::uint64_t{row.from} + row.bytes;
  }
  return h.by_slots < h.code_bytes && std::ranges::all_of(out.loops, [&h](const SnapshotLoop& l) { return l.function < h.functions && l.at < h.code_bytes; });
}

std::string NativeCode::snapshot() const {
  std::lock_guard lock(mutex_);
  if (memory_ == nullptr || by_address_.empty()) return {};  // nothing new
  std::span<const std::uint8_t> code(reinterpret_cast<const std::uint8_t*>(memory_->from()), memory_->used());
  if (holds_addresses(code)) return {};
  auto offset = [&code](auto* at) { return at == nullptr ? kNone : static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(code.data())); };
  std::vector<std::uint32_t> natives, enters, foreigns;
  std::vector<std::uint8_t> states;
  for (std::size_t i = 0; i < module.functions.size(); ++i) {
    natives.push_back(offset(natives_[i].load()));
    enters.push_back(offset(enters_[i].load()));
    State s = states_[i].load();
    states.push_back(static_cast<std::uint8_t>(s == State::kQueued ? State::kNone : s));
  }
  for (std::size_t i = 0; i < module.types.size(); ++i) foreigns.push_back(offset(foreigns_[i].load()));
  std::vector<SnapshotRow> rows(adopted_.rows.begin(), adopted_.rows.end());
  std::vector<Place> places(adopted_.places.begin(), adopted_.places.end());
  for (const auto& [from, f] : by_address_) {
    rows.push_back({f.function, offset(reinterpret_cast<const std::uint8_t*>(from)), static_cast<std::uint32_t>(f.to - from), f.frame_bytes, f.link_bytes, static_cast<std::uint32_t>(places.size()),
                    static_cast<std::uint32_t>(f.places.size()), f.saved, f.saved_bytes});
    places.insert(places.end(), f.places.begin(), f.places.end());
  }
  std::vector<SnapshotLoop> loops;
  for (const auto& [job, at] : loops_) loops.push_back({job.function, job.loop, offset(at)});
  SnapshotHead head{.functions = static_cast<std::uint32_t>(natives.size()), .types = static_cast<std::uint32_t>(foreigns.size()), .rows = static_cast<std::uint32_t>(rows.size()),
                    .places = static_cast<std::uint32_t>(places.size()), .loops = static_cast<std::uint32_t>(loops.size()), .by_slots = offset(by_slots_), .code_bytes = code.size()};
  std::string out(sizeof head, '\0');
  for (const auto& list : {natives, enters, foreigns}) append(out, list);
  append(out, states);
  append(out, rows);
  append(out, places);
  append(out, loops);
  head.code_at = padded(out.size(), kPage);
  std::memcpy(out.data(), &head, sizeof head);
  out.resize(head.code_at);
  out.append(reinterpret_cast<const char*>(code.data()), code.size());
  return out;
}

bool NativeCode::adopt(std::span<const std::uint8_t> bytes, int fd, std::uint64_t offset) {
  std::lock_guard lock(mutex_);
  Snapshot s;
  if (begun_ || !parse_snapshot(bytes, s) || s.head.functions != module.functions.size() || s.head.types != module.types.size()) return false;
  if (!make_memory()) return false;
  if (memory_->left() < s.code.size() + 2 * reserve_ || !memory_->adopt(s.code, fd, offset + s.head.code_at)) {
    remove_code(memory_->from());
    memory_.reset();
    return false;
  }
  begun_ = true;
  auto address = [this](std::uint32_t at) { return at == kNone ? std::uintptr_t{0} : memory_->from() + at; };
  for (std::size_t i = 0; i < s.natives.size(); ++i) {
    natives_[i].store(reinterpret_cast<const void*>(address(s.natives[i])), std::memory_order_relaxed);
    enters_[i].store(reinterpret_cast<Enter>(address(s.enters[i])), std::memory_order_relaxed);
    auto state = static_cast<State>(s.states[i]);
    bool known = state == State::kImpossible || (state == State::kReady && s.natives[i] != kNone && s.enters[i] != kNone);
    states_[i].store(known ? state : State::kNone, std::memory_order_release);
  }
  for (std::size_t i = 0; i < s.foreigns.size(); ++i) foreigns_[i].store(reinterpret_cast<const void*>(address(s.foreigns[i])), std::memory_order_relaxed);
  for (const SnapshotLoop& l : s.loops) {
    Job job{.function = l.function, .loop = l.loop};
    loops_claimed_.insert(job);
    loops_[job] = reinterpret_cast<const void*>(address(l.at));
  }
  by_slots_ = reinterpret_cast<Enter>(address(s.head.by_slots));
  adopted_ = s;
  tell_adopted();
  return true;
}

std::optional<NativeCode::Found> NativeCode::find_adopted(std::uintptr_t pc) const {
  if (adopted_.rows.empty() || pc < memory_->from()) return std::nullopt;
  auto at = std::ranges::upper_bound(adopted_.rows, pc - memory_->from(), {}, [](const SnapshotRow& r) { return std::uintptr_t{r.from}; });
  if (at == adopted_.rows.begin()) return std::nullopt;
  const SnapshotRow& row = *std::prev(at);
  if (pc - memory_->from() >= std::uintptr_t{row.from} + row.bytes) return std::nullopt;
  return Found{row.function, memory_->from() + row.from, row.frame_bytes, row.link_bytes, row.saved, row.saved_bytes, adopted_.places.subspan(row.places_from, row.places)};
}

}  // namespace monopod::wasm::jit
