// intertie models add|pull: a model becomes one of ours, checked and with its hash on record; a running daemon hears
// of it.
#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "bin/daemon_client.hpp"
#include "bin/models_files.hpp"
#include "bin/models_hash.hpp"
#include "bin/models_known.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "local/pull.hpp"
#include "local/sha256.hpp"
#include "net/client.hpp"
#include "net/worker.hpp"

namespace intertie::bin {
namespace {

namespace fs = std::filesystem;

// The entry of our own folder by that name.
Result<local::Entry> own_entry(const std::string& data_dir, const std::string& name) {
  local::Catalogue catalogue;
  for (auto& entry :
       catalogue.scan({.own = data_dir + "/models", .extra = {}, .ollama = {}, .lmstudio = {}, .huggingface = {}}))
    if (entry.name == name) return std::move(entry);
  return internal(fmt::format("{} was added but isn't in {}/models", name, data_dir));
}

Result<std::vector<std::string>> hash_parts(const std::vector<std::string>& files) {
  std::vector<std::string> hashes;
  for (const auto& file : files) {
    std::error_code error;
    ProgressBar bar("hashing " + fs::path(file).filename().string(), fs::file_size(file, error));
    TRY(auto hash, local::sha256_file(file, [&bar](std::uint64_t done) { bar.at(done); }));
    bar.end("sha256 " + hash);
    hashes.push_back(std::move(hash));
  }
  return hashes;
}

// Header first (quick), then the hash (slow), then the link: a file that is refused leaves nothing behind.
Result<local::Entry> add_file(const config::Config& config, const std::string& file, const std::string& name) {
  std::error_code error;
  auto real = fs::canonical(file, error).string();
  if (error) return fail(FailureKind::NotFound, Fault::Client, fmt::format("there is no file {}", file));
  TRY(auto model, local::read_gguf(real));
  TRY(auto hashes, hash_parts(model.parts == 1 ? std::vector{real} : model_parts(real)));
  TRY(auto added, local::add_by_path(config.local.data_dir, real, name));
  TRY(auto entry, own_entry(config.local.data_dir, added));
  auto links = model_parts(entry.file);
  for (std::size_t i = 0; i < std::min(links.size(), hashes.size()); ++i) TRY_VOID(record_hash(links[i], hashes[i]));
  return entry;
}

// The daemon looks at the stores again; without one there is nothing to tell.
bool tell_daemon(const config::Config& config) {
  auto answer = ask_daemon(config, {.method = "POST", .path = "/intertie/v1/rescan"});
  return answer && answer->status == 200;
}

// A download on a Worker of its own that lives as long as the command. What a cut leaves behind is gone on with next
// time.
class Pull {
 public:
  Pull(local::PullOrder order, std::string label)
      : worker_(clock_),
        client_(worker_),
        order_(std::move(order)),
        label_(std::move(label)),
        call_{make_call_id(clock_.wall()), clock_, clock_.now(), clock_.now() + kLongest, {}, "cli"} {}
  Result<std::string> run() {
    worker_.spawn(fetch());
    worker_.run();
    if (bar_) bar_->end(result_ ? "verified" : "stopped");
    return std::move(result_);
  }

 private:
  static constexpr std::chrono::hours kLongest{7 * 24};

  Task<void> fetch() {
    net::Worker::Watched watched(worker_, call_);
    result_ =
        co_await local::pull(client_, order_, call_, [this](const local::PullProgress& progress) { show(progress); });
    worker_.stop(milliseconds{0});
  }
  void show(const local::PullProgress& progress) {
    if (!bar_) bar_.emplace(label_, progress.total);
    bar_->at(progress.done);
  }

  SystemClock clock_;
  net::Worker worker_;
  net::Client client_;
  local::PullOrder order_;
  std::string label_;
  Call call_;
  std::optional<ProgressBar> bar_;
  Result<std::string> result_ = internal("the download did not run");
};

Result<local::Entry> pull_url(const config::Config& config, const Options& options) {
  local::PullOrder order;
  order.url = options.file;
  order.sha256 = options.sha256;
  order.name = options.name;
  order.data_dir = config.local.data_dir;
  order.quota = config.local.disk_limit;
  auto path = options.file.substr(0, options.file.find_first_of("?#"));
  auto pulled = Pull(std::move(order), path.substr(path.rfind('/') + 1)).run();
  if (!pulled && pulled.error().code == "wrong_hash")
    pulled.error().message += fmt::format(" (--sha256 says {})", options.sha256);
  TRY(auto name, std::move(pulled));
  TRY(auto entry, own_entry(config.local.data_dir, name));
  if (!entry.problem.empty()) return bad_request(entry.problem, "unusable_model");
  TRY_VOID(record_hash(entry.file, options.sha256));
  return entry;
}

int report(const Options& options, const config::Config& config, const local::Entry& entry, std::string_view done) {
  bool told = tell_daemon(config);
  if (options.json) {
    auto models = known_models(config);
    auto model = find_model(models, entry.name);
    if (!model) return complain(model.error());
    fmt::print("{}\n", model_json(**model));
    return kOk;
  }
  fmt::print("{} {}: {}, {} parameters, {}\n", done, paint(Colour::Bold, entry.name),
             text::human_bytes(entry.model.file_bytes), human_parameters(entry.model.parameters),
             entry.model.quantisation);
  fmt::print("{}\nTry it: intertie ask --model {} \"What is the capital of France?\"\n",
             told ? "The running daemon knows it." : "It is there for the next `intertie serve`.", entry.name);
  return kOk;
}

} // namespace

int models_add(const Options& options, const config::Config& config) {
  auto entry = add_file(config, options.file, options.name);
  if (!entry) return complain(entry.error());
  return report(options, config, *entry, "added");
}

int models_pull(const Options& options, const config::Config& config) {
  if (!valid_sha256(options.sha256)) {
    fmt::print(stderr, "intertie: --sha256 takes 64 hexadecimal digits: a model is never used unchecked\n");
    return kUsage;
  }
  auto entry = pull_url(config, options);
  if (!entry) return complain(entry.error());
  return report(options, config, *entry, "pulled");
}

} // namespace intertie::bin
