// The health check node ports of services whose traffic policy is Local: a load balancer asks each node there
// whether it has endpoints of the service (Kubernetes, "Preserving the client source IP": 200 where it has,
// 503 where not).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "kubernetes/objects.h"

namespace viaduct::service {

struct HealthCheck {
    kubernetes::ObjectName service;
    std::size_t local_endpoints = 0;
    friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};
/// By the port.
using HealthChecks = std::map<std::uint16_t, HealthCheck>;

/// Answers HTTP/1.1 on TCP ports of all addresses of control's own namespace, whatever the path. A client
/// that says nothing for ten seconds is let go; connections beyond 256 are closed at once.
class HealthCheckServer {
public:
    HealthCheckServer();
    ~HealthCheckServer();
    HealthCheckServer(const HealthCheckServer&) = delete;
    HealthCheckServer& operator=(const HealthCheckServer&) = delete;

    /// Ports that are not there any more are closed, new ones opened; one that cannot be is logged, and tried
    /// again with the next call. Any thread, one at a time.
    void set(HealthChecks checks);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace viaduct::service
