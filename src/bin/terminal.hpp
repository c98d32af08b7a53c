// What a person sees: colours only on a terminal (and never with NO_COLOR), columns that line up, progress bars that know
// when they are not on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace intertie::bin {

enum class Colour { Plain, Bold, Dim, Red, Green, Yellow, Cyan };
std::string paint(Colour colour, std::string_view text); // for stdout
bool on_terminal(int fd);
int terminal_width(); // columns; 80 when unknown

// Left-aligned columns, two spaces between, last one as it is. The first row is the head.
std::string table(const std::vector<std::vector<std::string>>& rows);

// On a terminal one line that is redrawn at most ten times a second; elsewhere a line per ten per cent.
class ProgressBar {
 public:
  ProgressBar(std::string label, std::uint64_t total); // total 0 = unknown
  void at(std::uint64_t done);
  void end(std::string_view last_word);

 private:
  std::string label_;
  std::uint64_t total_;
  std::uint64_t last_drawn_ms_ = 0;
  int last_tenth_ = -1;
  bool terminal_;
};

} // namespace intertie::bin
