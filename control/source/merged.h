// Several sources as one, by the rule of precedence.h: a directory of manifests, say, and what people apply
// beside it. Each keeps its own pace; whoever listens here sees all of them in one picture.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "source/precedence.h"
#include "source/source.h"

namespace viaduct::source {

class Merged final : public Source {
public:
    /// The source that is heard first in front; all must outlive this, and are started and stopped by it.
    /// `patience`: how long the first picture waits for a source that has nothing to tell yet and no trouble
    /// to tell of, lest an object is another source's for a moment.
    explicit Merged(std::vector<Source*> sources,
                    std::chrono::milliseconds patience = std::chrono::milliseconds(30000));
    ~Merged() override { stop(); }

    [[nodiscard]] std::string name() const override;
    void start(Listener listener) override;
    void stop() override;
    [[nodiscard]] SnapshotPtr latest() const override;
    [[nodiscard]] std::string trouble() const override;

    struct Holder {
        const Source* source = nullptr;
        kubernetes::Origin origin;
    };
    /// Which source an object is of; nothing: no source has it. Any thread.
    [[nodiscard]] std::optional<Holder> holder(const kubernetes::ObjectId& id) const;

private:
    void run(const std::stop_token& stopping);
    SnapshotPtr merge(std::string trouble);
    [[nodiscard]] bool someone_to_wait_for() const;

    const std::vector<Source*> sources_;
    const std::chrono::milliseconds patience_;
    Listener listener_;

    mutable std::mutex mutex_;  ///< guards what follows; no source is asked anything with it held
    std::condition_variable_any bell_;
    std::vector<SnapshotPtr> arrived_;  ///< by source; null: nothing new
    std::vector<bool> heard_;           ///< by source: has told something
    Precedence precedence_;
    SnapshotPtr latest_;

    std::jthread thread_;  ///< last: ends before the rest goes
};

}  // namespace viaduct::source
