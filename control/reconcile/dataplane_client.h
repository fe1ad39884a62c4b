// The dataplane's API as functions. Every answer that is not one is Unreachable; a refusal is Refused.
#pragma once

#include <chrono>
#include <string>

#include "viaduct/http.h"
#include "viaduct/model.h"

namespace viaduct::reconcile {

/// One kept connection. Not thread-safe. All functions throw http::Unreachable.
class DataplaneClient {
public:
    DataplaneClient(const std::string& socket, std::chrono::milliseconds timeout)
        : client_(socket, timeout) {}

    /// Random per start of the dataplane.
    std::string instance();
    /// What is in force.
    model::Config config();
    /// All of `change` or, with Refused, nothing. Returns the instance that did it.
    std::string transact(const model::Change& change, bool dry_run);
    /// The connection's descriptor, readable when the dataplane closed it; -1 when there is none.
    [[nodiscard]] int native_handle() const { return client_.native_handle(); }

private:
    std::string ask(const std::string& method, const std::string& target, const std::string& body = {});

    http::Client client_;
};

}  // namespace viaduct::reconcile
