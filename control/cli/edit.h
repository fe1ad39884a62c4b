// What the commands of all named objects have in common: make one, change some of it, delete it.
#pragma once

#include <functional>
#include <string>

#include "cli/session.h"

namespace Json {
class Value;
}

namespace viaduct::cli {

/// A kind of objects as a command edits it.
struct Edited {
    const char* list;    ///< its list in the configuration: "vrfs"
    const char* object;  ///< its object on the command line: "vrf"
    const char* noun;    ///< for people: "VRF"
    /// Reads the words after the name into the object.
    std::function<void(Words&, Json::Value&)> settings;
};

int add_named(Session& session, const Edited& edited);
int set_named(Session& session, const Edited& edited);
int delete_named(Session& session, const Edited& edited);

/// Puts one object of `list`, after its values were checked here: mistakes are told without asking control.
int put_object(Session& session, const std::string& list, const Json::Value& object);
/// The list of what is desired, or only the one named by the next word; throws Failure when there is none.
Json::Value shown_objects(Session& session, const Edited& edited);

bool take_switch(Words& words, const std::string& what);  ///< "on" or "off"
const char* switch_word(bool on);

}  // namespace viaduct::cli
