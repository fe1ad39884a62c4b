// A dataplane for tests of control: it keeps the configuration, makes real TAP interfaces in real namespaces
// and carries no packet. For tests of what control does when the dataplane refuses, hangs or restarts, too.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "viaduct/http.h"
#include "viaduct/model.h"

namespace viaduct::testing {

class FakeDataplane {
public:
    explicit FakeDataplane(std::string socket);
    ~FakeDataplane();
    FakeDataplane(const FakeDataplane&) = delete;
    FakeDataplane& operator=(const FakeDataplane&) = delete;

    void stop();   ///< as if killed: its interfaces go with it
    void start();  ///< empty, with another instance
    model::Config config() const;
    /// Called before a transaction; what it returns as fault is how the transaction is refused.
    std::function<Faults(const model::Change&)> before;

private:
    http::Response answer(const http::Request& request);
    http::Response transact(const http::Request& request);
    Faults make_taps(const model::Config& next);

    std::string socket_;
    mutable std::mutex mutex_;
    unsigned instance_ = 0;
    model::Config config_;
    std::map<std::string, http::Descriptor> taps_;
    std::unique_ptr<http::Server> server_;
};

/// A directory that goes with it.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] std::string path(const std::string& name = {}) const;

private:
    std::filesystem::path path_;
};

/// A network namespace of its own, kept by a bind mount below `directory`.
class PrivateNamespace {
public:
    PrivateNamespace(const TemporaryDirectory& directory, const std::string& name);
    ~PrivateNamespace();
    PrivateNamespace(const PrivateNamespace&) = delete;
    PrivateNamespace& operator=(const PrivateNamespace&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }
    /// Runs `what` in it, on a thread of its own.
    void run(const std::function<void()>& what) const;
    /// The namespace goes as soon as nobody else has it open.
    void forget();

private:
    std::string path_;
    bool there_ = true;
};

}  // namespace viaduct::testing
