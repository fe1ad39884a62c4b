// viaduct vrf: routers of their own.
#include <iostream>

#include <json/json.h>

#include "cli/edit.h"

namespace viaduct::cli {

namespace {

void read_settings(Words& words, Json::Value& vrf) {
    while (!words.empty()) {
        const auto key = words.keyword({"forwarding4", "forwarding6"});
        vrf[key] = take_switch(words, key);
    }
}

const Edited& edited() {
    static const Edited vrf{"vrfs", "vrf", "VRF", read_settings};
    return vrf;
}

int show(Session& session) {
    const auto shown = shown_objects(session, edited());
    if (session.printed(shown)) return 0;
    Table table({"VRF", "FORWARDING4", "FORWARDING6", "FROM"});
    for (const auto& vrf : shown) {
        table.add({text_of(vrf, "name"), switch_word(bool_of(vrf, "forwarding4", true)),
                   switch_word(bool_of(vrf, "forwarding6", true)), text_of(vrf, "from")});
    }
    std::cout << table.text();
    return 0;
}

}  // namespace

Object vrf_object() {
    const std::string settings = "[forwarding4 on|off] [forwarding6 on|off]";
    return {
        "vrf",
        "routers of their own: addresses and routes of two VRFs never meet",
        {{"show", {"list", "ls", "lst"}, "[NAME]", "list VRFs that have settings", show},
         {"add",
          {},
          "NAME " + settings,
          "make one",
          [](Session& session) { return add_named(session, edited()); }},
         {"set",
          {"change"},
          "NAME " + settings,
          "change some of its settings",
          [](Session& session) { return set_named(session, edited()); }},
         {"del",
          {"delete"},
          "NAME",
          "delete one that nothing is in",
          [](Session& session) { return delete_named(session, edited()); }}},
        "The VRF \"default\" is always there; add it only to give it settings. forwarding4, forwarding6: off "
        "drops\npackets that are for others; the router's own addresses still answer.\n",
        {"viaduct vrf add blue", "viaduct vrf add default forwarding6 off", "viaduct vrf del blue"}};
}

}  // namespace viaduct::cli
