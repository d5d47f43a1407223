#include "proxy/io/sockmap.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <optional>

#include "base/strings.h"
#include "proxy/limits.h"
#include "sys/bpf.h"

namespace monopod::proxy {
namespace {

using sys::bpf::Instruction;
using sys::bpf::instruction;

constexpr std::size_t kRingBytes = 65'536;  // a multiple of any page; only that something came is read
const std::size_t kPageBytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
constexpr std::size_t kWaysBytes = sizeof(JoinedWay) * 2 * kJoinsMax;

// What the program finds by a socket's cookie.
struct Flow {
  std::uint64_t peer = 0;  // cookie
  std::uint32_t way = 0;   // index into the shared array
  std::uint32_t unused = 0;
};

// Little pieces of a program; jumps to "pass" are filled in at the end.
class Assembler {
 public:
  void add(Instruction i) { code_.push_back(i); }
  void load(unsigned size, unsigned dst, unsigned src, int offset) { add(instruction(BPF_LDX | BPF_MEM | size, dst, src, offset, 0)); }
  void store(unsigned size, unsigned dst, int offset, unsigned src) { add(instruction(BPF_STX | BPF_MEM | size, dst, src, offset, 0)); }
  void move(unsigned dst, unsigned src) { add(sys::bpf::move(dst, src)); }
  void set(unsigned dst, int value) { add(sys::bpf::set(dst, value)); }
  void add_to(unsigned dst, unsigned src) { add(instruction(BPF_ALU64 | BPF_ADD | BPF_X, dst, src, 0, 0)); }
  void stack(unsigned dst, int offset) {  // dst: the address of something on the stack
    move(dst, BPF_REG_10);
    add(instruction(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, offset));
  }
  void map(unsigned dst, int fd) {
    add(instruction(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd));
    add(instruction(0, 0, 0, 0, 0));
  }
  void call(int helper) { add(instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper)); }
  std::size_t jump(unsigned how, unsigned dst, unsigned src, int value = 0) {
    add(instruction(BPF_JMP | how, dst, src, 0, value));
    return code_.size() - 1;
  }
  void land(std::size_t jump) { code_[jump].off = static_cast<__s16>(code_.size() - jump - 1); }
  void leave(int verdict) {
    set(0, verdict);
    add(sys::bpf::leave());
  }
  const std::vector<Instruction>& code() const { return code_; }

 private:
  std::vector<Instruction> code_;
};

// Any record will do: the process looks at the counters.
void tell(Assembler& a, int ring) {
  a.map(1, ring);
  a.stack(2, -8);
  a.set(3, 8);
  a.set(4, BPF_RB_FORCE_WAKEUP);
  a.call(BPF_FUNC_ringbuf_output);
}

// r6 context, r7 flow, r8 way. Stack: -8 a cookie, -12 the way's index.
std::vector<Instruction> verdict_program(int sockets, int flows, int ways, int ring) {
  constexpr int kSent = 0, kPassed = 8, kDone = 16, kLimit = 24;
  Assembler a;
  a.move(6, 1);
  a.call(BPF_FUNC_get_socket_cookie);
  a.store(BPF_DW, BPF_REG_10, -8, 0);
  a.map(1, flows);
  a.stack(2, -8);
  a.call(BPF_FUNC_map_lookup_elem);
  std::size_t known = a.jump(BPF_JNE | BPF_K, 0, 0);
  a.leave(SK_PASS);
  a.land(known);
  a.move(7, 0);
  a.load(BPF_W, 1, 7, 8);
  a.store(BPF_W, BPF_REG_10, -12, 1);
  a.map(1, ways);
  a.stack(2, -12);
  a.call(BPF_FUNC_map_lookup_elem);
  std::size_t there = a.jump(BPF_JNE | BPF_K, 0, 0);
  a.leave(SK_PASS);
  a.land(there);
  a.move(8, 0);
  a.load(BPF_W, 9, 6, 0);  // __sk_buff::len
  a.load(BPF_DW, 1, 8, kPassed);
  a.load(BPF_DW, 2, 8, kDone);
  std::size_t behind = a.jump(BPF_JNE | BPF_X, 1, 2);
  a.load(BPF_DW, 3, 8, kSent);
  a.add_to(3, 9);
  a.load(BPF_DW, 4, 8, kLimit);
  std::size_t full = a.jump(BPF_JGT | BPF_X, 3, 4);
  a.store(BPF_DW, 8, kSent, 3);
  // Half of what was granted is used: the process is told, and grants more before it runs out.
  a.add(instruction(BPF_ALU64 | BPF_SUB | BPF_K, 4, 0, 0, kJoinBytesAhead / 2));
  std::size_t enough = a.jump(BPF_JLE | BPF_X, 3, 4);
  a.add(instruction(BPF_ALU64 | BPF_SUB | BPF_X, 3, 9, 0, 0));
  std::size_t told = a.jump(BPF_JGT | BPF_X, 3, 4);
  tell(a, ring);
  a.land(enough);
  a.land(told);
  a.load(BPF_DW, 1, 7, 0);
  a.store(BPF_DW, BPF_REG_10, -8, 1);
  a.move(1, 6);
  a.map(2, sockets);
  a.stack(3, -8);
  a.set(4, 0);
  a.call(BPF_FUNC_sk_redirect_hash);
  a.add(sys::bpf::leave());
  a.land(full);  // the first that is left over: the process is told
  a.add_to(1, 9);
  a.store(BPF_DW, 8, kPassed, 1);
  tell(a, ring);
  a.leave(SK_PASS);
  a.land(behind);
  a.add_to(1, 9);
  a.store(BPF_DW, 8, kPassed, 1);
  a.leave(SK_PASS);
  return a.code();
}

Result<void*> map_pages(int fd, std::size_t bytes, int protection, std::size_t offset, const char* what) {
  void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return fail_errno(what);
  return at;
}

std::optional<std::uint64_t> cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return std::nullopt;
  return cookie;
}

// Nothing is redirected before both sockets are there: until then it is left over.
void begin(JoinedWay& way) { way.sent = way.passed = way.done = way.limit = 0; }

// Before 6.4 a joined socket's window does not open again for what was redirected (copied_seq); 6.6 is the first that is kept for long and has it.
Result<> check_kernel() {
  struct utsname host {};
  ::uname(&host);
  std::vector<std::string_view> parts = split(host.release, '.');
  int major = parse_int<int>(parts[0]).value_or(0), minor = parts.size() > 1 ? parse_int<int>(parts[1]).value_or(0) : 0;
  if (major < 6 || (major == 6 && minor < 6)) return fail(Code::kUnimplemented, cat("sockmap: the kernel is ", host.release, ", older than 6.6"));
  return {};
}

bool wants(const JoinedWay& way) { return way.passed != way.done || way.sent + kJoinBytesAhead / 2 > way.limit; }

}  // namespace

Result<std::unique_ptr<Sockmap>> Sockmap::make(Poller& poller) {
  TRY(check_kernel());
  std::unique_ptr<Sockmap> out(new Sockmap());
  TRY_ASSIGN(out->sockets_, sys::bpf::make_map({.type = BPF_MAP_TYPE_SOCKHASH, .key_bytes = 8, .value_bytes = 4, .entries = 2 * kJoinsMax}, "sockmap"));
  TRY_ASSIGN(out->flows_, sys::bpf::make_map({.type = BPF_MAP_TYPE_HASH, .key_bytes = 8, .value_bytes = sizeof(Flow), .entries = 2 * kJoinsMax}, "sockmap's flows"));
  TRY_ASSIGN(out->ways_, sys::bpf::make_map({.type = BPF_MAP_TYPE_ARRAY, .key_bytes = 4, .value_bytes = sizeof(JoinedWay), .entries = 2 * kJoinsMax, .flags = BPF_F_MMAPABLE}, "sockmap's counters"));
  TRY_ASSIGN(out->ring_, sys::bpf::make_map({.type = BPF_MAP_TYPE_RINGBUF, .entries = kRingBytes}, "sockmap's ring"));
  TRY_ASSIGN(out->program_, sys::bpf::load_program(BPF_PROG_TYPE_SK_SKB, verdict_program(out->sockets_.get(), out->flows_.get(), out->ways_.get(), out->ring_.get()), "sockmap's program"));
  union bpf_attr attach = {};
  attach.target_fd = static_cast<__u32>(out->sockets_.get());
  attach.attach_bpf_fd = static_cast<__u32>(out->program_.get());
  attach.attach_type = BPF_SK_SKB_VERDICT;
  if (sys::bpf::call(BPF_PROG_ATTACH, attach) < 0) return fail_errno("attach sockmap's program");
  TRY_ASSIGN(void* shared, map_pages(out->ways_.get(), kWaysBytes, PROT_READ | PROT_WRITE, 0, "map sockmap's counters"));
  out->shared_ = static_cast<JoinedWay*>(shared);
  TRY_ASSIGN(out->consumer_, map_pages(out->ring_.get(), kPageBytes, PROT_READ | PROT_WRITE, 0, "map sockmap's ring"));
  TRY_ASSIGN(out->producer_, map_pages(out->ring_.get(), kPageBytes, PROT_READ, kPageBytes, "map sockmap's ring"));
  TRY(poller.watch_readable(out->ring_.get(), *out));
  out->joins_.resize(kJoinsMax);
  for (std::uint32_t slot = kJoinsMax; slot-- > 0;) out->free_.push_back(slot);
  return out;
}

Sockmap::~Sockmap() {
  if (shared_ != nullptr) ::munmap(shared_, kWaysBytes);
  if (consumer_ != nullptr) ::munmap(consumer_, kPageBytes);
  if (producer_ != nullptr) ::munmap(const_cast<void*>(producer_), kPageBytes);
}

Result<std::unique_ptr<Join>> Sockmap::join(int first, int second, JoinUser& user) {
  std::optional<std::uint64_t> a = cookie_of(first), b = cookie_of(second);
  if (free_.empty() || !a || !b) return nullptr;
  auto out = std::make_unique<Join>(*this, free_.back(), user);
  free_.pop_back();
  joins_[out->slot_] = out.get();
  out->cookies_[0] = *a;
  out->cookies_[1] = *b;
  begin(out->up());
  begin(out->down());
  Flow up{.peer = *b, .way = out->slot_ * 2}, down{.peer = *a, .way = out->slot_ * 2 + 1};
  if (!sys::bpf::update(flows_.get(), &*a, &up) || !sys::bpf::update(flows_.get(), &*b, &down) || !sys::bpf::update(sockets_.get(), &*a, &first)) return nullptr;
  if (!sys::bpf::update(sockets_.get(), &*b, &second)) {
    sys::bpf::remove(sockets_.get(), &*a);
    if (out->up().passed != 0) return fail(Code::kUnavailable, "the kernel joins one socket alone");  // and what came meanwhile went with the other
    return nullptr;
  }
  out->up().limit = out->down().limit = kJoinBytesAhead;
  // What is left over sits in the socket: a small window, and little to copy. Local peers need no more.
  int bytes = kJoinWindowBytes, one = 1;
  for (int fd : {first, second}) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    // The program sees what arrives. What is there already it sees when the kernel looks at the queue anew, as for a new low-water mark.
    ::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
  }
  return out;
}

void Sockmap::on_ready(std::uint32_t) {
  auto position = [](const void* page) { return *static_cast<const volatile unsigned long*>(page); };
  std::atomic_ref<unsigned long>(*static_cast<unsigned long*>(consumer_)).store(position(producer_), std::memory_order_release);
  for (Join* join : std::vector<Join*>(joins_))
    if (join != nullptr && (wants(join->up()) || wants(join->down()))) join->user_.on_join();
}

Join::~Join() {
  for (const std::uint64_t& cookie : cookies_) sys::bpf::remove(owner_.flows_.get(), &cookie);
  owner_.joins_[slot_] = nullptr;
  owner_.free_.push_back(slot_);
}

JoinedWay& Join::up() { return owner_.shared_[slot_ * 2]; }
JoinedWay& Join::down() { return owner_.shared_[slot_ * 2 + 1]; }

}  // namespace monopod::proxy
