#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <future>

#include "base/strings.h"
#include "supervisor/cri_log.h"
#include "supervisor/handover.h"
#include "supervisor/notify.h"
#include "supervisor/output_pump.h"
#include "supervisor/protocol.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::supervisor {
namespace {

const WallTime kNow = WallTime(std::chrono::seconds(1'767'225'600) + std::chrono::nanoseconds(7));
constexpr std::string_view kStamp = "2026-01-01T00:00:00.000000007Z";

TEST(LineCutter, LinesAcrossReadsAndTheUnfinishedLast) {
  LineCutter cutter("stdout");
  std::string out;
  cutter.feed("a", kNow, out);
  EXPECT_EQ(out, "");
  cutter.feed("b\n\nc", kNow, out);
  cutter.finish(kNow, out);
  cutter.finish(kNow, out);
  EXPECT_EQ(out, cat(kStamp, " stdout F ab\n", kStamp, " stdout F \n", kStamp, " stdout F c\n"));
}

TEST(LineCutter, LongLinesAreCutAtSixteenKibibytes) {
  struct Case {
    std::size_t bytes;
    std::size_t partials;
  };
  for (const Case& one : {Case{kLogLineBytesMax, 0}, Case{kLogLineBytesMax + 1, 1}, Case{3 * kLogLineBytesMax, 2}}) {
    for (std::size_t step : {std::size_t{1000}, kLogLineBytesMax, std::size_t{100'000}}) {
      LineCutter cutter("stderr");
      std::string text = std::string(one.bytes, 'x') + "\n";
      std::string out;
      for (std::size_t at = 0; at < text.size(); at += step) cutter.feed(std::string_view(text).substr(at, step), kNow, out);
      std::size_t partials = 0;
      std::size_t content = 0;
      for (std::string_view line : split(out, '\n')) {
        if (line.empty()) continue;
        partials += line.substr(kStamp.size(), 10) == " stderr P ";
        content += line.size() - kStamp.size() - 10;
      }
      EXPECT_EQ(partials, one.partials) << one.bytes << " in steps of " << step;
      EXPECT_EQ(content, one.bytes);
    }
  }
}

class LogFileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/log_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string dir_;
};

TEST_F(LogFileTest, RotatesWholeEntriesAndKeepsTheNewest) {
  Result<LogFile> log = LogFile::open(dir_ + "/0.log", 4096, 3);
  ASSERT_TRUE(log);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(log->write(cat("entry ", i, "\n")));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/0.log.3"));
  std::string all;
  for (const char* suffix : {".2", ".1", ""}) {
    std::string text = sys::read_host_file(dir_ + "/0.log" + suffix).value();
    EXPECT_LE(text.size(), 4096U);
    all += text;
  }
  EXPECT_TRUE(all.ends_with("entry 998\nentry 999\n"));
}

TEST_F(LogFileTest, ASymlinkInPlaceOfTheLogIsRefused) {
  std::filesystem::create_symlink("/etc/passwd", dir_ + "/0.log");
  EXPECT_FALSE(LogFile::open(dir_ + "/0.log", 4096, 3));
  EXPECT_FALSE(LogFile::open("relative", 4096, 3));
}

TEST(Protocol, MessagesRoundTripAndTruncatedOnesAreNoticed) {
  SpawnMessage message;
  message.id = "c/exec-1";
  message.clone_flags = 0x20000000;
  message.stdio.log_path = "/l";
  message.stdio.terminal = true;
  message.hold = true;
  Writer writer(MessageType::kSpawn, 9);
  write_spawn(writer, message);
  std::string bytes = writer.take();
  Reader reader(bytes);
  Header header = read_header(reader);
  EXPECT_EQ(header.request, 9U);
  SpawnMessage back = read_spawn(reader);
  EXPECT_TRUE(reader.ok() && reader.empty());
  EXPECT_EQ(back.id, message.id);
  EXPECT_TRUE(back.hold && back.stdio.terminal && !back.has_streams);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Reader cut(std::string_view(bytes).substr(0, size));
    read_header(cut);
    read_spawn(cut);
    EXPECT_FALSE(cut.ok()) << size;
  }
  message.has_user_namespace = true;
  message.output_owner = 5;
  message.output_group = 6;
  std::string tail;
  Writer owner(tail);
  write_spawn_owner(owner, message);
  Reader tail_reader(tail), none("");
  SpawnMessage owned, plain;
  read_spawn_owner(tail_reader, owned);
  read_spawn_owner(none, plain);
  EXPECT_TRUE(tail_reader.ok() && tail_reader.empty() && none.ok() && owned.has_user_namespace && !plain.has_user_namespace);
  EXPECT_EQ(owned.output_group, 6U);
  Process process{"p", 7, ProcessState::kExited, -1, 9, kNow, kNow};
  std::string text;
  Writer more(text);
  write_process(more, process);
  Reader again(text);
  EXPECT_EQ(read_process(again).exit_code, -1);
}

// A client that does not read holds the container back within bounds, and its going lets it run on.
TEST_F(LogFileTest, PumpWritesLogFeedsClientsAndFinishes) {
  std::promise<std::string> finished;
  OutputPump pump([&](const std::string& id) { finished.set_value(id); });
  Result<sys::Pipe> out = sys::make_pipe();
  Result<sys::Pipe> err = sys::make_pipe();
  Result<sys::Pipe> client = sys::make_pipe();
  StdioOptions stdio;
  stdio.log_path = dir_ + "/0.log";
  PumpStreams streams;
  streams.stdout_ = std::move(out->read);
  streams.stderr_ = std::move(err->read);
  ASSERT_TRUE(pump.add("c", stdio, std::move(streams)));
  pump.attach("c", {}, std::move(client->write), {});
  ASSERT_TRUE(sys::write_all(out->write.get(), "one\n"));
  char buffer[100];
  ASSERT_EQ(::read(client->read.get(), buffer, sizeof buffer), 4);
  ASSERT_TRUE(sys::write_all(err->write.get(), "two"));
  pump.finish("c");
  EXPECT_EQ(finished.get_future().get(), "c");
  std::string log = sys::read_host_file(dir_ + "/0.log").value();
  EXPECT_NE(log.find(" stdout F one\n"), std::string::npos);
  EXPECT_NE(log.find(" stderr F two\n"), std::string::npos);
  EXPECT_EQ(::read(client->read.get(), buffer, sizeof buffer), 0) << "clients read end of stream";
}

TEST_F(LogFileTest, AnotherPumpGoesOnInTheMiddleOfALine) {
  StdioOptions stdio;
  stdio.log_path = dir_ + "/0.log";
  Result<sys::Pipe> out = sys::make_pipe();
  PumpStreams streams;
  streams.stdout_ = std::move(out->read);
  std::map<std::string, PumpStreams> released;
  {
    OutputPump first([](const std::string&) {});
    ASSERT_TRUE(first.add("c", stdio, std::move(streams)));
    ASSERT_TRUE(sys::write_all(out->write.get(), "whole\nhalf "));
    while (sys::read_host_file(stdio.log_path).value().empty()) ::usleep(1000);  // the first line shows that both were read
    released = first.release();
  }
  ASSERT_TRUE(released.contains("c"));
  EXPECT_EQ(released["c"].stdout_rest, "half ");
  std::promise<void> finished;
  OutputPump second([&](const std::string&) { finished.set_value(); });
  ASSERT_TRUE(second.add("c", stdio, std::move(released["c"])));
  ASSERT_TRUE(sys::write_all(out->write.get(), "and half\n"));
  second.finish("c");
  finished.get_future().wait();
  std::string log = sys::read_host_file(stdio.log_path).value();
  EXPECT_NE(log.find(" stdout F whole\n"), std::string::npos);
  EXPECT_NE(log.find(" stdout F half and half\n"), std::string::npos) << log;
}

TEST(Handover, RoundTripsAndRefusesWhatItDoesNotKnow) {
  Handover handover;
  HandedProcess& p = handover.processes.emplace_back();
  p.entry.process = Process{"c1", 77, ProcessState::kRunning, 0, 0, kNow, {}};
  p.entry.stdio.log_path = "/l";
  p.entry.number = 5;
  p.entry.has_output = true;
  p.entry.hold = true;
  Result<sys::Pipe> pipe = sys::make_pipe();
  p.streams.stdout_ = std::move(pipe->read);
  p.streams.stdout_rest = "unfinished";
  handover.kept["proxy/1"].push_back(std::move(pipe->write));
  Result<sys::Fd> file = write_handover(handover);
  ASSERT_TRUE(file);
  EXPECT_EQ(::fcntl(p.streams.stdout_.get(), F_GETFD), 0) << "survives execve";
  std::string bytes = sys::read_all(file->get(), 1 << 20).value();
  ASSERT_EQ(::lseek(file->get(), 0, SEEK_SET), 0);
  int number = p.streams.stdout_.release();  // as after execve: nobody but the handover owns it
  int kept = handover.kept["proxy/1"][0].release();
  Result<Handover> back = read_handover(std::move(*file));
  ASSERT_TRUE(back);
  ASSERT_EQ(back->processes.size(), 1U);
  const HandedProcess& one = back->processes.front();
  EXPECT_EQ(one.entry.process.id, "c1");
  EXPECT_EQ(one.entry.process.pid, 77);
  EXPECT_EQ(one.entry.number, 5U);
  EXPECT_TRUE(one.entry.has_output && one.entry.hold && !one.entry.of_one_node && !one.entry.adopted);
  EXPECT_EQ(one.streams.stdout_.get(), number);
  EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(one.streams.stdin_ || one.streams.terminal || one.entry.sync);
  EXPECT_EQ(one.streams.stdout_rest, "unfinished");
  ASSERT_EQ(back->kept.size(), 1U);
  ASSERT_EQ(back->kept["proxy/1"].size(), 1U);
  EXPECT_EQ(back->kept["proxy/1"][0].get(), kept);
  EXPECT_EQ(::fcntl(kept, F_GETFD), FD_CLOEXEC);

  bytes[0] = 99;
  EXPECT_EQ(read_handover(sys::sealed_memfd("test", bytes).value()).error().code(), Code::kUnimplemented);
  bytes[0] = 1;
  EXPECT_EQ(read_handover(sys::sealed_memfd("test", bytes.substr(0, 40)).value()).error().code(), Code::kDataLoss);

  Handover only_kept;
  only_kept.kept["n"].push_back(sys::make_pipe().value().read);
  Result<sys::Fd> short_one = write_handover(only_kept);
  ASSERT_TRUE(short_one);
  bytes = sys::read_all(short_one->get(), 1 << 20).value();
  EXPECT_EQ(read_handover(sys::sealed_memfd("test", bytes.substr(0, bytes.size() - 2)).value()).error().code(), Code::kDataLoss);
  retract_handover(only_kept);
  EXPECT_EQ(::fcntl(only_kept.kept["n"][0].get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(LogFileTest, ServiceManagerHearsOverItsSocket) {
  std::string path = dir_ + "/notify";
  sys::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ServiceNotifier notifier;
  EXPECT_EQ(::getenv("NOTIFY_SOCKET"), nullptr) << "not for the node and its containers";
  notifier.send("READY=1");
  char buffer[100];
  ssize_t n = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  EXPECT_EQ(std::string(buffer, static_cast<std::size_t>(std::max<ssize_t>(n, 0))), "READY=1");
}

}  // namespace
}  // namespace monopod::supervisor
