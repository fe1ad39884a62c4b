// Runs every case under tests/dataplane/services/: what Kubernetes' documentation says of services and
// virtual IPs, as data, through control's reader, compiler, allocation and reconciler, the dataplane's API
// and the real worker loop.
//
// A case is a YAML file. A word that is not told of here fails it.
//   title:     what holds
//   source:    the page and section of Kubernetes' documentation, or the API's field, that says so
//   node:      {name, zone, addresses, ranges, node-port-networks, pods: {NAMESPACE/NAME: [ADDRESS]}}, all
//              optional. The node is called "here", has 192.0.2.1/24 and 2001:db8::1/64 and the ranges
//              10.96.0.0/16 and fd00:96::/112. `pods`: attached here, for manifests that tell no addresses
//   manifests: text of Kubernetes objects
//   steps:     each one of
//     {send: FROM, to: PLACE, ...}    new connections. FROM is outside, pod, host or an address
//                                     (service_node.h has the network). PLACE is ADDRESS:PORT, or
//                                     NS/NAME/PORT with ClusterIP or NodePort and IPv4 or IPv6 for an address
//                                     or number that was allocated. Also: protocol (tcp, udp, sctp), flags
//                                     (syn, ack: amid a connection), clients (addresses), connections (ports
//                                     of each), as (a name for `again`), and EXPECTED
//     {again: NAME, stay: all}        a further packet of each; all go where they went before
//     {again: NAME, stay: [BACKEND], EXPECTED}   those of these backends do, and to the others this happens
//     {apply: MANIFESTS, remove: [OBJECT]}       either or both; "EndpointSlice apps/web-a"
//     {advance: SECONDS}
//     {places: NS/NAME, are: ["tcp ADDRESS:PORT"]}   where the service is found, and nowhere else
//     {faults: NS/NAME, say: [TEXT]}             the service's faults, each with one of the texts in it
//   EXPECTED is one of
//     reach: [BACKEND]    ADDRESS:PORT of exactly those that get packets. With source: client or node (whose
//                         address they see), sticky: true (no client has two of them), answered: false
//                         (otherwise each answers, and its client gets the answer from where it asked)
//     refused: rst, port-unreachable, protocol-unreachable or host-unreachable. Of many packets some are
//                         told, because ICMP errors are limited
//     dropped: REASON     by its name, and nothing is said
// Any step may have a comment.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "service_node.h"

namespace viaduct::test {

namespace {

constexpr std::uint16_t kFirstPort = 20000;

struct Flow {
    PacketSpec packet;
    std::uint32_t number = 0;
    std::string backend;  ///< that it reached last; empty: none
};
using Flows = std::vector<Flow>;

bool is_v6(const std::string& address) {
    return address.find(':') != std::string::npos;
}

class ServiceCaseRun {
public:
    explicit ServiceCaseRun(const ServiceCase& spec) : node_(spec.node) { node_.apply(spec.manifests); }

    void operator()(const Send& send) {
        auto flows = new_flows(send);
        check(flows, send.expected);
        if (!send.name.empty()) kept_[send.name] = std::move(flows);
    }
    void operator()(const Again& again) {
        auto& flows = kept_.at(again.name);
        Flows staying;
        Flows moving;
        for (auto& flow : flows) {
            if (flow.packet.protocol == kTcp) flow.packet.tcp_flags = 0x10;
            const bool stays = !again.stay || again.stay->contains(flow.backend);
            (stays ? staying : moving).push_back(flow);
        }
        ASSERT_TRUE(!again.stay || !moving.empty()) << "there is no flow but of those that stay";
        ASSERT_TRUE(again.stay ? staying.empty() == again.stay->empty() : !staying.empty());
        const auto before = staying;
        if (!staying.empty()) check(staying, {.reach = backends_of(before)});
        for (std::size_t i = 0; i < staying.size(); ++i)
            EXPECT_EQ(staying[i].backend, before[i].backend) << "flow " << staying[i].number << " has moved";
        if (!moving.empty()) check(moving, again.moved);
        flows = std::move(staying);
        flows.insert(flows.end(), moving.begin(), moving.end());
    }
    void operator()(const Apply& apply) { node_.apply(apply.manifests, apply.remove); }
    void operator()(const Advance& advance) { node_.bench().advance_clock(advance.seconds); }
    void operator()(const PlacesOf& places) {
        std::set<std::string> found;
        for (const auto& [key, service] : node_.view().compiled) {
            if (std::get<0>(key) + "/" + std::get<1>(key) != places.service) continue;
            for (const auto& frontend : service.frontends)
                found.insert(std::string(to_string(service.protocol)) + " " +
                             place_text(frontend.address.to_string(), frontend.port));
        }
        EXPECT_EQ(found, places.places);
    }
    void operator()(const FaultsOf& faults) {
        const auto view = node_.view();
        std::vector<std::string> found;
        for (const auto& [name, of_one] : view.faults) {
            for (const auto& fault : of_one) {
                if (to_string(name) == faults.service) found.push_back(fault.reason);
            }
        }
        EXPECT_EQ(found.size(), faults.texts.size()) << testing::PrintToString(found);
        for (const auto& text : faults.texts) {
            EXPECT_TRUE(std::ranges::any_of(
                found, [&](const auto& reason) { return reason.find(text) != std::string::npos; }))
                << "none says \"" << text << "\": " << testing::PrintToString(found);
        }
    }

private:
    static std::set<std::string> backends_of(const Flows& flows) {
        std::set<std::string> backends;
        for (const auto& flow : flows)
            backends.insert(flow.backend);
        return backends;
    }

    /// An address and port, or those of a service's port: "apps/web/http ClusterIP IPv4".
    std::pair<std::string, std::uint16_t> destination(const std::string& text) const {
        std::istringstream words(text);
        std::string name;
        std::string kind;
        std::string family;
        if (!(words >> name >> kind >> family)) return place_from(text);
        const bool at_node = kind == "NodePort";
        if ((!at_node && kind != "ClusterIP") || (family != "IPv4" && family != "IPv6"))
            throw std::runtime_error("\"" + text + "\" is no place");
        for (const auto& [key, service] : node_.view().compiled) {
            if (std::get<0>(key) + "/" + std::get<1>(key) + "/" + std::get<2>(key) != name) continue;
            for (const auto& frontend : service.frontends) {
                const auto address = frontend.address.to_string();
                const bool fits = at_node ? node_.is_own(address) : !frontend.external;
                if (fits && frontend.address.is_v4() == (family == "IPv4")) return {address, frontend.port};
            }
        }
        throw std::runtime_error("there is nothing at \"" + text + "\"");
    }

    static IpAddress client(const std::string& from, bool v6) {
        const std::map<std::string, std::pair<const char*, const char*>> known{
            {"outside", {"198.51.100.7", "2001:db8:1::7"}},
            {"pod", {"10.0.0.9", "fd00::9"}},
            {"host", {"192.0.2.1", "2001:db8::1"}}};
        const auto found = known.find(from);
        const auto address = IpAddress::parse(found == known.end() ? from
                                              : v6                 ? found->second.second
                                                                   : found->second.first);
        if (!address || address->is_v4() == v6)
            throw std::runtime_error("\"" + from + "\" is nobody who can send this");
        return *address;
    }

    Flows new_flows(const Send& send) {
        const auto [address, port] = destination(send.to);
        const auto first = client(send.from, is_v6(address));
        const auto connections = send.connections != 0 ? send.connections : send.expected.reach ? 32U : 2U;
        Flows flows;
        for (unsigned i = 0; i < send.clients; ++i) {
            for (unsigned j = 0; j < connections; ++j) {
                Flow flow;
                flow.number = ++numbers_;
                flow.packet.source = first.plus(i)->to_string();
                flow.packet.destination = address;
                flow.packet.protocol = send.protocol;
                flow.packet.source_port = static_cast<std::uint16_t>(kFirstPort + flow.number);
                flow.packet.destination_port = port;
                flow.packet.tcp_flags = send.tcp_flags;
                flows.push_back(std::move(flow));
            }
        }
        return flows;
    }

    std::vector<Seen> send(const Flows& flows) {
        std::vector<ServiceNode::Sent> packets;
        for (const auto& flow : flows)
            packets.push_back({flow.packet, flow.number});
        return node_.exchange(packets);
    }

    void check(Flows& flows, const Expected& expected) {
        const auto port = node_.port_of(flows.at(0).packet.source);
        const auto before = dropped(port);
        const auto seen = send(flows);
        if (expected.reach) return check_reached(flows, seen, expected);
        for (auto& flow : flows)
            flow.backend.clear();
        if (expected.refused) return check_refused(flows, seen, *expected.refused);
        EXPECT_TRUE(seen.empty()) << "came out: " << seen[0].line << " at " << seen[0].port;
        auto wanted = before;
        wanted[*expected.dropped] += flows.size();
        EXPECT_EQ(dropped(port), wanted) << "at port " << port;
    }

    std::map<std::string, std::size_t> dropped(const std::string& port) {
        std::map<std::string, std::size_t> counts;
        const auto state = node_.bench().state(port);
        for (std::size_t i = 0; i < dataplane::kDropReasons; ++i) {
            if (state.totals.drops[i] != 0)
                counts[std::string(dataplane::kDrops[i].name)] = state.totals.drops[i];
        }
        return counts;
    }

    void check_reached(Flows& flows, const std::vector<Seen>& seen, const Expected& expected) {
        std::map<std::uint32_t, const Seen*> by_number;
        for (const auto& one : seen) {
            EXPECT_EQ(one.line.find("BAD"), std::string::npos) << one.line;
            if (!one.number || !by_number.emplace(*one.number, &one).second)
                ADD_FAILURE() << "not asked for: " << one.line << " at " << one.port;
        }
        std::map<std::string, std::set<std::string>> by_client;
        std::vector<std::string> wrong;
        Flows reached;
        std::vector<Seen> got;
        for (auto& flow : flows) {
            const auto found = by_number.find(flow.number);
            flow.backend = found == by_number.end() ? "nobody" : found->second->destination;
            by_client[flow.packet.source].insert(flow.backend);
            if (found == by_number.end()) continue;
            if (!is_as_told(flow, *found->second, expected)) wrong.push_back(found->second->line);
            reached.push_back(flow);
            got.push_back(*found->second);
        }
        EXPECT_EQ(backends_of(flows), *expected.reach) << tell_drops();
        EXPECT_TRUE(wrong.empty()) << "another port or source, such as " << wrong.front();
        for (const auto& [client, backends] : by_client)
            EXPECT_TRUE(!expected.each_client_one || backends.size() == 1)
                << client << " has " << testing::PrintToString(backends);
        if (expected.answered) answer(reached, got);
    }

    [[nodiscard]] bool is_as_told(const Flow& flow, const Seen& seen, const Expected& expected) const {
        if (seen.port != node_.port_of(place_from(seen.destination).first)) return false;
        if (!expected.source_told) return true;
        const auto source = place_from(seen.source).first;
        return expected.source_is_node ? node_.is_own(source) : source == flow.packet.source;
    }

    /// Each backend answers, and its client gets the answer from the place that it asked.
    void answer(const Flows& flows, const std::vector<Seen>& got) {
        std::vector<ServiceNode::Sent> answers;
        for (std::size_t i = 0; i < flows.size(); ++i) {
            const auto [from, from_port] = place_from(got[i].destination);
            const auto [to, to_port] = place_from(got[i].source);
            PacketSpec packet{from, to, flows[i].packet.protocol, from_port, to_port};
            packet.tcp_flags = flows[i].packet.tcp_flags == 2 ? 0x12 : 0x10;
            answers.push_back({packet, flows[i].number});
        }
        std::map<std::uint32_t, std::string> lines;
        for (const auto& seen : node_.exchange(answers))
            lines[seen.number.value_or(0)] += seen.source + " > " + seen.destination + " at " + seen.port;
        std::vector<std::string> wrong;
        for (const auto& flow : flows) {
            const auto& packet = flow.packet;
            const auto right = place_text(packet.destination, packet.destination_port) + " > " +
                               place_text(packet.source, packet.source_port) + " at " +
                               node_.port_of(packet.source);
            if (lines[flow.number] != right)
                wrong.push_back("of " + flow.backend + ": \"" + lines[flow.number] + "\" and not " + right);
        }
        EXPECT_TRUE(wrong.empty()) << "answers go astray, such as " << wrong.front() << "\n" << tell_drops();
    }

    void check_refused(const Flows& flows, const std::vector<Seen>& seen, const std::string& how) {
        // So many are told in one second; the others are refused without a word.
        EXPECT_GE(seen.size(), std::min<std::size_t>(flows.size(), 4)) << tell_drops();
        EXPECT_LE(seen.size(), flows.size());
        for (const auto& one : seen) {
            EXPECT_EQ(one.port, node_.port_of(flows[0].packet.source));
            const std::map<std::string, std::pair<const char*, const char*>> types{
                {"port-unreachable", {"type 3/3 ", "type 1/4 "}},
                {"protocol-unreachable", {"type 3/2 ", "type 4/1 "}},
                {"host-unreachable", {"type 3/1 ", "type 1/3 "}}};
            if (how == "rst") {
                EXPECT_NE(one.tcp_flags & 0x04, 0) << one.line;
            } else {
                const auto& [v4, v6] = types.at(how);
                EXPECT_TRUE(one.line.find(v4) != std::string::npos || one.line.find(v6) != std::string::npos)
                    << one.line;
            }
        }
    }

    std::string tell_drops() {
        std::string text;
        for (const auto& state : node_.bench().dataplane().ports()) {
            const auto& port = state.port.name;
            for (const auto& [reason, count] : dropped(port))
                text += port + ": " + std::to_string(count) + " " + reason + "\n";
        }
        return text;
    }

    ServiceNode node_;
    std::map<std::string, Flows> kept_;
    std::uint32_t numbers_ = 0;
};

std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

class ServiceCases : public testing::TestWithParam<std::filesystem::path> {
protected:
    static void SetUpTestSuite() { spdlog::set_level(spdlog::level::err); }
};

TEST_P(ServiceCases, AreAsTheDocumentationSays) {
    const auto spec = read_service_case(contents(GetParam()), GetParam().filename().string());
    SCOPED_TRACE(GetParam().filename().string() + ": " + spec.title + " (" + spec.source + ")");
    ServiceCaseRun run(spec);
    for (std::size_t i = 0; i < spec.steps.size(); ++i) {
        SCOPED_TRACE("step " + std::to_string(i) + ": " + spec.steps[i].text);
        std::visit(run, spec.steps[i].step);
        if (testing::Test::HasFailure()) return;
    }
}

std::vector<std::filesystem::path> case_files() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(VIADUCT_SERVICE_CASES))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

INSTANTIATE_TEST_SUITE_P(Services, ServiceCases, testing::ValuesIn(case_files()), [](const auto& the_case) {
    auto name = the_case.param.stem().string();
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
    return name;
});

/// What is said of a case with these words in place of those that are right.
std::string refusal(const std::string& steps, const std::string& more = "") {
    try {
        read_service_case("title: t\nsource: s\nmanifests: ''\n" + more + "steps:\n" + steps, "bad.yaml");
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

TEST(ServiceCaseWords, AreAllKnownOrTheCaseFails) {
    EXPECT_EQ(refusal("- {send: pod, to: '10.96.0.10:80', reach: ['10.0.0.2:80']}\n"), "");
    const auto has = [](const std::string& text, const char* part) {
        EXPECT_NE(text.find(part), std::string::npos) << text;
    };
    has(refusal("- {send: pod, to: '10.96.0.10:80', reaches: []}\n"), "has the word \"reaches\"");
    has(refusal("- {sends: pod}\n"), "is none of send");
    has(refusal("- {send: pod, to: '10.96.0.10:80'}\n"), "one of reach, refused and dropped");
    has(refusal("- {send: pod, to: '10.96.0.10:80', refused: loudly}\n"), "has \"loudly\"");
    has(refusal("- {send: pod, to: '10.96.0.10:80', dropped: loudly}\n"), "there is no such");
    has(refusal("- {send: pod, to: '10.96.0.10:80', reach: [], protocol: icmp}\n"), "has \"icmp\"");
    has(refusal("- {again: a}\n"), "does not say who stays");
    has(refusal("- {advance: soon}\n"), "no number");
    has(refusal("- {advance: 1}\n", "node: {zones: a}\n"), "has the word \"zones\"");
    has(refusal("  []\n"), "has no steps");
}

}  // namespace

}  // namespace viaduct::test
