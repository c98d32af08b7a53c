// Tool calls without the engine's help, for a model whose template knows no tools or whose engine doesn't hold it to
// tool_choice: the request asks for JSON by a schema that only a call fits, the answer's JSON becomes a tool call. Two
// halves, both sans I/O: edits of the client's own bytes, and a reader of the model's text that may come cut anywhere.
// One call per answer; parallel calls are not forced. Pure; one answer, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "wire/fields.hpp"

namespace intertie::wire {

// Replaces tools and tool_choice ("required" or a named function) by a response_format that only a call of one of them
// fits, and lists them to the model in its system message. Returns their names. BadRequest when tool_choice names none of
// them or a tool has no name; Unsupported when one is not a function.
Result<std::vector<std::string>> force_call(BodyEdits& body);
// Renders earlier calls and their results as text of the assistant and the user, for a template that knows neither.
void tools_as_text(BodyEdits& body);

// Reads a model's text and tells a call, {"name": "…", "arguments": {…}}, from anything else. Nothing is swallowed: what
// turns out to be no call is text. Blanks between the tokens of a call are left out.
class CallReader {
 public:
  explicit CallReader(std::vector<std::string> names) : names_(std::move(names)) {}
  struct Piece {
    std::string text;      // not part of a call
    bool begins = false;   // the call's name is known from here on
    std::string arguments; // the next bytes of its arguments
  };
  Piece read(std::string_view text);
  Piece end(); // nothing comes any more: what was held back is text
  const std::string& name() const { return name_; }
  bool complete() const { return complete_; }

 private:
  enum class State : std::uint8_t { Head, Arguments, Closing, Behind, Text };
  void head(char c);
  void argument(char c, Piece& piece);
  bool known() const;
  void give_up() { state_ = State::Text; }

  std::vector<std::string> names_;
  std::string name_;
  std::string held_;     // may still be the head of a call
  std::size_t step_ = 0; // token of the head
  std::size_t at_ = 0;   // bytes of it that came
  int depth_ = 0;
  State state_ = State::Head;
  bool in_string_ = false;
  bool escaped_ = false;
  bool complete_ = false;
};

// The events of such an answer as those of a tool call.
class CallEvents {
 public:
  CallEvents(std::string id, std::vector<std::string> names) : id_(std::move(id)), reader_(std::move(names)) {}
  // Whole events in, whole events out (possibly none), valid until the next call. UpstreamBroken when one is not JSON.
  Result<std::string_view> rewrite(std::string_view events);

 private:
  std::string id_;
  CallReader reader_;
  std::string rewritten_;
};

} // namespace intertie::wire
