// replay CORPUS: runs a fuzz target over every file of the corpus, then over seeded mutations of them. SEED=n replays a run, RUNS=n sets
// how many mutations (2,000; MONOPOD_LONG=1: 200,000). The input in work is written to stderr if the target aborts.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

constexpr std::size_t kInputBytesMax = 4096;
constexpr auto kTimeMax = std::chrono::seconds(20);      // of mutations, where MONOPOD_LONG is not set
constexpr auto kLongTimeMax = std::chrono::minutes(4);

std::string current;  // NOLINT: the signal handler has no other way to it

void put(std::string_view text) { [[maybe_unused]] ssize_t n = ::write(2, text.data(), text.size()); }

void show_input(int signal_number) {
  constexpr char kHex[] = "0123456789abcdef";
  put("input: \"");
  for (char c : current) {
    unsigned char u = static_cast<unsigned char>(c);
    char escaped[4] = {'\\', 'x', kHex[u >> 4], kHex[u & 15]};
    put(std::string_view(escaped, 4));
  }
  put("\"\n");
  ::signal(signal_number, SIG_DFL);
  ::raise(signal_number);
}

void run(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

std::string mutate(const std::vector<std::string>& corpus, std::mt19937_64& rng) {
  auto below = [&rng](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(rng() % n); };
  std::string text = corpus[below(corpus.size())];
  for (std::size_t steps = 1 + below(4); steps > 0; --steps) {
    std::size_t at = below(text.size() + 1);
    switch (below(7)) {
      case 0: if (!text.empty()) text[below(text.size())] = static_cast<char>(rng()); break;
      case 1: text.insert(text.begin() + static_cast<std::ptrdiff_t>(at), static_cast<char>(rng())); break;
      case 2: text.erase(at, 1 + below(8)); break;
      case 3: text.resize(at); break;
      case 4: text.insert(at, text.substr(below(text.size() + 1), below(64))); break;  // repeats a part of itself
      case 5: {                                                                      // takes a part of another
        const std::string& other = corpus[below(corpus.size())];
        text.insert(at, other.substr(below(other.size() + 1), below(256)));
        break;
      }
      default: if (!text.empty()) text[below(text.size())] ^= static_cast<char>(1U << below(8)); break;
    }
    if (text.size() > kInputBytesMax) text.resize(kInputBytesMax);
  }
  return text;
}

unsigned long long number_from(const char* name, unsigned long long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s CORPUS\n", argv[0]), 2;
  for (int signal_number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal_number, show_input);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<std::string> corpus;
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(corpus.back());
  }
  if (corpus.empty()) return std::fprintf(stderr, "no files in %s\n", argv[1]), 1;
  bool long_run = std::getenv("MONOPOD_LONG") != nullptr;
  unsigned long long seed = number_from("SEED", std::random_device()());
  unsigned long long runs = number_from("RUNS", long_run ? 200'000 : 2'000);
  std::printf("%zu files, %llu mutations, SEED=%llu\n", corpus.size(), runs, seed);
  std::fflush(stdout);
  std::mt19937_64 rng(seed);
  auto deadline = std::chrono::steady_clock::now() + (long_run ? std::chrono::duration_cast<std::chrono::seconds>(kLongTimeMax) : kTimeMax);
  for (unsigned long long i = 0; i < runs; ++i) {
    if (std::chrono::steady_clock::now() > deadline) {
      std::printf("stopped after %llu: time is up\n", i);
      break;
    }
    run(mutate(corpus, rng));
  }
  return 0;
}
