// Names from files in messages: they may hold anything, of any length.
#ifndef QUERN_SUPPORT_QUOTED_H
#define QUERN_SUPPORT_QUOTED_H

#include <string>
#include <string_view>

namespace quern {

/// A name from a file for a message: control characters as '?', cut at 80 bytes, where "..." follows.
std::string printable(std::string_view name);

/// The same in single quotes. Not `quoted`, which calls with a std::string would take from std.
std::string inQuotes(std::string_view name);

} // namespace quern

#endif // QUERN_SUPPORT_QUOTED_H
