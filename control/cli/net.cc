// viaduct net: networks for people, and containers plugged into them.
#include <algorithm>
#include <iostream>

#include <json/json.h>

#include "viaduct/address.h"
#include "viaduct/http.h"
#include "viaduct/labels.h"
#include "viaduct/model.h"

#include "cli/publish.h"
#include "cli/session.h"
#include "cli/target.h"

namespace viaduct::cli {

namespace {

std::string target_of(const std::string& network, const std::string& verb = {}) {
    return "/v1/networks/" + http::encode(network) + verb;
}

/// The subnet that a gateway or a range belongs to: the one that has it, or else the last one named, of which
/// control will say that it does not fit.
Json::Value& subnet_for(Json::Value& network, const IpAddress& address, const char* what) {
    auto& subnets = network["subnets"];
    if (subnets.empty()) throw Usage(std::string(what) + " is of a subnet; name that before it");
    for (auto& subnet : subnets) {
        const auto prefix = Prefix::parse(text_of(subnet, "subnet"));
        if (prefix && prefix->contains(address)) return subnet;
    }
    return subnets[subnets.size() - 1];
}

void read_setting(Words& words, Json::Value& network) {
    const auto key = words.keyword({"driver", "subnet", "gateway", "range", "mtu", "internal", "masquerade",
                                    "no-masquerade", "isolated", "no-isolation", "ipv6"});
    if (key == "driver") {
        network[key] = words.take("bridge, routed or wire");
    } else if (key == "subnet") {
        Json::Value subnet(Json::objectValue);
        subnet["subnet"] = words.take("a subnet such as 10.1.0.0/24");
        network["subnets"].append(subnet);
    } else if (key == "gateway") {
        const auto text = words.take("the gateway's address");
        const auto address = IpAddress::parse(text);
        if (!address) throw Usage("gateway \"" + text + "\" is not an IP address");
        subnet_for(network, *address, "a gateway")["gateway"] = text;
    } else if (key == "range") {
        const auto text = words.take("a part of the subnet such as 10.1.0.128/25");
        const auto prefix = Prefix::parse(text);
        if (!prefix) throw Usage("range \"" + text + "\" is not of the form 10.1.0.128/25");
        subnet_for(network, prefix->address, "a range")["range"] = text;
    } else if (key == "mtu") {
        network[key] = Json::UInt64(words.number("mtu (bytes)", model::kMtuLeast, model::kMtuMost));
    } else if (key == "no-masquerade" || key == "masquerade") {
        network["masquerade"] = key == "masquerade";
    } else if (key == "no-isolation") {
        network["isolated"] = false;
    } else {
        network[key] = true;
    }
}

std::string subnet_words(const Json::Value& network, const char* key) {
    std::string text;
    for (const auto& subnet : network["subnets"]) {
        const auto one = text_of(subnet, key);
        if (!one.empty()) text += (text.empty() ? "" : ",") + one;
    }
    return text.empty() ? "-" : text;
}

int create(Session& session) {
    Json::Value network(Json::objectValue);
    network["name"] = session.words.take("the network's name");
    while (!session.words.empty())
        read_setting(session.words, network);
    if (session.arguments.dry_run) network["dry_run"] = true;
    if (!session.arguments.comment.empty()) network["comment"] = session.arguments.comment;
    const auto made = session.ask("POST", "/v1/networks", network);
    if (session.printed(made)) return 0;
    std::cout << text_of(made, "name") << " driver " << text_of(made, "driver") << " subnet "
              << subnet_words(made, "subnet") << " gateway " << subnet_words(made, "gateway") << "\n";
    if (const auto note = text_of(made, "note"); !note.empty())
        std::cerr << "viaduct: " << text_of(made, "name") << ": " << note << "\n";
    return 0;
}

int list(Session& session) {
    session.words.done();
    const auto answer = session.ask("GET", "/v1/networks");
    if (session.printed(answer["networks"])) return 0;
    Table table({"NAME", "DRIVER", "SUBNET", "GATEWAY", "MTU", "MASQUERADE", "INTERNAL", "ENDPOINTS"});
    for (const auto& network : answer["networks"]) {
        table.add({text_of(network, "name"), text_of(network, "driver"), subnet_words(network, "subnet"),
                   subnet_words(network, "gateway"), text_of(network, "mtu"),
                   bool_of(network, "masquerade") ? "on" : "off", bool_of(network, "internal") ? "on" : "off",
                   std::to_string(network["endpoints"].size())});
    }
    std::cout << table.text();
    return 0;
}

std::string joined(const Json::Value& list, const std::function<std::string(const Json::Value&)>& words) {
    std::string text;
    for (const auto& one : list)
        text += (text.empty() ? "" : ",") + words(one);
    return text.empty() ? "-" : text;
}

std::string address_words(const Json::Value& endpoint) {
    return joined(endpoint["addresses"], [](const auto& one) { return text_of(one, "address"); });
}

std::string name_words(const Json::Value& endpoint) {
    for (const char* label : {"name", "K8S_POD_NAME"}) {
        if (const auto name = text_of(endpoint["labels"], label); !name.empty()) return name;
    }
    return "-";
}

int inspect(Session& session) {
    const auto name = session.words.take("the network's name");
    session.words.done();
    const auto network = session.ask("GET", target_of(name));
    if (session.printed(network)) return 0;
    std::cout << text_of(network, "name") << " driver " << text_of(network, "driver") << " mtu "
              << text_of(network, "mtu") << " masquerade " << (bool_of(network, "masquerade") ? "on" : "off")
              << " internal " << (bool_of(network, "internal") ? "on" : "off") << " isolated "
              << (bool_of(network, "isolated") ? "on" : "off") << "\n";
    for (const auto& subnet : network["subnets"]) {
        std::cout << "  subnet " << text_of(subnet, "subnet");
        for (const char* key : {"gateway", "range"}) {
            if (const auto text = text_of(subnet, key); !text.empty()) std::cout << " " << key << " " << text;
        }
        std::cout << "\n";
    }
    if (network["endpoints"].empty()) return 0;
    Table table({"CONTAINER", "NAME", "IFNAME", "ADDRESS", "MAC", "PUBLISHED", "PORT"});
    for (const auto& endpoint : network["endpoints"]) {
        const auto id = text_of(endpoint, "container");
        table.add({id.size() == 64 ? id.substr(0, 12) : id, name_words(endpoint), text_of(endpoint, "ifname"),
                   address_words(endpoint), text_of(endpoint, "mac"),
                   joined(endpoint["port_mappings"], publish_words), text_of(endpoint, "port")});
    }
    std::cout << table.text();
    return 0;
}

int remove(Session& session) {
    const auto name = session.words.take("the network's name");
    session.words.done();
    const auto comment =
        session.arguments.comment.empty() ? "" : "?comment=" + http::encode(session.arguments.comment);
    session.ask("DELETE", target_of(name) + comment);
    return 0;
}

void read_attach(Words& words, Json::Value& asked, std::string& label) {
    const auto key = words.keyword({"ifname", "ip", "mac", "publish", "name", "label"});
    if (key == "ip") {
        asked["addresses"].append(words.take("an address of the network"));
    } else if (key == "publish") {
        asked["port_mappings"].append(parse_publish(words.take("ports such as 8080:80")));
    } else if (key == "label") {
        const auto text = words.take("labels such as app=web,tier=front");
        Faults faults;
        for (const auto& [name, value] : parse_labels(text, "--label", faults))
            asked["pod_labels"][name] = value;
        if (!faults.empty()) throw Usage(to_string(faults));
    } else if (key == "name") {
        label = words.take("a name for the container");
    } else {
        asked[key] = words.take(key == "mac" ? "a MAC address" : "the interface's name in the container");
    }
}

int attach(Session& session) {
    const auto word = session.words.take("a network namespace, process or container");
    const auto network = session.words.take("a network");
    Json::Value asked(Json::objectValue);
    std::string label;
    while (!session.words.empty())
        read_attach(session.words, asked, label);
    const auto target = find_target(word);
    asked["container"] = target.container;
    asked["netns"] = target.path;
    asked["label"] = label.empty() ? target.label : label;
    const auto made = session.ask("POST", target_of(network, "/attach"), asked, target.netns.get());
    if (session.printed(made)) return 0;
    std::cout << word << " " << text_of(made, "ifname") << " " << address_words(made) << " mac "
              << text_of(made, "mac") << " network " << network << "\n";
    return 0;
}

/// The container of `network` that a person means by `word`: also what no engine knows any more can be taken
/// off.
std::string container_on(const Json::Value& network, const std::string& word) {
    constexpr std::size_t least = 4;  // digits of an id's beginning
    std::vector<std::string> found;
    for (const auto& endpoint : network["endpoints"]) {
        const auto id = text_of(endpoint, "container");
        if (id == word || id == "pid-" + word || id == name_of_path(word)) return id;
        const bool meant = name_words(endpoint) == word || (word.size() >= least && id.starts_with(word));
        if (meant && std::find(found.begin(), found.end(), id) == found.end()) found.push_back(id);
    }
    const auto name = text_of(network, "name");
    if (found.empty())
        throw Failure("\"" + word + "\" is not on network " + name + "; \"viaduct net inspect " + name +
                      "\" shows who is");
    if (found.size() > 1)
        throw Failure("\"" + word + "\" may mean several containers on network " + name +
                      "; write more of its id");
    return found.front();
}

int detach(Session& session) {
    const auto word = session.words.take("a network namespace, process or container");
    const auto name = session.words.take("a network");
    Json::Value asked(Json::objectValue);
    if (!session.words.empty()) {
        session.words.keyword({"ifname"});
        asked["ifname"] = session.words.take("the interface's name in the container");
    }
    session.words.done();
    asked["container"] = container_on(session.ask("GET", target_of(name)), word);
    session.printed(session.ask("POST", target_of(name, "/detach"), asked)["removed"]);
    return 0;
}

int prune(Session& session) {
    session.words.done();
    const auto removed = session.ask("POST", "/v1/networks/prune", Json::Value(Json::objectValue))["removed"];
    if (session.printed(removed)) return 0;
    for (const auto& key : removed)
        std::cout << text_of(key, "container") << " " << text_of(key, "ifname") << " network "
                  << text_of(key, "network") << " removed\n";
    return 0;
}

/// A dry run is for what is checked as a whole before anything is done.
std::function<int(Session&)> wet(std::function<int(Session&)> run) {
    return [run = std::move(run)](Session& session) {
        if (session.arguments.dry_run)
            throw Usage("--dry-run is for changes of the configuration and for \"viaduct net create\"");
        return run(session);
    };
}

}  // namespace

Object net_object() {
    return {
        "net",
        "networks, and containers plugged into them",
        {{"ls", {"list", "lst", "show"}, "", "list networks", list},
         {"create",
          {"add"},
          "NAME [--driver bridge|routed|wire] [--subnet P]... [--gateway A]... [--range P]... [--ipv6] "
          "[--mtu N] [--internal] [--no-masquerade] [--no-isolation]",
          "make one",
          create},
         {"inspect", {}, "NAME", "show one and who is on it", inspect},
         {"rm", {"del", "delete", "remove"}, "NAME", "remove one that nobody is on", wet(remove)},
         {"attach",
          {"connect"},
          "NETNS|PID|CONTAINER NETWORK [--ifname NAME] [--ip A]... [--mac M] [--publish "
          "[HOSTIP:]PORT[-LAST]:PORT[-LAST][/PROTO]]... [--name NAME] [--label KEY=VALUE]...",
          "give a container an interface",
          wet(attach)},
         {"detach",
          {"disconnect"},
          "NETNS|PID|CONTAINER NETWORK [--ifname NAME]",
          "take it away",
          wet(detach)},
         {"prune", {}, "", "take away what containers left that ended", wet(prune)}},
        "driver: bridge (default): its containers share the subnets and reach each other directly; routed: "
        "each has an\n"
        "address of its own (/32, /128) and everything goes by the gateway; wire: two containers, and what "
        "one sends the\n"
        "other gets. none and host are no networks: a container started so has nothing to be connected, or "
        "the node's own.\n"
        "subnet: taken from 10.210.0.0/16 when none is named, with --ipv6 from fd76:6961:6475::/48, too; a "
        "wire has none.\n"
        "gateway: default the subnet's first address. range: the part that containers' addresses come from; "
        "default all.\n"
        "mtu: bytes, 68 to 9216, default 1500. internal: no gateway, nothing in or out. masquerade: what "
        "leaves the\n"
        "network has the node's address; default on. isolation: networks that have it reach each other only "
        "by "
        "what is\n"
        "published; default on.\n"
        "ifname: default the first of eth0, eth1, ... that the container does not have. publish: ports of "
        "the node that\n"
        "lead to the container, at HOSTIP or at all addresses of its router; tcp, udp or sctp, default "
        "tcp.\n"
        "label: by which services choose the container; see \"viaduct pod label\".\n"
        "A container's interface goes when its network namespace has nobody in it any more.\n",
        {"viaduct net create shop --subnet 10.1.0.0/24 --subnet fd00:1::/64",
         "viaduct net create edge --driver routed --no-masquerade",
         "podman run -d --network none --name web IMAGE && viaduct net attach web shop --publish 8080:80",
         "viaduct net attach /run/netns/blue shop --ifname net0 --ip 10.1.0.9 --mac 02:00:00:00:00:09",
         "viaduct net attach web-2 shop --label app=web,tier=front",
         "viaduct net attach 4711 shop --publish 192.0.2.1:5000-5009:5000-5009/udp",
         "viaduct -j net inspect shop", "viaduct net detach web shop", "viaduct net rm shop"}};
}

}  // namespace viaduct::cli
