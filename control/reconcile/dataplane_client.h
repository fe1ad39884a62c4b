// The dataplane's API as functions. Every answer that is not one is Unreachable; a refusal is Refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "viaduct/http.h"
#include "viaduct/model.h"

namespace viaduct::reconcile {

/// Which dataplane it is, and which configuration it has.
struct Standing {
    std::string instance;  ///< random per start of the dataplane
    /// How often its configuration has changed since that start; nothing: it does not say.
    std::optional<std::uint64_t> revision;
    friend bool operator==(const Standing&, const Standing&) = default;
};

/// One kept connection. Not thread-safe. All functions throw http::Unreachable.
class DataplaneClient {
public:
    DataplaneClient(const std::string& socket, std::chrono::milliseconds timeout)
        : client_(socket, timeout) {}

    Standing standing();
    /// What is in force.
    model::Config config();
    /// All of `change` or, with Refused, nothing. Returns who did it, and the revision then.
    Standing transact(const model::Change& change, bool dry_run);
    /// The connection's descriptor, readable when the dataplane closed it; -1 when there is none.
    [[nodiscard]] int native_handle() const { return client_.native_handle(); }

private:
    std::string ask(const std::string& method, const std::string& target, const std::string& body = {});

    http::Client client_;
};

}  // namespace viaduct::reconcile
