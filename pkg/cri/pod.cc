#include "cri/pod.h"

#include "base/strings.h"
#include "cri/messages.h"

namespace monopod::cri {
namespace {

WallTime time_of(const json::Value& value, std::string_view name) { return WallTime(std::chrono::nanoseconds(json::get_int(value, {name}))); }

Result<json::Value> parse_record(std::string_view text) {
  TRY_ASSIGN(json::Value value, json::parse(text));
  if (json::get_object(value, {"config"}) == nullptr) return fail(Code::kDataLoss, "record has no config");
  return value;
}

}  // namespace

std::string format_sandbox(const Sandbox& s) {
  return json::format(json::Object{{"config", s.config}, {"handler", s.handler}, {"created", nanos(s.created)}, {"ready", s.ready}, {"ip", s.ip}});
}

Result<SandboxPtr> parse_sandbox(async::Executor executor, std::string id, std::string_view text) {
  TRY_ASSIGN(json::Value value, parse_record(text));
  auto out = std::make_shared<Sandbox>(executor);
  out->id = std::move(id);
  out->config = member_of(value, {"config"});
  out->handler = json::get_string(value, {"handler"});
  out->created = time_of(value, "created");
  out->ready = json::get_bool(value, {"ready"});
  out->ip = json::get_string(value, {"ip"});
  return out;
}

std::string format_container(const Container& c) {
  return json::format(json::Object{{"sandbox", c.sandbox_id}, {"config", c.config}, {"image", c.image_id}, {"log", c.log_path}, {"user", c.user}, {"stopSignal", c.stop_signal},
                                   {"created", nanos(c.created)}, {"started", nanos(c.started)}, {"finished", nanos(c.finished)}, {"exited", c.phase == Phase::kExited},
                                   {"exitCode", c.exit_code}, {"reason", c.reason}, {"message", c.message}});
}

Result<ContainerPtr> parse_container(async::Executor executor, std::string id, std::string_view text) {
  TRY_ASSIGN(json::Value value, parse_record(text));
  auto out = std::make_shared<Container>(executor);
  out->id = std::move(id);
  out->sandbox_id = json::get_string(value, {"sandbox"});
  out->config = member_of(value, {"config"});
  out->image_id = json::get_string(value, {"image"});
  out->log_path = json::get_string(value, {"log"});
  out->user = member_of(value, {"user"});
  out->stop_signal = static_cast<int>(json::get_int(value, {"stopSignal"}, 15));
  out->created = time_of(value, "created");
  out->started = time_of(value, "started");
  out->finished = time_of(value, "finished");
  out->phase = json::get_bool(value, {"exited"}) ? Phase::kExited : Phase::kCreated;
  out->exit_code = static_cast<int>(json::get_int(value, {"exitCode"}));
  out->reason = json::get_string(value, {"reason"});
  out->message = json::get_string(value, {"message"});
  return out;
}

}  // namespace monopod::cri
