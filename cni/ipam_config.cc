#include "ipam_config.h"

#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"

namespace viaduct::cni {

using attachment::Range;
using attachment::RangeSet;
using attachment::Route;

namespace {

std::optional<IpAddress> read_ip(ObjectReader& reader, const char* key) {
    const auto text = reader.string(key, 64);
    if (!text || text->empty()) return std::nullopt;
    const auto ip = IpAddress::parse(*text);
    if (!ip) reader.fault(key, "is \"" + *text + "\", which is not an IP address");
    return ip;
}

/// From the first to the last address that a host may have, unless told otherwise.
void set_bounds(ObjectReader& reader, Range& range) {
    const auto& subnet = range.subnet;
    const bool whole = subnet.length >= subnet.address.bits() - 1;  // RFC 3021: two hosts; or a single one
    const auto start = read_ip(reader, "rangeStart");
    const auto end = read_ip(reader, "rangeEnd");
    const auto base = subnet.network();
    auto last = subnet.last();
    if (subnet.address.is_v4() && !whole) {  // without the broadcast address
        last = *base.plus(*subnet.last().minus(base) - 1);
    }
    range.first = start.value_or(whole ? base : *base.plus(1));
    range.last = end.value_or(last);
    for (const auto& [key, bound] : {std::pair{"rangeStart", start}, std::pair{"rangeEnd", end}}) {
        if (!bound) continue;
        if (!subnet.contains(*bound)) {
            reader.fault(key, "is " + bound->to_string() + ", outside the subnet " + subnet.to_string());
        } else if (!whole && (*bound == base || (subnet.address.is_v4() && *bound == subnet.last()))) {
            reader.fault(key, "is " + bound->to_string() +
                                  ", which is the network's or the broadcast address of " +
                                  subnet.to_string());
        }
    }
    if (subnet.contains(range.first) && subnet.contains(range.last) && range.last < range.first) {
        reader.fault("rangeStart",
                     "is " + range.first.to_string() + ", above the range's end " + range.last.to_string());
    }
    range.gateway = read_ip(reader, "gateway");
    if (range.gateway && range.gateway->is_v4() != subnet.address.is_v4()) {
        reader.fault("gateway", "is of another family than the subnet " + subnet.to_string());
    }
    if (!range.gateway && !whole) range.gateway = base.plus(1);
}

/// Nothing when there is no subnet at all.
std::optional<Range> read_range(ObjectReader& reader) {
    const auto text = reader.string("subnet", 64);
    if (!text || text->empty()) return std::nullopt;
    const auto subnet = Prefix::parse(*text);
    if (!subnet) {
        reader.fault("subnet", "is \"" + *text + "\", which is not of the form 10.1.0.0/16");
        return std::nullopt;
    }
    if (subnet->network() != subnet->address) {
        reader.fault("subnet", "is " + *text + ", which has host bits; the network is " +
                                   Prefix{subnet->network(), subnet->length}.to_string());
    }
    Range range;
    range.subnet = *subnet;
    set_bounds(reader, range);
    return range;
}

void read_sets(const Json::Value& list, const std::string& where, std::vector<RangeSet>& sets,
               Faults& faults) {
    for (Json::ArrayIndex i = 0; i < list.size(); ++i) {
        const auto place = where + "/" + std::to_string(i);
        if (!list[i].isArray() || list[i].empty() || list[i].size() > attachment::kRangesMost) {
            faults.push_back(
                {place, "must be an array of 1 to " + std::to_string(attachment::kRangesMost) + " ranges"});
            continue;
        }
        RangeSet set;
        for (Json::ArrayIndex k = 0; k < list[i].size(); ++k) {
            ObjectReader reader(list[i][k], place + "/" + std::to_string(k), faults,
                                ObjectReader::Keys::any_case);
            const auto before = faults.size();
            if (auto range = read_range(reader)) {
                set.push_back(*range);
            } else if (faults.size() == before) {
                reader.fault("subnet", "is required");
            }
        }
        sets.push_back(std::move(set));
    }
}

void read_exclusions(ObjectReader& reader, std::vector<Prefix>& into) {
    for (const auto& text :
         reader.strings("exclude", attachment::kListMost).value_or(std::vector<std::string>{})) {
        const auto ip = IpAddress::parse(text);
        const auto prefix =
            ip ? std::optional(Prefix{*ip, static_cast<std::uint8_t>(ip->bits())}) : Prefix::parse(text);
        if (prefix) {
            into.push_back(*prefix);
        } else {
            reader.fault("exclude",
                         "holds \"" + text.substr(0, 64) + "\", which is neither an address nor a prefix");
        }
    }
}

bool overlap(const Range& a, const Range& b) {
    return a.first <= b.last && b.first <= a.last;
}

}  // namespace

void read_routes(const Json::Value& list, const std::string& where, std::vector<Route>& routes,
                 Faults& faults) {
    for (Json::ArrayIndex i = 0; i < list.size(); ++i) {
        ObjectReader reader(list[i], where + "/" + std::to_string(i), faults, ObjectReader::Keys::any_case);
        if (!reader.valid()) continue;
        const auto text = reader.string("dst", 64).value_or("");
        const auto destination = Prefix::parse(text);
        if (!destination) {
            reader.fault("dst", "is \"" + text + "\", and must be of the form 10.1.0.0/16 or 0.0.0.0/0");
            continue;
        }
        Route route;
        route.destination = *destination;
        route.gateway = read_ip(reader, "gw");
        if (route.gateway && route.gateway->is_v4() != destination->address.is_v4()) {
            reader.fault("gw", "is of another family than the destination");
        }
        const auto number = [&](const char* key, std::optional<std::uint32_t>& into, std::uint32_t most) {
            if (const auto value = reader.integer(key, 0, most)) into = static_cast<std::uint32_t>(*value);
        };
        number("mtu", route.mtu, UINT32_MAX);
        number("advmss", route.advmss, UINT32_MAX);
        number("priority", route.priority, UINT32_MAX);
        number("table", route.table, UINT32_MAX);
        number("scope", route.scope, 255);
        routes.push_back(route);
    }
}

attachment::Dns read_dns(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults, ObjectReader::Keys::any_case);
    const std::vector<std::string> none;
    attachment::Dns dns;
    dns.nameservers = reader.strings("nameservers", attachment::kListMost).value_or(none);
    dns.domain = reader.string("domain").value_or("");
    dns.search = reader.strings("search", attachment::kListMost).value_or(none);
    dns.options = reader.strings("options", attachment::kListMost).value_or(none);
    return dns;
}

void check_ranges(const std::vector<RangeSet>& sets, Faults& faults) {
    std::vector<std::pair<std::size_t, const Range*>> seen;
    std::size_t count = 0;
    for (const auto& set : sets)
        count += set.size();
    if (sets.size() > attachment::kSetsMost || count > attachment::kRangesMost) {
        faults.push_back({"ipam/ranges", "has too many ranges; at most " +
                                             std::to_string(attachment::kSetsMost) + " sets with " +
                                             std::to_string(attachment::kRangesMost) +
                                             " ranges together are accepted"});
        return;
    }
    for (std::size_t i = 0; i < sets.size(); ++i) {
        for (const auto& range : sets[i]) {
            if (range.first.is_v4() != sets[i].front().first.is_v4()) {
                faults.push_back({"ipam/ranges/" + std::to_string(i),
                                  "mixes IPv4 and IPv6; give each family a set of its own"});
            }
            for (const auto& [other_set, other] : seen) {
                if (!overlap(range, *other)) continue;
                faults.push_back({"ipam/ranges/" + std::to_string(i), to_string(range) + " overlaps with " +
                                                                          to_string(*other) + " of set " +
                                                                          std::to_string(other_set)});
            }
            seen.emplace_back(i, &range);
        }
    }
}

void read_ip_ranges(const Json::Value& list, const std::string& where, attachment::Request& request,
                    Faults& faults) {
    std::vector<RangeSet> sets;
    read_sets(list, where, sets, faults);
    request.ranges.insert(request.ranges.begin(), sets.begin(), sets.end());
}

void read_ipam(const Json::Value& json, attachment::Request& request, Faults& faults) {
    ObjectReader reader(json, "ipam", faults, ObjectReader::Keys::any_case);
    reader.member("type");
    if (const auto single = read_range(reader)) request.ranges.push_back({*single});
    if (const auto* sets = reader.array("ranges", attachment::kSetsMost)) {
        read_sets(*sets, "ipam/ranges", request.ranges, faults);
    }
    read_exclusions(reader, request.exclude);
    if (const auto* routes = reader.array("routes", attachment::kListMost)) {
        read_routes(*routes, "ipam/routes", request.routes, faults);
    }
    if (const auto* dns = reader.object("dns")) request.dns = read_dns(*dns, "ipam/dns", faults);
    if (reader.member("resolvConf") != nullptr) {
        reader.fault("resolvConf", "is not supported; write the name servers into \"dns\"");
    }
    for (const auto& key : reader.unread())
        request.unknown_keys.push_back("ipam/" + key);
}

}  // namespace viaduct::cni
