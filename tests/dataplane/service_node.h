// A node with pods in this process, for tests of services from manifests to packets: a dataplane with wires
// behind its API, and control's reader, compiler, allocation, store and reconciler before it.
//
// The network is always the same. Pods of this node are 10.0.0.2 to .30 and fd00::2 to ::1e on one bridge,
// behind ports "pod-2" to "pod-30", those of another one 10.1.0.0/24 and fd00:1::/64 behind it (192.0.2.2,
// 2001:db8::2), and the rest of the world behind 192.0.2.254 and 2001:db8::fe, both by port "up", the uplink.
// The host shares the interface of the uplink, by port "host".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/http.h"

#include "api/api.h"
#include "bench.h"
#include "packets.h"
#include "reconcile/config_changes.h"
#include "reconcile/reconciler.h"
#include "service/services.h"
#include "service_case.h"
#include "source/merged.h"
#include "temporary_directory.h"
#include "told_source.h"

namespace viaduct::test {

/// A packet that came out.
struct Seen {
    std::string port;
    std::string source;                   ///< "10.0.0.2:80", "[fd00::2]:80"
    std::string destination;              ///< likewise
    std::string line;                     ///< describe()
    std::optional<std::uint32_t> number;  ///< of who sent it; nothing: no packet of ours
    std::uint8_t tcp_flags = 0;
};

class ServiceNode {
public:
    explicit ServiceNode(const CaseNode& config);
    ~ServiceNode();

    /// Puts and removes manifests; when it returns, what has come of them is in force. Throws
    /// std::runtime_error where the reader finds fault, or nothing comes of it.
    void apply(const std::string& manifests, const std::vector<std::string>& remove = {});

    /// Sends packets, `number`ed for whoever sees them, at once; returns all that comes out.
    struct Sent {
        PacketSpec packet;
        std::uint32_t number = 0;
    };
    std::vector<Seen> exchange(const std::vector<Sent>& packets);
    /// Behind which port an address is.
    [[nodiscard]] std::string port_of(const std::string& address) const;
    [[nodiscard]] bool is_own(const std::string& address) const;

    Bench& bench() { return bench_; }
    [[nodiscard]] service::View view() const { return services_.view(); }

private:
    void configure(const CaseNode& config);
    void wait_until_in_force();
    Bytes frame_of(const Sent& sent) const;

    CaseNode config_;
    TemporaryDirectory directory_;
    Bench bench_{{.packet_buffers = 6144, .poll = dataplane::PollMode::busy}};
    dataplane::Api api_;
    std::optional<http::Server> server_;
    store::Database database_;
    reconcile::ConfigSource configuration_;
    ToldSource told_;
    source::Merged merged_{{&told_}};
    service::Services services_;
    reconcile::Reconciler reconciler_;
    reconcile::ConfigChanges changes_;
    std::map<kubernetes::ObjectId, kubernetes::Document> documents_;
    kubernetes::Objects objects_;
};

/// "10.0.0.2:53", "[fd00::2]:53"
std::string place_text(const std::string& address, std::uint16_t port);
/// The two of such a text; throws std::runtime_error.
std::pair<std::string, std::uint16_t> place_from(const std::string& text);

}  // namespace viaduct::test
