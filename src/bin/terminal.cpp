#include "bin/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/text.hpp"

namespace intertie::bin {
namespace {
constexpr std::array<std::string_view, 7> kCodes{"", "1", "2", "31", "32", "33", "36"};

// Columns a UTF-8 text takes, one per code point: near enough for what we print.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}
std::uint64_t now_ms() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<milliseconds>(SystemClock{}.now().time_since_epoch()).count());
}
} // namespace

bool on_terminal(int fd) { return ::isatty(fd) == 1; }

std::string paint(Colour colour, std::string_view text) {
  static const bool colours = on_terminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr;
  if (!colours || colour == Colour::Plain) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<std::size_t>(colour)], text);
}

int terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], columns(row[i]));
    }
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      line += rows[r][i];
      if (i + 1 < rows[r].size()) line.append(widths[i] - columns(rows[r][i]) + 2, ' ');
    }
    out += r == 0 ? paint(Colour::Bold, line) : line;
    out += '\n';
  }
  return out;
}

ProgressBar::ProgressBar(std::string label, std::uint64_t total)
    : label_(std::move(label)), total_(total), terminal_(on_terminal(STDERR_FILENO)) {}

void ProgressBar::at(std::uint64_t done) {
  auto share = total_ > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total_)) : 0.0;
  std::string amount = total_ > 0 ? fmt::format("{} of {}", text::human_bytes(done), text::human_bytes(total_))
                                  : text::human_bytes(done);
  if (!terminal_) {
    int tenth = static_cast<int>(share * 10);
    if (tenth != last_tenth_) fmt::print(stderr, "{}: {:3.0f} % ({})\n", label_, share * 100, amount);
    last_tenth_ = tenth;
    return;
  }
  auto now = now_ms();
  if (now - last_drawn_ms_ < 100 && done != total_) return;
  last_drawn_ms_ = now;
  constexpr int kWidth = 30;
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < static_cast<int>(share * kWidth) ? "█" : "░";
  fmt::print(stderr, "\r\x1b[K{} {} {:3.0f} %  {}", label_, bar, share * 100, amount);
  std::fflush(stderr);
}

void ProgressBar::end(std::string_view last_word) {
  fmt::print(stderr, "{}{}: {}\n", terminal_ ? "\r\x1b[K" : "", label_, last_word);
}

} // namespace intertie::bin
