#include "Npy.h"
#include "Common.h"
#include "quern/Runtime/ElementBytes.h"
#include "quern/Support/AtomicFile.h"

#include <cctype>
#include <cstring>

using namespace quern;
using namespace quern::cli;

namespace {
struct NpyType {
  const char *ours, *numpy;
};
} // namespace

static constexpr NpyType kTypes[] = {{"f32", "<f4"}, {"f64", "<f8"}, {"f16", "<f2"}, {"i8", "|i1"},  {"u8", "|u1"},
                                     {"i16", "<i2"}, {"u16", "<u2"}, {"i32", "<i4"}, {"u32", "<u4"}, {"i64", "<i8"},
                                     {"u64", "<u8"}, {"bool", "|b1"}, {"bf16", "<u2"}};
static constexpr char kMagic[] = "\x93NUMPY";

/// The text after 'key': in the header, without spaces.
static std::string_view after(std::string_view header, const std::string &key) {
  size_t at = header.find("'" + key + "':");
  if (at == std::string_view::npos)
    return {};
  std::string_view rest = header.substr(at + key.size() + 3);
  while (!rest.empty() && rest.front() == ' ')
    rest.remove_prefix(1);
  return rest;
}

/// "(2, 3)" as numbers; false if it is something else, or too large.
static bool parseShape(std::string_view text, std::vector<int64_t> &shape) {
  size_t end = text.find(')');
  if (text.empty() || text.front() != '(' || end == std::string_view::npos)
    return false;
  for (size_t i = 1; i < end;) {
    if (!std::isdigit(static_cast<unsigned char>(text[i]))) {
      if (text[i] != ' ' && text[i] != ',')
        return false;
      ++i;
      continue;
    }
    int64_t size = 0;
    for (; std::isdigit(static_cast<unsigned char>(text[i])); ++i)
      if (__builtin_mul_overflow(size, int64_t(10), &size) || __builtin_add_overflow(size, text[i] - '0', &size))
        return false;
    shape.push_back(size);
  }
  return true;
}

Result<NpyArray> cli::readNpy(const std::string &path) {
  QUERN_ASSIGN(std::string text, readFile(path));
  auto wrong = [&](const std::string &what) { return fail("'" + path + "': " + what); };
  if (text.size() < 12 || std::memcmp(text.data(), kMagic, 6) != 0)
    return wrong("is no .npy file");
  bool old = text[6] == 1; // a length of two bytes; later versions have four
  uint32_t length = uint8_t(text[8]) | uint32_t(uint8_t(text[9])) << 8;
  if (!old)
    length |= uint32_t(uint8_t(text[10])) << 16 | uint32_t(uint8_t(text[11])) << 24;
  size_t start = old ? 10 : 12;
  if (length > text.size() - start)
    return wrong("the header is cut off");
  std::string_view header(text.data() + start, length), type = after(header, "descr");
  NpyArray array;
  for (const NpyType &known : kTypes)
    if (array.type.empty() && type.starts_with("'" + std::string(known.numpy) + "'"))
      array.type = known.ours;
  if (array.type.empty())
    return wrong("has elements of a type that is not supported: " + std::string(type.substr(0, type.find(','))));
  if (!after(header, "fortran_order").starts_with("False"))
    return wrong("is in column-major order; save numpy.ascontiguousarray of it");
  if (!parseShape(after(header, "shape"), array.shape))
    return wrong("the header names no shape");
  uint64_t bytes = elementBytes(array.type);
  for (int64_t size : array.shape)
    if (__builtin_mul_overflow(bytes, uint64_t(size), &bytes))
      return wrong("its shape is larger than any file");
  if (bytes != text.size() - start - length)
    return wrong("holds " + std::to_string(text.size() - start - length) + " bytes of elements, its shape asks for " +
                 std::to_string(bytes));
  array.bytes = text.substr(start + length);
  return array;
}

Status cli::writeNpy(const std::string &path, const std::string &type, const std::vector<int64_t> &shape,
                     const void *data, uint64_t bytes) {
  std::string numpy, sizes;
  for (const NpyType &known : kTypes)
    if (type == known.ours)
      numpy = known.numpy;
  for (int64_t size : shape)
    sizes += std::to_string(size) + ", ";
  std::string header = "{'descr': '" + numpy + "', 'fortran_order': False, 'shape': (" + sizes + "), }";
  header.append(63 - (10 + header.size()) % 64, ' '); // with the line's end the elements begin on a multiple of 64
  header += '\n';
  std::string front(kMagic, 6);
  front += {char(1), char(0), char(header.size() & 0xff), char(header.size() >> 8)};
  front += header;
  QUERN_ASSIGN(AtomicFile file, AtomicFile::create(path));
  QUERN_TRY(file.append({reinterpret_cast<const uint8_t *>(front.data()), front.size()}));
  QUERN_TRY(file.append({static_cast<const uint8_t *>(data), bytes}));
  return file.finish();
}
