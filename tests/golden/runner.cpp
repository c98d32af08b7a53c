#include "runner.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "core/text.hpp"

namespace intertie::golden {
namespace {
struct Case {
  int line = 0;
  std::string title, command, input, expected;
};

// Everything before the first case is the file's own comment.
struct File {
  std::string head;
  std::vector<Case> cases;
};

File read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(in), {}};
  File file;
  enum { Head, Command, Input, Expected } part = Head;
  int number = 0;
  for (std::string_view line : text::split(all, '\n')) {
    ++number;
    if (line.starts_with("== ")) {
      file.cases.push_back({number, std::string(line.substr(3)), {}, {}, {}});
      part = Command;
    } else if (part == Command) {
      file.cases.back().command = line;
      part = Input;
    } else if (part == Input && line == "----") {
      part = Expected;
    } else {
      std::string& into = part == Head    ? file.head
                          : part == Input ? file.cases.back().input
                                          : file.cases.back().expected;
      into.append(line) += '\n';
    }
  }
  for (auto& item : file.cases) {
    if (item.input.ends_with('\n')) item.input.pop_back();
    while (item.expected.ends_with('\n')) item.expected.pop_back();
  }
  return file;
}

std::string unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char c = text.front();
    text.remove_prefix(1);
    if (c != '\\' || text.empty()) {
      out += c;
      continue;
    }
    if (text.starts_with("rep(")) {
      int times = 0;
      auto [end, error] = std::from_chars(text.data() + 4, text.data() + text.size(), times);
      text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
      std::size_t close = text.find(')');
      for (int i = 0; i < times; ++i) out += text.substr(0, close);
      text.remove_prefix(std::min(close + 1, text.size()));
      continue;
    }
    c = text.front();
    text.remove_prefix(1);
    if (c == 'x' && text.size() >= 2) {
      int byte = 0;
      std::from_chars(text.data(), text.data() + 2, byte, 16);
      out += static_cast<char>(byte);
      text.remove_prefix(2);
    } else {
      constexpr std::string_view kNames = "nrt0\\", kBytes{"\n\r\t\0\\", 5};
      std::size_t at = kNames.find(c);
      if (at == std::string_view::npos) (out += '\\') += c; // not ours: JSON's
      else out += kBytes[at];
    }
  }
  return out;
}

std::string run(const Case& item) {
  std::string_view command = item.command;
  std::size_t blank = std::min(command.find(' '), command.size());
  std::string_view name = command.substr(0, blank), arguments = text::trim(command.substr(blank));
  std::string input = item.input;
  std::erase(input, '~');
  if (name.ends_with('!')) {
    input = unescape(input);
    name.remove_suffix(1);
  }
  for (const auto& verb : verbs()) {
    if (verb.name != name) continue;
    std::string actual = verb.run(arguments, input);
    while (actual.ends_with('\n')) actual.pop_back();
    return actual;
  }
  return "unknown verb: " + std::string(name);
}

void write(const std::filesystem::path& path, const File& file) {
  std::ofstream out(path, std::ios::binary);
  out << file.head;
  for (std::size_t i = 0; i < file.cases.size(); ++i) {
    const auto& item = file.cases[i];
    out << "== " << item.title << '\n' << item.command << '\n' << item.input << "\n----\n" << item.expected << '\n';
    if (i + 1 < file.cases.size()) out << '\n';
  }
}

// Returns how many cases differ.
int check(const std::filesystem::path& path, bool accept, int& cases) {
  File file = read(path);
  int wrong = 0;
  for (auto& item : file.cases) {
    ++cases;
    std::string actual = run(item);
    if (actual == item.expected) continue;
    ++wrong;
    std::printf("%s:%d: %s\n--- expected\n%s\n--- got\n%s\n\n", path.c_str(), item.line, item.title.c_str(),
                item.expected.c_str(), actual.c_str());
    item.expected = actual;
  }
  if (accept && wrong > 0) write(path, file);
  return accept ? 0 : wrong;
}
} // namespace
} // namespace intertie::golden

int main(int count, char** arguments) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  bool accept = false;
  for (int i = 1; i < count; ++i) {
    fs::path path = arguments[i];
    if (path == "--accept") accept = true;
    else if (fs::is_directory(path))
      for (const auto& entry : fs::recursive_directory_iterator(path)) {
        if (entry.path().extension() == ".txt") files.push_back(entry.path());
      }
    else files.push_back(path);
  }
  std::ranges::sort(files);
  int cases = 0, wrong = 0;
  for (const auto& file : files) wrong += intertie::golden::check(file, accept, cases);
  std::printf("%d golden cases, %d failed\n", cases, wrong);
  return cases == 0 || wrong > 0 ? 1 : 0;
}
