// Services among the router of router.h: how a test makes them, and who gets the connections to one.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "router.h"

namespace viaduct::test {

using model::Transport;

inline constexpr const char* kCluster = "10.96.0.10";
inline constexpr const char* kCluster6 = "fd00:96::a";

class Services : public RouterTest {
protected:
    explicit Services(BenchOptions options = {}) : RouterTest(options) {}

    /// Valid until another one is made.
    model::Service& service(const char* name, Transport protocol = Transport::tcp) {
        auto& s = change.put.services[{"apps", name, "main"}];
        s.namespace_ = "apps";
        s.name = name;
        s.port = "main";
        s.protocol = protocol;
        return s;
    }
    static model::Frontend at(const char* address, std::uint16_t port) {
        model::Frontend frontend;
        frontend.address = ip(address);
        frontend.port = port;
        return frontend;
    }
    static model::Backend backend(const char* address, std::uint16_t port, bool local = true) {
        model::Backend backend;
        backend.address = ip(address);
        backend.port = port;
        backend.local = local;
        return backend;
    }
    /// Tells of services alone, as control does.
    void apply_services() {
        model::Change services;
        services.put.services = change.put.services;
        bench.apply(services);
    }
    /// How many of so many new connections from the world each backend behind "pod" and "peer" gets, by what
    /// stands after '>' in the line.
    std::map<std::string, int> spread(const char* destination, std::uint16_t port, int connections,
                                      std::uint16_t first_port = 20000) {
        std::map<std::string, int> got;
        for (int i = 0; i < connections; ++i) {
            PacketSpec spec{"198.51.100.7", destination, kUdp, static_cast<std::uint16_t>(first_port + i),
                            port};
            bench.inject("up", routed(spec, kOut, kWorld));
        }
        for (const char* out : {"pod", "peer"}) {
            for (const auto& line : collect(out)) {
                const auto to = line.substr(line.find("> ") + 2);
                ++got[to.substr(0, to.find(' '))];
            }
        }
        return got;
    }
};

}  // namespace viaduct::test
