#include "guard/clear.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace intertie::guard {
namespace {
// The strictest action over everything found, and the class that asks for it. Not simply the highest class: a policy
// may treat a confidential mark (C5) more gently than a key (C4) at the same place.
struct Verdict {
  Action action = Action::Allow;
  DataClass data_class = DataClass::C0;
};
Verdict judge(const Findings& findings, const Matrix& matrix, Trust trust) {
  Verdict verdict{matrix.at(DataClass::C0, trust), DataClass::C0};
  auto consider = [&](DataClass data_class) {
    Action action = matrix.at(data_class, trust);
    if (action > verdict.action || (action == verdict.action && data_class > verdict.data_class))
      verdict = {action, data_class};
  };
  for (const auto& finding : findings.list) consider(finding.data_class);
  if (!findings.scanned || !findings.complete) {
    consider(matrix.unknown);
    consider(findings.highest(matrix.unknown));
  }
  return verdict;
}

// Which detectors spoke, as far as they are the shipped ones: "AWS_KEY, EMAIL".
std::string names(const Findings& findings, DataClass data_class) {
  std::string out;
  std::vector<std::uint16_t> named;
  for (const auto& finding : findings.list) {
    if (finding.data_class != data_class || finding.detector >= detectors().size() || named.size() == 3) continue;
    if (std::ranges::find(named, finding.detector) != named.end()) continue;
    named.push_back(finding.detector);
    out += fmt::format("{}{}", out.empty() ? ": " : ", ", detectors()[finding.detector].name);
  }
  return out;
}

std::string explain(const Verdict& verdict, const Findings& findings, Trust trust) {
  std::string what = !findings.scanned ? "The request was not scanned for private data"
                     : !findings.complete
                         ? "The scan for private data did not finish"
                         : fmt::format("The request holds private data ({}, {}{})", to_string(verdict.data_class),
                                       describe(verdict.data_class), names(findings, verdict.data_class));
  std::string_view rule =
      verdict.action == Action::Block ? "blocks it from going to" : "keeps it on this device, away from";
  return fmt::format("{}; the policy {} {}. Remove it, or ask a model on this device with \"auto:private\".", what,
                     rule, describe(trust));
}
} // namespace

Result<Cleared> clear(const Ask& ask, const Findings& findings, const Matrix& matrix, Trust trust) {
  if (matrix.open(trust)) return Cleared(ask, trust);
  Verdict verdict = judge(findings, matrix, trust);
  if (verdict.action == Action::Allow && findings.scanned) return Cleared(ask, trust);
  bool block = verdict.action == Action::Block;
  return fail(FailureKind::Denied, Fault::OurPolicy, explain(verdict, findings, trust),
              block ? "policy_block" : "policy_local_only");
}
} // namespace intertie::guard
