#include "bin/check_report.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "bin/terminal.hpp"
#include "core/json.hpp"

namespace intertie::bin {
namespace {

constexpr std::array kAllTrusts{Trust::T0, Trust::T1, Trust::T2, Trust::T3, Trust::T4};

std::string_view detector_name(const guard::Finding& finding) {
  auto rows = guard::detectors();
  return finding.detector < rows.size() ? rows[finding.detector].name : std::string_view{"UNKNOWN"};
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}
std::size_t length_of(const Checked& checked, const guard::Finding& finding) {
  auto begin = std::min<std::size_t>(finding.begin, checked.text.size());
  auto end = std::clamp<std::size_t>(finding.end, begin, checked.text.size());
  return characters(checked.text.substr(begin, end - begin));
}

// Findings come sorted: one walk over the text serves them all.
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}
  Position2d to(std::size_t byte) {
    byte = std::min(byte, text_.size());
    for (; at_ < byte; ++at_) {
      if (text_[at_] == '\n') at2d_ = {at2d_.line + 1, 1};
      else if ((text_[at_] & 0xC0) != 0x80) ++at2d_.column;
    }
    return at2d_;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  Position2d at2d_;
};

Colour colour_of(Action action) {
  if (action == Action::Allow) return Colour::Green;
  return action == Action::Block ? Colour::Red : Colour::Yellow;
}

std::string headline(const Checked& checked, DataClass data_class) {
  auto count = checked.findings.list.size();
  auto what = count == 0   ? std::string("nothing private found")
              : count == 1 ? std::string("1 finding")
                           : fmt::format("{} findings", count);
  return fmt::format("{}: {} — class {} ({})", checked.name, what, to_string(data_class), describe(data_class));
}

} // namespace

Position2d position_of(std::string_view text, std::size_t byte) { return Walk(text).to(byte); }

std::string_view describe(Action action) {
  switch (action) {
    case Action::Allow: return "may go there";
    case Action::Mask: return "may go there masked (this version can't mask yet: it stays)";
    case Action::Condense: return "may go there condensed (this version can't condense yet: it stays)";
    case Action::Ask: return "you would be asked first (this version can't ask yet: it stays)";
    case Action::LocalOnly: return "stays on this device";
    case Action::Block: break;
  }
  return "is refused";
}

std::string check_text(const Checked& checked) {
  auto data_class = checked.findings.highest(checked.matrix.unknown);
  std::string out = paint(Colour::Bold, headline(checked, data_class)) + "\n";
  if (!checked.findings.complete)
    out +=
        paint(Colour::Red, fmt::format("A detector failed, so the text counts as {}.", to_string(data_class))) + "\n";
  if (!checked.findings.list.empty()) {
    std::vector<std::vector<std::string>> rows{{"  LINE:COLUMN", "FOUND", "CLASS", "LENGTH"}};
    Walk walk(checked.text);
    for (const auto& finding : checked.findings.list) {
      auto at = walk.to(finding.begin);
      rows.push_back({fmt::format("  {}:{}", at.line, at.column), std::string(detector_name(finding)),
                      fmt::format("{} {}", to_string(finding.data_class), describe(finding.data_class)),
                      fmt::format("{} characters", length_of(checked, finding))});
    }
    out += "\n" + table(rows);
  }
  out += "\nWhat your policy does with such a text:\n";
  for (auto trust : kAllTrusts) {
    auto action = checked.matrix.at(data_class, trust);
    auto what = trust == Trust::T0 && action == Action::Allow ? std::string_view{"is answered here"} : describe(action);
    out += fmt::format("  {} {:<30} {}\n", to_string(trust), describe(trust), paint(colour_of(action), what));
  }
  return out;
}

std::string check_json(const Checked& checked) {
  auto data_class = checked.findings.highest(checked.matrix.unknown);
  json::Array findings;
  Walk walk(checked.text);
  for (const auto& finding : checked.findings.list) {
    auto at = walk.to(finding.begin);
    json::Object o;
    o.add("type", detector_name(finding)).add("class", to_string(finding.data_class));
    o.add("line", std::uint64_t{at.line}).add("column", std::uint64_t{at.column});
    o.add("begin", finding.begin).add("end", finding.end).add("characters", std::uint64_t{length_of(checked, finding)});
    o.add("score", static_cast<double>(finding.score));
    findings.raw(o.str());
  }
  json::Object policy;
  for (auto trust : kAllTrusts) policy.add(to_string(trust), to_string(checked.matrix.at(data_class, trust)));
  json::Object o;
  o.add("name", checked.name).add("class", to_string(data_class)).add("complete", checked.findings.complete);
  o.raw("findings", findings.str()).raw("policy", policy.str());
  return o.str();
}

} // namespace intertie::bin
