// How a weight whose columns have an order of their own is told.
#ifndef QUERN_FORMATS_COLUMNORDER_H
#define QUERN_FORMATS_COLUMNORDER_H

#include <string>

namespace quern::formats {

/// Name of the tensor that tells the order of a weight's columns: I32, the k-th column is that of the given number in
/// what the weight is multiplied with. No GGUF file has one; import::Assembly makes them.
inline std::string columnOrder(const std::string &weight) { return weight.substr(0, weight.rfind('.')) + ".columns"; }

} // namespace quern::formats

#endif // QUERN_FORMATS_COLUMNORDER_H
