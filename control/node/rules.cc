#include "node/rules.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "node/attributes.h"
#include "node/netlink.h"

namespace viaduct::node {

namespace {

/// A rule as far as it can be one of these.
struct Rule {
    unsigned char family = AF_INET;
    std::uint32_t priority = 0;
    std::uint32_t table = 0;
    std::uint8_t mark = 0;
    std::string in;  ///< interface; "lo" is what local programs send
    std::vector<std::uint8_t> destination;
    std::uint8_t length = 0;
    std::uint8_t protocol = 0;
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    friend auto operator<=>(const Rule&, const Rule&) = default;
};

Rule rule_from(const nlmsghdr& told) {
    const auto* info = static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(&told));
    Rule rule;
    rule.family = info->family;
    rule.table = info->table;
    rule.length = info->dst_len;
    for_each_attribute(told, sizeof(fib_rule_hdr), [&](int type, const nlattr* attribute) {
        switch (type) {
            case FRA_PRIORITY:
                rule.priority = mnl_attr_get_u32(attribute);
                break;
            case FRA_TABLE:
                rule.table = mnl_attr_get_u32(attribute);
                break;
            case FRA_PROTOCOL:
                rule.mark = mnl_attr_get_u8(attribute);
                break;
            case FRA_IIFNAME:
                rule.in = text_of(attribute);
                break;
            case FRA_DST: {
                const auto* bytes = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
                rule.destination.assign(bytes, bytes + mnl_attr_get_payload_len(attribute));
                break;
            }
            case FRA_IP_PROTO:
                rule.protocol = mnl_attr_get_u8(attribute);
                break;
            case FRA_DPORT_RANGE: {
                fib_rule_port_range range{};
                if (mnl_attr_get_payload_len(attribute) == sizeof range)
                    std::memcpy(&range, mnl_attr_get_payload(attribute), sizeof range);
                rule.first = range.start;
                rule.last = range.end;
                break;
            }
            default:
                break;
        }
    });
    return rule;
}

std::vector<Rule> rules_in(Netlink& netlink, unsigned char family) {
    Message question;
    auto* info = static_cast<fib_rule_hdr*>(
        mnl_nlmsg_put_extra_header(question.start(RTM_GETRULE, 0), sizeof(fib_rule_hdr)));
    info->family = family;
    std::vector<Rule> rules;
    netlink.dump(question, [&](const nlmsghdr& answer) { rules.push_back(rule_from(answer)); });
    return rules;
}

void send(Netlink& netlink, const Rule& rule, bool add) {
    Message message;
    auto* header = message.start(add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
    auto* info = static_cast<fib_rule_hdr*>(mnl_nlmsg_put_extra_header(header, sizeof(fib_rule_hdr)));
    info->family = rule.family;
    info->action = FR_ACT_TO_TBL;
    info->table = static_cast<std::uint8_t>(rule.table < 256 ? rule.table : RT_TABLE_COMPAT);
    info->dst_len = rule.length;
    mnl_attr_put_u32(header, FRA_PRIORITY, rule.priority);
    mnl_attr_put_u32(header, FRA_TABLE, rule.table);
    mnl_attr_put_u8(header, FRA_PROTOCOL, rule.mark);
    if (!rule.in.empty()) mnl_attr_put_strz(header, FRA_IIFNAME, rule.in.c_str());
    if (!rule.destination.empty())
        mnl_attr_put(header, FRA_DST, rule.destination.size(), rule.destination.data());
    if (rule.protocol != 0) mnl_attr_put_u8(header, FRA_IP_PROTO, rule.protocol);
    if (rule.first != 0) {
        const fib_rule_port_range range{rule.first, rule.last};
        mnl_attr_put(header, FRA_DPORT_RANGE, sizeof range, &range);
    }
    const int error = netlink.talk(message);
    if (error == 0 || (add && error == EEXIST) || (!add && error == ENOENT)) return;
    throw Error(std::string("the kernel refused to ") + (add ? "make" : "take away") +
                " a rule for published ports: " + std::strerror(error));
}

std::uint8_t number_of(model::Transport protocol) {
    switch (protocol) {
        case model::Transport::tcp:
            return IPPROTO_TCP;
        case model::Transport::udp:
            return IPPROTO_UDP;
        case model::Transport::sctp:
            break;
    }
    return IPPROTO_SCTP;
}

Rule rule_for(const PublishedPlace& place, std::uint32_t table) {
    const auto network = place.at.network();
    const auto bytes = network.bytes();
    const unsigned char family = network.is_v4() ? AF_INET : AF_INET6;
    return {family,
            0,
            table,
            kMark,
            "lo",
            {bytes.begin(), bytes.end()},
            place.at.length,
            number_of(place.protocol),
            place.first,
            place.last};
}

Rule local_rule(unsigned char family, std::uint32_t priority, std::uint8_t mark) {
    return {family, priority, RT_TABLE_LOCAL, mark, {}, {}, 0, 0, 0, 0};
}

/// Rules of one family become `wanted`.
void set_family(Netlink& netlink, unsigned char family, const std::set<Rule>& wanted) {
    const auto present = rules_in(netlink, family);
    const auto is_original = [](const Rule& rule) {
        return rule.priority == 0 && rule.table == RT_TABLE_LOCAL && rule.mark != kMark;
    };
    const auto is_ours = [](const Rule& rule) { return rule.table == RT_TABLE_LOCAL && rule.mark == kMark; };
    const bool original = std::ranges::any_of(present, is_original);
    const bool moved = std::ranges::any_of(present, is_ours);
    // There is always one that leads to the table "local". Where somebody else has put it, it stays.
    if (wanted.empty() && moved && !original) send(netlink, local_rule(family, 0, RTPROT_KERNEL), true);
    if (!wanted.empty() && original) send(netlink, local_rule(family, 1, kMark), true);
    for (const auto& rule : wanted) {
        if (std::ranges::find(present, rule) == present.end()) send(netlink, rule, true);
    }
    for (const auto& rule : present) {
        const bool away = is_original(rule) ? !wanted.empty()
                                            : rule.mark == kMark && !wanted.contains(rule) &&
                                                  (wanted.empty() || rule.table != RT_TABLE_LOCAL);
        if (away) send(netlink, rule, false);
    }
}

}  // namespace

void set_published(const Namespace& ns, const std::vector<PublishedPlace>& places, std::uint32_t table) {
    Netlink netlink(ns);
    for (const auto family : kFamilies) {
        std::set<Rule> wanted;
        for (const auto& place : places) {
            auto rule = rule_for(place, table);
            if (rule.family == family) wanted.insert(std::move(rule));
        }
        set_family(netlink, family, wanted);
    }
}

}  // namespace viaduct::node
