#include "host/shares.h"

#include <chrono>

#include <spdlog/spdlog.h>

#include "host/sides.h"
#include "node/netns.h"

namespace viaduct::host {

namespace {

constexpr auto kEvery = std::chrono::seconds(30);

node::Namespace namespace_of(const std::string& path) {
    return path.empty() ? node::Namespace::own() : node::Namespace::open(path);
}

}  // namespace

void Shares::start() {
    thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
}

void Shares::stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

void Shares::wake() {
    {
        const std::scoped_lock lock(mutex_);
        wanted_ = true;
    }
    bell_.notify_all();
}

void Shares::run(const std::stop_token& stopping) {
    while (!stopping.stop_requested()) {
        {
            std::unique_lock lock(mutex_);
            bell_.wait_for(lock, stopping, kEvery, [this] { return wanted_; });
            wanted_ = false;
        }
        if (!stopping.stop_requested()) sync();
    }
}

void Shares::report(const std::string& place, const std::string& fault) {
    auto& told = faults_[place];
    if (told == fault) return;
    told = fault;
    if (!fault.empty()) spdlog::error("{}: the host's side is not as it should be: {}", place, fault);
    if (fault.empty()) spdlog::info("{}: the host's side is as it should be again", place);
}

/// Where nothing is shared any more, local programs find the node as they did before.
void Shares::withdraw_rules(const std::set<std::string>& present) {
    for (auto it = with_rules_.begin(); it != with_rules_.end();) {
        if (present.contains(*it)) {
            ++it;
            continue;
        }
        try {
            node::set_published(namespace_of(*it), {}, kPublishedTable);
        } catch (const node::Error& error) {
            // The namespace has gone, and its rules with it.
            spdlog::debug("rules in namespace {}: {}", *it, error.what());
        }
        it = with_rules_.erase(it);
    }
}

void Shares::sync() {
    const std::scoped_lock lock(working_);
    const auto config = reconciler_.in_force();
    if (before_) before_(config);
    std::set<std::string> present;
    for (const auto& side : sides_of(config)) {
        present.insert(side.netns);
        const auto place = "ports/" + side.port;
        try {
            bring_about(side);
            if (side.left_out != 0)
                spdlog::debug("{}: the host has no routes of its own to {} networks", place, side.left_out);
            if (faults_.contains(place)) report(place, "");
        } catch (const std::exception& error) {
            report(place, error.what());
        }
    }
    withdraw_rules(present);
    with_rules_.insert(present.begin(), present.end());
}

}  // namespace viaduct::host
