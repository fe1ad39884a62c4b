// A source of desired state that tells what a test tells it to.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "source/source.h"

namespace viaduct::test {

class ToldSource : public source::Source {
public:
    [[nodiscard]] std::string name() const override { return "a test"; }
    void start(Listener listener) override { listener_ = std::move(listener); }
    void stop() override {}
    [[nodiscard]] source::SnapshotPtr latest() const override { return latest_; }
    [[nodiscard]] std::string trouble() const override { return {}; }
    void tell(const kubernetes::Objects& objects) {
        auto snapshot = std::make_shared<source::Snapshot>();
        snapshot->objects = objects;
        latest_ = snapshot;
        listener_(latest_);
    }

private:
    Listener listener_;
    source::SnapshotPtr latest_;
};

}  // namespace viaduct::test
