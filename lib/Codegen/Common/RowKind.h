#ifndef QUERN_LIB_CODEGEN_COMMON_ROWKIND_H
#define QUERN_LIB_CODEGEN_COMMON_ROWKIND_H

namespace quern::codegen {

/// What the numbers of a row of activations are: f32, `!dq.act8<32>`, bf16 or `!dq.act8<row>`.
enum class RowKind { Float, Act8, BFloat, Act8Row };

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_COMMON_ROWKIND_H
