#include "host/shares.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <spdlog/spdlog.h>

#include "host/sides.h"
#include "node/netns.h"

namespace viaduct::host {

namespace {

constexpr std::chrono::milliseconds kEvery = std::chrono::seconds(30);

/// Without one, changes are found with the next round.
http::Descriptor address_monitor() {
    http::Descriptor monitor(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (!monitor.valid() ||
        ::bind(monitor.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        spdlog::warn("addresses that come and go are not heard of at once: {}", std::strerror(errno));
    return monitor;
}

node::Namespace namespace_of(const std::string& path) {
    return path.empty() ? node::Namespace::own() : node::Namespace::open(path);
}

}  // namespace

Shares::Shares(reconcile::Reconciler& reconciler)
    : reconciler_(reconciler), bell_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), monitor_(address_monitor()) {
    if (!bell_.valid()) throw std::runtime_error("the kernel gives no eventfd");
}

void Shares::start() {
    thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
}

void Shares::stop() {
    thread_.request_stop();
    wake();
    if (thread_.joinable()) thread_.join();
}

void Shares::wake() {
    ::eventfd_write(bell_.get(), 1);
}

/// Until a round is wanted, the kernel's addresses change, or some time has passed.
void Shares::wait() const {
    std::array<pollfd, 2> ends{{{bell_.get(), POLLIN, 0}, {monitor_.get(), POLLIN, 0}}};
    ::poll(ends.data(), ends.size(), static_cast<int>(kEvery.count()));
    eventfd_t rings = 0;
    ::eventfd_read(bell_.get(), &rings);
    std::array<char, 16384> unread;
    // ENOBUFS says that some was lost, which is as good as having read it.
    while (::recv(monitor_.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0 || errno == ENOBUFS) {
    }
}

void Shares::run(const std::stop_token& stopping) {
    while (!stopping.stop_requested()) {
        if (before_) {
            auto own = before_();
            const std::scoped_lock lock(working_);
            hosts_own_ = std::move(own);
        }
        sync();
        wait();
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
    std::set<std::string> present;
    for (auto& side : sides_of(config)) {
        present.insert(side.netns);
        const auto own = side.netns.empty() ? hosts_own_.find(side.interface.ifname) : hosts_own_.end();
        if (own != hosts_own_.end()) side.kept = own->second;
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
