#include <fcntl.h>

#include <map>

#include "async/event.h"
#include "base/log.h"
#include "base/strings.h"
#include "supervisor/protocol.h"
#include "supervisor/supervisor.h"
#include "sys/packet_socket.h"
#include "sys/process.h"
#include "sys/stream.h"

namespace monopod::supervisor {

namespace {

struct Call {
  explicit Call(async::Executor executor) : done(executor) {}
  async::Event done;
  Result<> result;
  std::string body;
  std::vector<sys::Fd> fds;
  std::vector<Process> listed;
};

}  // namespace

struct Supervisor::Impl {
  Impl(async::Executor e, sys::Fd socket) : executor(e), packets(e, std::move(socket)), sending(e) {}

  async::Executor executor;
  sys::PacketSocket packets;
  bool closed = false;
  bool busy = false;        // a send in progress: one writer at a time
  async::Notify sending;
  std::uint32_t next_request = 1;
  std::map<std::uint32_t, std::shared_ptr<Call>> calls;
  std::function<void(const Process&)> exit_callback;
  std::function<void()> terminate_callback;
  std::function<void()> detach_callback;

  async::Task<Result<>> send(std::string bytes, std::vector<sys::Fd> fds) {
    while (busy) CO_TRY(co_await sending.wait());
    if (closed) co_return fail(Code::kUnavailable, "the supervisor is gone");
    busy = true;
    struct Release {
      Impl* impl;
      ~Release() {
        impl->busy = false;
        impl->sending.wake_all();
      }
    } release{this};
    co_return co_await packets.send(std::move(bytes), std::move(fds));
  }

  async::Task<Result<std::shared_ptr<Call>>> call(Writer writer, std::uint32_t request, std::vector<sys::Fd> fds) {
    if (closed) co_return fail(Code::kUnavailable, "the supervisor is gone");
    auto call = std::make_shared<Call>(executor);
    calls[request] = call;
    Result<> sent = co_await send(writer.take(), std::move(fds));
    if (sent) sent = co_await call->done.wait();  // forever: the supervisor answers or its socket closes
    calls.erase(request);
    if (!sent) co_return fail(std::move(sent).error());
    if (!call->result) co_return fail(call->result.error());
    co_return call;
  }

  // What takes a text and answers with nothing.
  async::Task<Result<>> ask(MessageType type, std::string text, std::vector<sys::Fd> fds = {}) {
    std::uint32_t number = next_request++;
    Writer writer(type, number);
    writer.text(text);
    CO_TRY(co_await call(std::move(writer), number, std::move(fds)));
    co_return Result<>();
  }

  void on_packet(sys::Packet packet) {
    Reader reader(packet.bytes);
    Header header = read_header(reader);
    switch (header.type) {
      case MessageType::kReply: {
        auto it = calls.find(header.request);
        if (it == calls.end()) return;  // its caller was cancelled
        auto code = static_cast<Code>(std::min<std::uint16_t>(reader.u16(), kCodeCount - 1));
        std::string message = reader.text();
        if (code != Code::kOk) it->second->result = fail(code, std::move(message));
        it->second->body = reader.text(1 << 16);
        it->second->fds = std::move(packet.fds);
        it->second->done.set();
        return;
      }
      case MessageType::kListPart: {
        auto it = calls.find(header.request);
        if (it == calls.end()) return;
        while (reader.ok() && !reader.empty()) it->second->listed.push_back(read_process(reader));
        return;
      }
      case MessageType::kExit: {
        Process process = read_process(reader);
        if (reader.ok() && exit_callback) exit_callback(process);
        return;
      }
      case MessageType::kTerminate:
        if (terminate_callback) terminate_callback();
        return;
      case MessageType::kDetach:
        if (detach_callback) detach_callback();
        return;
      default:
        return;  // from a newer supervisor
    }
  }

  void fail_all(const Error& error) {
    closed = true;
    packets.close();
    for (auto& [request, call] : calls) {
      call->result = fail(Code::kUnavailable, "the supervisor is gone: " + error.message());
      call->done.set();
    }
    calls.clear();
  }
};

Supervisor::Supervisor(async::Executor executor, sys::Fd socket) : impl_(std::make_unique<Impl>(executor, std::move(socket))) {}
Supervisor::~Supervisor() = default;

void Supervisor::on_exit(std::function<void(const Process&)> callback) { impl_->exit_callback = std::move(callback); }
void Supervisor::on_terminate(std::function<void()> callback) { impl_->terminate_callback = std::move(callback); }
void Supervisor::on_detach(std::function<void()> callback) { impl_->detach_callback = std::move(callback); }

async::Task<Result<>> Supervisor::run() {
  std::uint32_t number = impl_->next_request++;
  Writer hello(MessageType::kHello, number);
  auto greeting = std::make_shared<Call>(impl_->executor);
  impl_->calls[number] = greeting;
  hello.u16(kProtocolVersion).u16(kProtocolVersionMin);
  Result<> state = co_await impl_->send(hello.take(), {});
  while (state) {
    Result<sys::Packet> packet = co_await impl_->packets.receive();
    if (!packet) {
      state = fail(std::move(packet).error());
      break;
    }
    impl_->on_packet(std::move(*packet));
    if (greeting && greeting->done.is_set()) {
      state = greeting->result;  // an unknown protocol version ends it here
      impl_->calls.erase(number);
      greeting.reset();
    }
  }
  impl_->fail_all(state.error());
  if (state.error().code() == Code::kCancelled) co_return state;
  co_return fail(std::move(state).error().with("supervisor"));
}

async::Task<Result<SpawnResult>> Supervisor::spawn(SpawnRequest request) {
  if (request.id.empty() || request.id.size() > kIdBytesMax) co_return fail(Code::kInvalidArgument, "process id is empty or too long");
  if (!request.streams.empty() && request.streams.size() != 3) co_return fail(Code::kInvalidArgument, "a process has three streams");
  SpawnMessage message{std::move(request.id),          request.clone_flags,      std::move(request.pid_namespace_of), std::move(request.pass_pidfd_of),
                       std::move(request.stdio),       static_cast<bool>(request.cgroup), !request.streams.empty(),   request.return_terminal,
                       request.hold,                   static_cast<bool>(request.user_namespace), request.output_owner, request.output_group};
  std::vector<sys::Fd> fds;
  CO_TRY_ASSIGN(sys::Fd spec, sys::sealed_memfd("init-spec", request.spec));
  fds.push_back(std::move(spec));
  if (request.cgroup) fds.push_back(std::move(request.cgroup));
  for (sys::Fd& fd : request.streams) fds.push_back(std::move(fd));
  for (sys::Fd& fd : request.fds) fds.push_back(std::move(fd));
  if (request.user_namespace) fds.push_back(std::move(request.user_namespace));
  std::uint32_t number = impl_->next_request++;
  Writer writer(MessageType::kSpawn, number);
  write_spawn(writer, message);
  write_spawn_owner(writer, message);
  CO_TRY_ASSIGN(std::shared_ptr<Call> call, co_await impl_->call(std::move(writer), number, std::move(fds)));
  Reader reader(call->body);
  SpawnResult result;
  result.pid = static_cast<int>(reader.u32());
  if (!call->fds.empty()) result.terminal = std::move(call->fds[0]);
  co_return result;
}

async::Task<Result<WallTime>> Supervisor::start(std::string id) {
  std::uint32_t number = impl_->next_request++;
  Writer writer(MessageType::kStart, number);
  writer.text(id);
  CO_TRY_ASSIGN(std::shared_ptr<Call> call, co_await impl_->call(std::move(writer), number, {}));
  Reader reader(call->body);
  co_return WallTime(std::chrono::nanoseconds(static_cast<std::int64_t>(reader.u64())));
}

async::Task<Result<>> Supervisor::signal(std::string id, int signal) {
  std::uint32_t number = impl_->next_request++;
  Writer writer(MessageType::kSignal, number);
  writer.text(id).u32(static_cast<std::uint32_t>(signal));
  CO_TRY(co_await impl_->call(std::move(writer), number, {}));
  co_return Result<>();
}

async::Task<Result<std::vector<Process>>> Supervisor::list() {
  std::uint32_t number = impl_->next_request++;
  CO_TRY_ASSIGN(std::shared_ptr<Call> call, co_await impl_->call(Writer(MessageType::kList, number), number, {}));
  co_return std::move(call->listed);
}

async::Task<Result<AttachedStreams>> Supervisor::attach(AttachOptions options) {
  AttachedStreams ours;
  std::vector<sys::Fd> theirs;
  std::uint32_t number = impl_->next_request++;
  Writer writer(MessageType::kAttach, number);
  writer.text(options.id).u8(options.stdin_).u8(options.stdout_).u8(options.stderr_);
  if (options.stdin_) {
    CO_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
    theirs.push_back(std::move(pipe.read));
    ours.stdin_ = std::move(pipe.write);
  }
  if (options.stdout_) {
    CO_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
    theirs.push_back(std::move(pipe.write));
    ours.stdout_ = std::move(pipe.read);
  }
  if (options.stderr_) {
    CO_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
    theirs.push_back(std::move(pipe.write));
    ours.stderr_ = std::move(pipe.read);
  }
  CO_TRY(co_await impl_->call(std::move(writer), number, std::move(theirs)));
  co_return ours;
}

async::Task<Result<>> Supervisor::resize(std::string id, std::uint16_t columns, std::uint16_t rows) {
  std::uint32_t number = impl_->next_request++;
  Writer writer(MessageType::kResize, number);
  writer.text(id).u16(columns).u16(rows);
  CO_TRY(co_await impl_->call(std::move(writer), number, {}));
  co_return Result<>();
}

async::Task<Result<>> Supervisor::reopen_log(std::string id) { return impl_->ask(MessageType::kReopenLog, std::move(id)); }

async::Task<Result<>> Supervisor::forget(std::string id) { return impl_->ask(MessageType::kForget, std::move(id)); }

async::Task<Result<>> Supervisor::keep(std::string name, std::vector<sys::Fd> fds) { return impl_->ask(MessageType::kKeep, std::move(name), std::move(fds)); }

async::Task<Result<std::vector<sys::Fd>>> Supervisor::kept(std::string name) {
  std::uint32_t number = impl_->next_request++;
  Writer writer(MessageType::kKept, number);
  writer.text(name);
  CO_TRY_ASSIGN(std::shared_ptr<Call> call, co_await impl_->call(std::move(writer), number, {}));
  co_return std::move(call->fds);
}

async::Task<Result<>> Supervisor::drop(std::string name) { return impl_->ask(MessageType::kDrop, std::move(name)); }

async::Task<Result<>> Supervisor::notify_ready(std::string status) { return impl_->ask(MessageType::kNotifyReady, std::move(status)); }

async::Task<Result<>> Supervisor::notify_alive() {
  std::uint32_t number = impl_->next_request++;
  CO_TRY(co_await impl_->call(Writer(MessageType::kNotifyAlive, number), number, {}));
  co_return Result<>();
}

}  // namespace monopod::supervisor
