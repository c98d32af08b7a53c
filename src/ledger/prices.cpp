#include "ledger/prices.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "core/text.hpp"

namespace intertie::ledger {
namespace {
constexpr std::size_t kLongestFile = 1u << 20;
constexpr double kMostDollars = 100'000; // per million tokens

// One [[price]] while it is read.
struct Draft {
  PriceRow row;
  std::optional<double> input, output, cached;
  std::size_t line = 0;
};

class LineReader {
 public:
  explicit LineReader(std::string_view file) : file_(file) {}

  Result<> line(std::string_view raw, std::size_t number, std::vector<PriceRow>& rows) {
    number_ = number;
    auto text = text::trim(raw);
    column_ = static_cast<std::size_t>(text.data() - raw.data()) + 1;
    if (text.empty() || text.front() == '#') return {};
    if (text.front() == '[') {
      if (text::trim(text.substr(0, text.find('#'))) != "[[price]]")
        return wrong("only [[price]] tables are known here");
      TRY_VOID(finish(rows));
      draft_.emplace();
      draft_->line = number;
      return {};
    }
    if (!draft_) return wrong("a [[price]] line is missing before this");
    auto equals = text.find('=');
    if (equals == std::string_view::npos) return wrong("key = value is meant");
    return value(text::trim(text.substr(0, equals)), text::trim(text.substr(equals + 1)));
  }
  Result<> finish(std::vector<PriceRow>& rows) {
    if (!draft_) return {};
    number_ = draft_->line;
    column_ = 1;
    auto& row = draft_->row;
    if (row.provider.empty() || row.model.empty()) return wrong("this [[price]] needs a provider and a model");
    if (!draft_->input || !draft_->output)
      return wrong("this [[price]] needs input and output, in dollars per million tokens");
    if (row.date.empty()) return wrong("this [[price]] needs a date: a price without one can't be trusted");
    auto micro = [](double dollars) { return static_cast<std::int64_t>(std::llround(dollars * 1e6)); };
    row.price = {micro(*draft_->input), micro(draft_->cached.value_or(*draft_->input)), micro(*draft_->output), true};
    rows.push_back(std::move(row));
    draft_.reset();
    return {};
  }

 private:
  std::unexpected<Failure> wrong(std::string_view what) const {
    return bad_request(fmt::format("{}:{}:{}: {}", file_, number_, column_, what), "bad_prices");
  }
  Result<> value(std::string_view key, std::string_view text) {
    const std::vector<std::string> keys{"provider", "model", "input", "output", "cached_input", "date", "source"};
    if (key == "provider") return string(text, draft_->row.provider);
    if (key == "model") return string(text, draft_->row.model);
    if (key == "source") return string(text, draft_->row.source);
    if (key == "date") {
      TRY_VOID(string(text, draft_->row.date));
      const auto& d = draft_->row.date;
      bool good =
          d.size() == 10 && d[4] == '-' && d[7] == '-' && d.find_first_not_of("0123456789-") == std::string::npos;
      if (!good) return wrong("a date is written \"2025-09-01\"");
      return {};
    }
    if (key == "input") return dollars(text, draft_->input);
    if (key == "output") return dollars(text, draft_->output);
    if (key == "cached_input") return dollars(text, draft_->cached);
    auto near = text::suggest(key, keys, 1);
    return wrong(near.empty()
                     ? std::string("unknown key; known are provider, model, input, output, cached_input, date, source")
                     : fmt::format("unknown key: did you mean \"{}\"?", near[0]));
  }
  Result<> string(std::string_view text, std::string& into) {
    auto end = text.size() < 2 || text.front() != '"' ? std::string_view::npos : text.find('"', 1);
    if (end == std::string_view::npos || text.find('\\') < end) return wrong("a string in double quotes is meant");
    TRY_VOID(nothing_behind(text.substr(end + 1)));
    into = text.substr(1, end - 1);
    return {};
  }
  Result<> dollars(std::string_view text, std::optional<double>& into) {
    double number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || !(number >= 0 && number <= kMostDollars))
      return wrong("a number of dollars per million tokens is meant, such as 0.15");
    TRY_VOID(nothing_behind({end, static_cast<std::size_t>(text.data() + text.size() - end)}));
    into = number;
    return {};
  }
  Result<> nothing_behind(std::string_view rest) {
    rest = text::trim(rest);
    if (!rest.empty() && rest.front() != '#') return wrong("there is more on this line than one value");
    return {};
  }

  std::string_view file_;
  std::size_t number_ = 1, column_ = 1;
  std::optional<Draft> draft_;
};
} // namespace

Result<PriceTable> PriceTable::parse(std::string_view text, std::string_view file_name) {
  if (text.size() > kLongestFile) return bad_request(fmt::format("{}:1:1: larger than 1 MB", file_name), "bad_prices");
  LineReader reader(file_name);
  std::vector<PriceRow> rows;
  std::size_t number = 0;
  for (auto line : text::split(text, '\n')) TRY_VOID(reader.line(line, ++number, rows));
  TRY_VOID(reader.finish(rows));
  PriceTable table;
  table.rows_.reserve(rows.size());
  for (auto& row : rows) table.put(std::move(row));
  return table;
}

const PriceTable& PriceTable::built_in() {
  static const PriceTable table = [] {
    auto parsed = parse(built_in_prices_text(), "share/prices.toml");
    CHECK(parsed.has_value()); // the test reads the same text
    return *std::move(parsed);
  }();
  return table;
}

Result<PriceTable> PriceTable::load(const std::string& file) {
  PriceTable table = built_in();
  std::error_code error;
  if (file.empty() || !std::filesystem::exists(file, error)) return table;
  std::ifstream in(file, std::ios::binary);
  std::string text(kLongestFile + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.eof() && in.fail())
    return bad_request(fmt::format("{}: can't be read: check that it is a file of yours", file), "bad_prices");
  TRY(auto own, parse(text, file));
  for (auto& row : own.rows_) table.put(std::move(row));
  return table;
}

namespace {
std::pair<std::string_view, std::string_view> key_of(const PriceRow& row) { return {row.provider, row.model}; }
} // namespace

void PriceTable::put(PriceRow row) { // the later one wins
  auto at = std::ranges::lower_bound(rows_, key_of(row), {}, key_of);
  if (at != rows_.end() && key_of(*at) == key_of(row)) *at = std::move(row);
  else rows_.insert(at, std::move(row));
}
const PriceRow* PriceTable::find(std::string_view provider, std::string_view model) const {
  auto wanted = std::pair(provider, model);
  auto at = std::ranges::lower_bound(rows_, wanted, {}, key_of);
  return at != rows_.end() && key_of(*at) == wanted ? &*at : nullptr;
}

std::int64_t cost(const Usage& usage, const Price& price) {
  if (!price.known) return 0;
  auto cached = std::min(usage.cached_tokens, usage.prompt_tokens);
  auto micro = static_cast<__int128>(usage.prompt_tokens - cached) * price.input +
               static_cast<__int128>(cached) * price.cached_input +
               static_cast<__int128>(usage.completion_tokens) * price.output;
  return static_cast<std::int64_t>((micro + 999'999) / 1'000'000);
}
} // namespace intertie::ledger
