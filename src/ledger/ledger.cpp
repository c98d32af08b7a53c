#include "ledger/ledger.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <pthread.h>

#include "core/log.hpp"
#include "ledger/rows.hpp"

namespace intertie::ledger {

std::string_view to_string(Outcome outcome) {
  constexpr std::array<std::string_view, 5> kNames{"answered", "refused", "failed", "client_gone", "broken_mid_stream"};
  return kNames[static_cast<std::size_t>(outcome)];
}

// Two vectors swap roles: post() fills one under a short lock, the writer empties the other without it. The writer sleeps
// without a timer while there is nothing to do; the first post after that wakes it, the others of a batch don't.
class Ledger::Impl {
 public:
  Impl(store::Database database, Writer rows)
      : database_(std::move(database)), rows_(std::move(rows)), writer_([this] { write_until_stopped(); }) {}
  ~Impl() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    writer_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void post(Receipt receipt) {
    Receipt dropped; // dies outside the lock
    bool wake = false;
    {
      std::lock_guard lock(mutex_);
      if (pending_.size() < kRing) {
        pending_.push_back(std::move(receipt));
      } else {
        dropped = std::exchange(pending_[oldest_], std::move(receipt));
        oldest_ = (oldest_ + 1) % kRing;
        ++counters_.dropped;
        // Its Story may be that of others behind it.
        if (dropped.tell && dropped.story_key != 0 && untold_.size() < kUntold) untold_.push_back(std::move(dropped));
      }
      ++counters_.posted;
      wake = std::exchange(idle_, false) || pending_.size() == kEarly;
    }
    if (wake) wake_.notify_one();
  }

  void flush() {
    std::unique_lock lock(mutex_);
    auto target = counters_.posted;
    ++flushing_;
    wake_.notify_one();
    settled_.wait(lock, [&] { return counters_.written + counters_.failed + counters_.dropped >= target; });
    --flushing_;
  }

  Counters counters() const {
    std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  static constexpr std::size_t kRing = 8192;       // receipts; 1 MB when full, which is when to be loud
  static constexpr std::size_t kEarly = kRing / 2; // don't wait for the flush interval's end
  static constexpr std::size_t kUntold = 64;
  static constexpr int kTries = 3; // against another program's lock on the file
  static constexpr seconds kLogEvery{60};

  void write_until_stopped() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr); // signals are main's
    pthread_setname_np(pthread_self(), "ledger");
    std::vector<Receipt> batch, untold;
    std::unique_lock lock(mutex_);
    for (;;) {
      idle_ = pending_.empty();
      wake_.wait(lock, [&] { return !pending_.empty() || stopping_; });
      idle_ = false;
      if (pending_.empty()) return;
      wake_.wait_for(lock, kFlush, [&] { return stopping_ || flushing_ > 0 || pending_.size() >= kEarly; });
      std::ranges::rotate(pending_, pending_.begin() + static_cast<std::ptrdiff_t>(oldest_));
      oldest_ = 0;
      batch.swap(pending_);
      untold.swap(untold_);
      auto dropped = counters_.dropped;
      lock.unlock();
      auto written = write(batch, untold, dropped);
      auto size = batch.size();
      untold.clear();
      if (batch.capacity() > 4 * size)
        std::vector<Receipt>().swap(batch); // a lull: what the last burst needed is given back
      batch.clear();
      lock.lock();
      counters_.written += written;
      counters_.failed += size - written;
      settled_.notify_all();
    }
  }

  // Returns how many rows are safe. What can't be written is counted and given up: serving goes on.
  std::size_t write(std::vector<Receipt>& batch, std::vector<Receipt>& untold, std::uint64_t dropped) {
    std::size_t written = 0;
    auto result = write_rows(batch, untold, written);
    if (!result) {
      rows_.forget();
      complain(fmt::format("{} receipts could not be written: {}", batch.size() - written, result.error().message));
    }
    if (dropped > dropped_told_) {
      complain(
          fmt::format("{} receipts were dropped: they come faster than the disk takes them", dropped - dropped_told_));
      dropped_told_ = dropped;
    }
    return written;
  }
  Result<> write_rows(std::vector<Receipt>& batch, std::vector<Receipt>& untold, std::size_t& written) {
    TRY(auto transaction, begin_patiently());
    std::size_t rows = 0;
    std::optional<Failure> first;
    for (auto& lost : untold) TRY_VOID(rows_.tell(lost));
    for (auto& receipt : batch) {
      if (auto result = rows_.insert(receipt); result) ++rows;
      else if (!first) first = std::move(result).error();
    }
    TRY_VOID(transaction.commit());
    written = rows;
    if (first) return std::unexpected(std::move(*first));
    return {};
  }
  Result<store::Transaction> begin_patiently() {
    for (int tries = 1;; ++tries)
      if (auto transaction = store::Transaction::begin(database_); transaction || tries == kTries) return transaction;
  }
  void complain(const std::string& what) {
    auto now = std::chrono::steady_clock::now();
    if (told_ && now - *told_ < kLogEvery) return;
    told_ = now;
    log::error("ledger: {} (answers go on, without a record)", what);
  }

  store::Database database_;
  Writer rows_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, settled_;
  std::vector<Receipt> pending_;
  std::vector<Receipt> untold_; // dropped ones whose Story others may need
  std::size_t oldest_ = 0;      // where the ring begins once it is full
  Counters counters_{};
  int flushing_ = 0;
  bool idle_ = false;
  bool stopping_ = false;
  std::uint64_t dropped_told_ = 0; // writer only, as are the next ones
  std::optional<TimePoint> told_;
  std::thread writer_; // last: starts when all else is there
};

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& file) {
  TRY(auto database, store::Database::open(file, store::Mode::ReadWrite));
  TRY_VOID(database.migrate(schema()));
  TRY(auto rows, Writer::open(database));
  return std::unique_ptr<Ledger>(new Ledger(std::make_unique<Impl>(std::move(database), std::move(rows))));
}
void Ledger::post(Receipt receipt) { impl_->post(std::move(receipt)); }
void Ledger::flush() { impl_->flush(); }
Ledger::Counters Ledger::counters() const { return impl_->counters(); }
} // namespace intertie::ledger
