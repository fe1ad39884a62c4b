// The thread that merges what arrives.
#include "source/merged.h"

#include <algorithm>
#include <utility>

namespace viaduct::source {

namespace {

std::vector<std::string> names_of(const std::vector<Source*>& sources) {
    std::vector<std::string> names;
    for (const auto* source : sources)
        names.push_back(source->name());
    return names;
}

/// How often a source that has not told anything is asked for its trouble.
constexpr std::chrono::milliseconds kLook{10};

}  // namespace

Merged::Merged(std::vector<Source*> sources, std::chrono::milliseconds patience)
    : sources_(std::move(sources)),
      patience_(patience),
      arrived_(sources_.size()),
      heard_(sources_.size()),
      precedence_(names_of(sources_)) {}

std::string Merged::name() const {
    std::string text;
    for (const auto& name : names_of(sources_))
        text += (text.empty() ? "" : " and ") + name;
    return text;
}

void Merged::start(Listener listener) {
    listener_ = std::move(listener);
    thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
    for (std::size_t at = 0; at < sources_.size(); ++at) {
        sources_[at]->start([this, at](SnapshotPtr snapshot) {
            const std::lock_guard lock(mutex_);
            arrived_[at] = std::move(snapshot);
            heard_[at] = true;
            bell_.notify_all();
        });
    }
}

void Merged::stop() {
    for (auto* source : sources_)
        source->stop();
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

bool Merged::someone_to_wait_for() const {
    std::vector<bool> heard;
    {
        const std::lock_guard lock(mutex_);
        heard = heard_;
    }
    for (std::size_t at = 0; at < sources_.size(); ++at) {
        if (!heard[at] && sources_[at]->trouble().empty()) return true;
    }
    return false;
}

void Merged::run(const std::stop_token& stopping) {
    const auto deadline = std::chrono::steady_clock::now() + patience_;
    while (!stopping.stop_requested() && someone_to_wait_for() &&
           std::chrono::steady_clock::now() < deadline) {
        std::unique_lock lock(mutex_);
        const auto all = [&] { return std::ranges::find(heard_, false) == heard_.end(); };
        bell_.wait_for(lock, stopping, kLook, all);
    }
    const auto is_new = [this] {
        return std::ranges::any_of(arrived_, [](const auto& one) { return one != nullptr; });
    };
    while (!stopping.stop_requested()) {
        {
            std::unique_lock lock(mutex_);
            if (!bell_.wait(lock, stopping, is_new)) return;
        }
        // Sources are asked with nothing held.
        listener_(merge(trouble()));
    }
}

SnapshotPtr Merged::merge(std::string trouble) {
    const std::lock_guard lock(mutex_);
    for (std::size_t at = 0; at < arrived_.size(); ++at) {
        if (const auto snapshot = std::exchange(arrived_[at], nullptr); snapshot != nullptr)
            precedence_.update(at, snapshot);
    }
    auto now = precedence_.snapshot();
    now.trouble = std::move(trouble);
    latest_ = std::make_shared<const Snapshot>(std::move(now));
    return latest_;
}

SnapshotPtr Merged::latest() const {
    const auto now = trouble();
    SnapshotPtr latest;
    {
        const std::lock_guard lock(mutex_);
        latest = latest_;
    }
    if (latest == nullptr || latest->trouble == now) return latest;
    auto copy = *latest;
    copy.trouble = now;
    return std::make_shared<const Snapshot>(std::move(copy));
}

std::string Merged::trouble() const {
    std::string text;
    for (const auto* source : sources_) {
        if (const auto one = source->trouble(); !one.empty()) text += (text.empty() ? "" : "; ") + one;
    }
    return text;
}

std::optional<Merged::Holder> Merged::holder(const kubernetes::ObjectId& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = precedence_.holder(id);
    if (!found) return std::nullopt;
    return Holder{sources_[found->source], found->origin};
}

}  // namespace viaduct::source
