// Reading cases: YAML by control's own parser into a tree, and the tree by its words.
#include "service_case.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

#include <json/json.h>

#include "viaduct/json.h"

#include "kubernetes/yaml.h"

namespace viaduct::test {

namespace {

namespace yaml = kubernetes::yaml;

/// Mappings, lists and, for every scalar, its text.
Json::Value tree_of(const yaml::Node& node) {
    if (node.kind == yaml::Kind::scalar) return std::string(node.text);
    Json::Value tree(node.kind == yaml::Kind::mapping ? Json::objectValue : Json::arrayValue);
    for (const auto* link = node.first; link != nullptr; link = link->next) {
        if (node.kind == yaml::Kind::mapping) {
            tree[std::string(link->key)] = tree_of(*link->node);
        } else {
            tree.append(tree_of(*link->node));
        }
    }
    return tree;
}

/// A mapping whose words are known.
class Words {
public:
    Words(const Json::Value& json, std::string where, const std::set<std::string>& known)
        : json_(json), where_(std::move(where)) {
        if (!json.isObject()) fail("is no mapping");
        for (const auto& word : json.getMemberNames()) {
            if (known.contains(word)) continue;
            std::string all;
            for (const auto& one : known)
                all += (all.empty() ? "" : ", ") + one;
            fail("has the word \"" + word + "\", which is none of " + all);
        }
    }
    [[nodiscard]] bool has(const char* word) const { return json_.isMember(word); }
    [[nodiscard]] const Json::Value& operator[](const char* word) const { return json_[word]; }
    [[nodiscard]] std::string text(const char* word) const {
        if (!json_[word].isString()) fail(std::string("has no text for \"") + word + "\"");
        return json_[word].asString();
    }
    [[nodiscard]] std::string text_or(const char* word, const std::string& otherwise) const {
        return has(word) ? text(word) : otherwise;
    }
    [[nodiscard]] unsigned number_or(const char* word, unsigned otherwise) const {
        if (!has(word)) return otherwise;
        const auto written = text(word);
        if (written.empty() || written.size() > 6 ||
            written.find_first_not_of("0123456789") != std::string::npos)
            fail(std::string("has \"") + written + "\" for \"" + word + "\", which is no number");
        return static_cast<unsigned>(std::stoul(written));
    }
    [[nodiscard]] bool truth_or(const char* word, bool otherwise) const {
        return has(word) ? choice(word, {"false", "true"}) == 1 : otherwise;
    }
    [[nodiscard]] std::size_t choice(const char* word, const std::vector<std::string>& words) const {
        const auto found = std::ranges::find(words, text(word));
        if (found == words.end()) fail(std::string("has \"") + text(word) + "\" for \"" + word + "\"");
        return static_cast<std::size_t>(found - words.begin());
    }
    [[nodiscard]] std::vector<std::string> list(const char* word) const {
        std::vector<std::string> all;
        if (has(word) && !json_[word].isArray()) fail(std::string("has no list for \"") + word + "\"");
        for (const auto& one : json_[word]) {
            if (!one.isString()) fail(std::string("has something else than text in \"") + word + "\"");
            all.push_back(one.asString());
        }
        return all;
    }
    [[nodiscard]] std::set<std::string> set(const char* word) const {
        const auto all = list(word);
        return {all.begin(), all.end()};
    }
    [[nodiscard]] std::vector<Prefix> prefixes(const char* word,
                                               const std::vector<std::string>& otherwise) const {
        std::vector<Prefix> all;
        for (const auto& text : has(word) ? list(word) : otherwise) {
            const auto prefix = Prefix::parse(text);
            if (!prefix) fail("has \"" + text + "\" in \"" + word + "\", which is no address with a length");
            all.push_back(*prefix);
        }
        return all;
    }
    [[noreturn]] void fail(const std::string& why) const { throw std::runtime_error(where_ + " " + why); }
    [[nodiscard]] const std::string& where() const { return where_; }

private:
    const Json::Value& json_;
    std::string where_;
};

CaseNode read_node(const Json::Value& json, const std::string& where) {
    const Words words(json, where + ": node",
                      {"name", "zone", "addresses", "ranges", "node-port-networks", "pods"});
    CaseNode node;
    node.name = words.text_or("name", node.name);
    node.zone = words.text_or("zone", "");
    node.addresses = words.prefixes("addresses", {"192.0.2.1/24", "2001:db8::1/64"});
    node.ranges = words.prefixes("ranges", {"10.96.0.0/16", "fd00:96::/112"});
    node.node_port_networks = words.prefixes("node-port-networks", {});
    for (const auto& pod : words["pods"].getMemberNames()) {
        for (const auto& text : words["pods"][pod]) {
            const auto address = IpAddress::parse(text.asString());
            if (!address) words.fail("has \"" + text.asString() + "\" among its pods' addresses");
            node.pods[pod].push_back(*address);
        }
    }
    return node;
}

const std::set<std::string> kExpectations{"reach",  "refused",  "dropped", "source",
                                          "sticky", "answered", "comment"};

std::set<std::string> with_expectations(std::set<std::string> words) {
    words.insert(kExpectations.begin(), kExpectations.end());
    return words;
}

Expected read_expected(const Words& words, bool wanted) {
    Expected expected;
    if (words.has("reach")) expected.reach = words.set("reach");
    if (words.has("refused")) {
        static_cast<void>(
            words.choice("refused", {"rst", "port-unreachable", "protocol-unreachable", "host-unreachable"}));
        expected.refused = words.text("refused");
    }
    if (words.has("dropped")) {
        expected.dropped = words.text("dropped");
        if (std::ranges::none_of(dataplane::kDrops,
                                 [&](const auto& drop) { return drop.name == *expected.dropped; }))
            words.fail("has \"" + *expected.dropped + "\" for a drop's reason, and there is no such");
    }
    const int told = (expected.reach ? 1 : 0) + (expected.refused ? 1 : 0) + (expected.dropped ? 1 : 0);
    if (wanted ? told != 1 : told > 1) words.fail("does not say one of reach, refused and dropped");
    expected.source_told = words.has("source");
    if (expected.source_told) expected.source_is_node = words.choice("source", {"client", "node"}) == 1;
    expected.each_client_one = words.truth_or("sticky", false);
    expected.answered = words.truth_or("answered", true);
    return expected;
}

CaseStep read_send(const Json::Value& json, const std::string& where) {
    const Words words(json, where,
                      with_expectations({"send", "to", "protocol", "flags", "clients", "connections", "as"}));
    Send send;
    send.from = words.text("send");
    send.to = words.text("to");
    if (words.has("protocol")) {
        constexpr std::array kProtocols{kTcp, kUdp, kSctp};
        send.protocol = kProtocols.at(words.choice("protocol", {"tcp", "udp", "sctp"}));
    }
    if (words.has("flags")) send.tcp_flags = words.choice("flags", {"syn", "ack"}) == 0 ? 0x02 : 0x10;
    send.clients = words.number_or("clients", 1);
    send.connections = words.number_or("connections", 0);
    send.name = words.text_or("as", "");
    send.expected = read_expected(words, true);
    return send;
}

CaseStep read_again(const Json::Value& json, const std::string& where) {
    const Words words(json, where, with_expectations({"again", "stay"}));
    Again again;
    again.name = words.text("again");
    if (!words.has("stay")) words.fail("does not say who stays: all, or a list of backends");
    if (words["stay"].isArray()) {
        again.stay = words.set("stay");
    } else if (words.text("stay") != "all") {
        words.fail("has \"" + words.text("stay") + "\" for those that stay; all, or a list");
    }
    again.moved = read_expected(words, again.stay.has_value());
    return again;
}

CaseStep read_step(const Json::Value& json, const std::string& where) {
    using Read = std::function<CaseStep()>;
    const std::map<std::string, Read> verbs{
        {"send", [&] { return read_send(json, where); }},
        {"again", [&] { return read_again(json, where); }},
        {"apply",
         [&] {
             const Words words(json, where, {"apply", "remove", "comment"});
             return Apply{words.text_or("apply", ""), words.list("remove")};
         }},
        {"remove",
         [&] {
             const Words words(json, where, {"apply", "remove", "comment"});
             return Apply{words.text_or("apply", ""), words.list("remove")};
         }},
        {"advance",
         [&] {
             const Words words(json, where, {"advance", "comment"});
             return Advance{words.number_or("advance", 0)};
         }},
        {"places",
         [&] {
             const Words words(json, where, {"places", "are", "comment"});
             return PlacesOf{words.text("places"), words.set("are")};
         }},
        {"faults", [&] {
             const Words words(json, where, {"faults", "say", "comment"});
             return FaultsOf{words.text("faults"), words.list("say")};
         }}};
    if (!json.isObject()) throw std::runtime_error(where + " is no mapping");
    for (const auto& [verb, read] : verbs) {
        if (json.isMember(verb)) return read();
    }
    throw std::runtime_error(
        where + " is none of send, again, apply, remove, advance, places and faults: " + to_json_text(json));
}

}  // namespace

ServiceCase read_service_case(std::string_view text, const std::string& file) {
    std::vector<Json::Value> documents;
    yaml::Units units;
    units.item = [](const yaml::Node&, const yaml::Node&) {};
    units.document = [&](const yaml::Node& root) { documents.push_back(tree_of(root)); };
    units.broken = [&](const yaml::Problem& problem) {
        throw std::runtime_error(file + ":" + std::to_string(problem.line) + ": " + problem.reason);
    };
    yaml::parse(text, units);
    if (documents.size() != 1) throw std::runtime_error(file + " is not one document");
    const Words words(documents[0], file, {"title", "source", "node", "manifests", "steps"});
    ServiceCase read;
    read.title = words.text("title");
    read.source = words.text("source");
    read.node = read_node(words.has("node") ? words["node"] : Json::Value(Json::objectValue), file);
    read.manifests = words.text("manifests");
    for (const auto& step : words["steps"]) {
        const auto where = file + ": step " + std::to_string(read.steps.size());
        read.steps.push_back({to_json_text(step), read_step(step, where)});
    }
    if (read.steps.empty()) words.fail("has no steps");
    return read;
}

}  // namespace viaduct::test
