#include "sys/world_socket.h"

#include <sys/socket.h>

#include <cstring>
#include <mutex>

#include "base/strings.h"
#include "sys/packet_socket.h"

namespace monopod::sys {
namespace {

struct Request {
  int family, type;
};

struct Broker {
  Fd socket;
  std::mutex one_at_a_time;
};
Broker& broker() {
  static Broker the_one;
  return the_one;
}

Result<Fd> make_here(int family, int type) {
  Fd out(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out) return fail_errno("socket");
  return out;
}

}  // namespace

Result<Fd> make_world_socket(int family, int type) {
  Broker& b = broker();
  if (!b.socket) return make_here(family, type);
  std::lock_guard lock(b.one_at_a_time);
  Request request{family, type};
  TRY(send_packet(b.socket.get(), std::string_view(reinterpret_cast<const char*>(&request), sizeof request)));
  TRY_ASSIGN(Packet answer, receive_packet(b.socket.get()));
  if (answer.fds.size() == 1) return std::move(answer.fds[0]);
  return fail(Code::kUnavailable, answer.bytes.empty() ? "socket: the process outside is gone" : answer.bytes);
}

void use_socket_broker(Fd socket) { broker().socket = std::move(socket); }

Result<bool> serve_world_socket(int socket) {
  TRY_ASSIGN(Packet packet, receive_packet(socket));
  if (packet.bytes.empty()) return false;
  Request request{};
  if (packet.bytes.size() != sizeof request) return fail(Code::kDataLoss, "socket broker: not a request");
  std::memcpy(&request, packet.bytes.data(), sizeof request);
  bool known = (request.family == AF_INET || request.family == AF_INET6) && (request.type == SOCK_STREAM || request.type == SOCK_DGRAM);
  Result<Fd> made = known ? make_here(request.family, request.type) : Result<Fd>(fail(Code::kInvalidArgument, "socket: neither TCP nor UDP"));
  if (!made) TRY(send_packet(socket, made.error().message()));
  else TRY(send_packet(socket, "ok", {made->get()}));
  return true;
}

}  // namespace monopod::sys
