// links: wire guard
// Any bytes as a request: refused, or indexed with spans that stand in the body; then scanned and cleared. The padding
// behind the body is hostile too.
#include <cstdint>
#include <cstring>
#include <memory>

#include "guard/clear.hpp"
#include "wire/chat.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace intertie;
  std::unique_ptr<char[]> body(new char[size + kPadding]);
  if (size > 0) std::memcpy(body.get(), bytes, size);
  std::memset(body.get() + size, size > 0 ? bytes[size / 2] : 0, kPadding);
  std::string_view view(body.get(), size);
  auto ask = wire::read_chat_ask(view);
  if (!ask) {
    (void)wire::render_chat_failure(ask.error());
    return 0;
  }
  std::uint32_t total = 0;
  for (const auto& span : ask->texts) {
    CHECK(span.begin > 0 && span.begin < span.end && span.end < size);
    CHECK(view[span.begin - 1] == '"' && view[span.end] == '"');
    total += span.end - span.begin;
  }
  CHECK(total == ask->text_bytes);
  CHECK(!ask->model.empty() && ask->messages > 0);
  CHECK(ask->at(ask->model_value).starts_with('"') && ask->at(ask->model_value).ends_with('"'));
  CHECK(ask->stream_options.empty() ||
        (ask->at(ask->stream_options).starts_with('{') && ask->at(ask->stream_options).ends_with('}')));
  auto findings = guard::scan(*ask);
  std::uint32_t end = 0;
  for (const auto& finding : findings.list) {
    CHECK(finding.begin >= end && finding.begin < finding.end && finding.end <= size);
    end = finding.end;
  }
  (void)guard::clear(*ask, findings, default_matrix(), Trust::T4);
  // What was accepted stays acceptable with another model spliced in.
  std::vector<wire::Edit> edits{{ask->model_value.begin, ask->model_value.end, "\"other\""}};
  std::string spliced;
  for (auto piece : wire::splice(view, edits)) spliced += piece;
  spliced.reserve(spliced.size() + kPadding);
  auto again = wire::read_chat_ask(spliced);
  CHECK(again && again->model == "other" && again->texts.size() == ask->texts.size());
  return 0;
}
