// links: wire
// Any bytes as a request that forces a tool call: what is sent instead is valid. Any bytes as the model's answer, cut
// anywhere: the same call and the same text as uncut, and nothing of a text is lost. The first byte seeds the cuts.
#include <cstdint>
#include <string>

#include "core/ask.hpp"
#include "core/result.hpp"
#include "wire/chat.hpp"
#include "wire/forced_tools.hpp"

namespace {
using namespace intertie;

void ask(std::string_view bytes) {
  std::string body(bytes);
  body.reserve(body.size() + kPadding);
  auto read = wire::read_chat_ask(body);
  if (!read) return;
  wire::BodyEdits edits(read->body);
  bool forced = (read->needs & Cap::ForcedTools) != Cap::None;
  if (forced && !wire::force_call(edits)) return;
  if (read->tool_history) wire::tools_as_text(edits);
  auto changes = edits.edits();
  std::string sent;
  for (auto piece : wire::splice(read->body, changes)) sent += piece;
  sent.reserve(sent.size() + kPadding);
  auto again = wire::read_chat_ask(sent);
  // Schemas and calls stand deeper than they did; everything else the reader refuses would be ours.
  CHECK(again || again.error().code == "too_deep" || again.error().code == "too_many_strings");
  if (again && forced)
    CHECK(again->needs == ((read->needs & Cap::Vision) | (read->needs & Cap::Audio) | (read->needs & Cap::Logprobs) |
                           (read->needs & Cap::ManyChoices) | Cap::JsonSchema));
}

struct Heard {
  std::string text, arguments;
  bool begun = false;
};
Heard hear(std::string_view said, std::uint32_t seed) {
  wire::CallReader reader({"f", "get_weather"});
  Heard heard;
  auto take = [&](const wire::CallReader::Piece& piece) {
    heard.begun = heard.begun || piece.begins;
    heard.text += piece.text;
    heard.arguments += piece.arguments;
  };
  while (!said.empty()) {
    seed = seed * 1664525 + 1013904223;
    std::size_t size = seed >> 28 == 0 ? said.size() : std::min<std::size_t>(said.size(), seed >> 28);
    take(reader.read(said.substr(0, size)));
    said.remove_prefix(size);
  }
  take(reader.end());
  return heard;
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  ask(text);
  auto whole = hear(text, 0), cut = hear(text, bytes[0]);
  CHECK(whole.text == cut.text && whole.arguments == cut.arguments && whole.begun == cut.begun);
  CHECK(whole.begun || whole.text == text);
  wire::CallEvents events("call_1", {"f"});
  (void)events.rewrite(text);
  return 0;
}
