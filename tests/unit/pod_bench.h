// Attachments on a bench: a control process's life around them, a dataplane that makes real interfaces, and a
// namespace for a pod.
#pragma once

#include <net/if.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "fake_dataplane.h"
#include "pod/attachments.h"
#include "pod/failure.h"
#include "reconcile/config_changes.h"
#include "store/config_history.h"

namespace viaduct::pod {

using testing::FakeDataplane;
using testing::PrivateNamespace;
using testing::TemporaryDirectory;

inline std::vector<store::Migration> all_migrations() {
    auto all = store::config_migrations();
    for (const auto* more : {&ipam::migrations(), &migrations()})
        all.insert(all.end(), more->begin(), more->end());
    return all;
}

/// One life of control; a new one on the same directory is a restart.
class Control {
public:
    explicit Control(const TemporaryDirectory& directory)
        : database_(directory.path("viaduct.db"), all_migrations()),
          attachments_({.run_dir = directory.path("run"), .patience = std::chrono::milliseconds(1000)},
                       database_, configuration_) {
        attachments_.recover();
        reconcile::Options options;
        options.dataplane_socket = directory.path("dataplane.sock");
        reconciler_ = std::make_unique<reconcile::Reconciler>(
            options, database_, std::vector<const reconcile::DesiredSource*>{&configuration_, &attachments_});
        attachments_.use(*reconciler_);
        reconciler_->start();
    }
    Attachments* operator->() { return &attachments_; }
    reconcile::Reconciler& reconciler() { return *reconciler_; }
    store::Database& database() { return database_; }

private:
    store::Database database_;
    reconcile::ConfigSource configuration_;
    Attachments attachments_;
    std::unique_ptr<reconcile::Reconciler> reconciler_;
};

template <typename Condition>
bool soon(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
}

struct PodAttachments : ::testing::Test {
    TemporaryDirectory directory;
    FakeDataplane dataplane{directory.path("dataplane.sock")};
    std::optional<Control> control;
    PrivateNamespace ns{directory, "ns1"};

    void SetUp() override { control.emplace(directory); }

    attachment::Request request(const std::string& container, attachment::Interface interface) const {
        attachment::Request request;
        request.key = {"pods", container, "eth0"};
        request.interface = interface;
        request.netns = ns.path();
        request.bridge = "br0";
        request.ranges = {{{*Prefix::parse("10.1.0.0/24"), *IpAddress::parse("10.1.0.2"),
                            *IpAddress::parse("10.1.0.5"), IpAddress::parse("10.1.0.1")}}};
        request.routes = {{.destination = *Prefix::parse("0.0.0.0/0")}};
        return request;
    }
    attachment::Request tap(const std::string& container) const {
        return request(container, attachment::Interface::tap);
    }
    attachment::Request vhost(const std::string& container) const {
        return request(container, attachment::Interface::vhost_user);
    }
    std::optional<node::Namespace> open() const { return node::Namespace::open(ns.path()); }
    bool interface_there(const char* name = "eth0") const {
        bool there = false;
        ns.run([&] { there = ::if_nametoindex(name) != 0; });
        return there;
    }
    std::size_t leases() {
        store::Transaction tx(control->database());
        auto count = tx.prepare("SELECT count(*) FROM lease");
        count.step();
        return static_cast<std::size_t>(count.integer(0));
    }
    static attachment::Expected expected(const attachment::Request& request,
                                         const attachment::Attached& attached) {
        attachment::Expected expected{request.key, attached.mac, {}};
        for (const auto& address : attached.addresses)
            expected.addresses.push_back(address.address);
        return expected;
    }
};

inline unsigned code_of(const std::function<void()>& what, std::string* message = nullptr) {
    try {
        what();
    } catch (const Failure& failure) {
        if (message != nullptr) *message = failure.what();
        return failure.code();
    }
    return 0;
}

}  // namespace viaduct::pod
