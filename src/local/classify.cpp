#include "local/classify.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "core/text.hpp"

namespace intertie::local {
namespace {
struct Known {
  std::string_view message; // as the engine prints it
  Remedy remedy;
  std::string_view reason;
};
// First match wins. The engine leaves with code 1 for all of them; only its log tells them apart.
constexpr std::array kKnown{
    Known{"invalid magic", Remedy::Never, "the file is not a GGUF model: download it again"},
    Known{"not within the file bounds", Remedy::Never, "the model file is corrupted or incomplete: download it again"},
    Known{"failed to read key-value pairs", Remedy::Never, "the model file's header is corrupted: download it again"},
    Known{"failed to read tensor info", Remedy::Never, "the model file's header is corrupted: download it again"},
    Known{"unknown model architecture", Remedy::Never, "this engine is too old for the model: update the engine"},
    Known{"insufficient memory (attempted to allocate", Remedy::Never,
          "too little memory for this model: choose a smaller one, or set a smaller `context` for it"},
    Known{"failed to allocate buffer for kv cache", Remedy::Never,
          "too little memory for its context: set a smaller `context`"},
    Known{"failed to allocate", Remedy::Never,
          "too little memory for this model: choose a smaller one, or a smaller `context`"},
    Known{"couldn't bind HTTP server socket", Remedy::Later,
          "its socket could not be made: is the runtime folder writable?"},
    Known{"chat template is not supported", Remedy::Never,
          "the engine can't use the model's chat template: pass another with arguments = [\"--chat-template-file\", "
          "\"…\"]"},
    Known{"error while handling environment variable", Remedy::Never, "an environment variable confuses the engine"},
    Known{"error while handling argument", Remedy::Never,
          "one of the model's `arguments` is not understood by this engine"},
    Known{"invalid argument", Remedy::Never, "one of the model's `arguments` is not understood by this engine"},
    Known{"' not found", Remedy::Never,
          "the model file lacks a tensor the engine needs: it is incomplete or for another version"},
    Known{"failed to load model", Remedy::Never, "the engine can't load this model"},
    Known{"error while loading shared libraries", Remedy::Never,
          "the engine lacks a library: install it, or set `engine` to another build"},
};

// The line of the log that a person should see: the one with the known message, else the last that speaks of an error.
std::string telling_line(std::string_view log, std::string_view message) {
  std::string_view found;
  for (auto line : text::split(log.substr(log.size() > 65'536 ? log.size() - 65'536 : 0), '\n')) {
    bool telling =
        message.empty() ? line.find("rror") != std::string_view::npos : line.find(message) != std::string_view::npos;
    if (telling) found = line;
  }
  std::string out;
  for (char c : text::trim(found).substr(0, 300))
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) out += c;
  return out;
}
} // namespace

Verdict classify_exit(const Exit& exit, std::string_view log, const Circumstances& circumstances) {
  if (exit.signalled) {
    if (circumstances.killed_by_us) return {Remedy::Later, "the engine stopped answering and was killed"};
    // While it loads it takes its memory; later only the kernel's own count tells a person's kill from the kernel's.
    if (exit.code == SIGKILL && (!circumstances.was_ready || circumstances.memory_kill))
      return {Remedy::SmallerContext,
              "the engine was killed, probably for want of memory: free some, or set a smaller `context`"};
    const char* name = ::strsignal(exit.code);
    return {Remedy::Later,
            fmt::format("the engine crashed (signal {}, {})", exit.code, name != nullptr ? name : "unknown")};
  }
  if (exit.code == 0 && circumstances.was_ready) return {Remedy::Later, "the engine left of its own accord"};
  for (const auto& known : kKnown) {
    if (log.find(known.message) == std::string_view::npos) continue;
    return {known.remedy, fmt::format("{} ({})", known.reason, telling_line(log, known.message))};
  }
  auto line = telling_line(log, {});
  return {Remedy::Later, fmt::format("the engine left with code {}{}{}", exit.code, line.empty() ? "" : ": ", line)};
}

std::optional<std::uint64_t> memory_kills() {
  std::ifstream file("/proc/vmstat");
  std::string name;
  std::uint64_t count = 0;
  while (file >> name >> count)
    if (name == "oom_kill") return count;
  return std::nullopt;
}

void Backoff::failed(TimePoint now) {
  while (!failures_.empty() && now - failures_.front() > kWindow) failures_.pop_front();
  failures_.push_back(now);
  retry_at_ = now + delay_;
  delay_ = std::min(delay_ * 2, milliseconds{30'000});
  if (open(now)) retry_at_ = std::max(retry_at_, failures_.front() + kWindow);
}
void Backoff::succeeded() { delay_ = milliseconds{500}; }
bool Backoff::open(TimePoint now) const {
  return std::ranges::count_if(failures_, [&](TimePoint at) { return now - at <= kWindow; }) >= kBreaker;
}
} // namespace intertie::local
