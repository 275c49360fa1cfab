// RUN: split-file %s %t
// RUN: quern-opt %t/quantized.mlir --dq-assign-formats=mix=Q4_0 --verify-diagnostics
// RUN: quern-opt %t/twice.mlir --dq-assign-formats=mix=Q8_0 --verify-diagnostics
// RUN: quern-opt %t/names.mlir --dq-assign-formats=mix=Q8_0 --verify-diagnostics
// RUN: quern-opt %t/integers.mlir --dq-assign-formats=recipe=%t/integers.json --verify-diagnostics
// RUN: quern-opt %t/no-mix.mlir --dq-assign-formats=mix=Q5_K_X --verify-diagnostics
// RUN: quern-opt %t/no-choice.mlir --dq-assign-formats --verify-diagnostics
// RUN: quern-opt %t/rows.mlir --dq-assign-formats=recipe=%t/rows.json --verify-diagnostics
// RUN: quern-opt %t/no-tensor.mlir --dq-assign-formats=recipe=%t/no-tensor.json --verify-diagnostics

//--- quantized.mlir
// expected-error@+1 {{tensor 'w.weight' is quantized already, as Q8_0, and would lose more as Q4_0}}
dq.source @w.weight : tensor<2x32x!dq.block<q8_0>> in 0 at 0 bytes 68

//--- twice.mlir
// expected-error@+1 {{weight 'w.weight' has been given a type already}}
dq.source @w.weight : tensor<2x32xf16> from tensor<2x32xbf16> in 0 at 0 bytes 128

// Names from files may hold anything, of any length.
//--- names.mlir
// expected-error@unknown {{weight 'a?b?[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' (w.weight) has been given a type already}}
dq.source @w.weight : tensor<2x32xf16> from tensor<2x32xbf16> in 0 at 0 bytes 128 loc("w.weight"("a\0Ab\1B[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))

//--- integers.mlir
// expected-error@+1 {{tensor 'w.weight' holds no numbers that could become Q8_0}}
dq.source @w.weight : tensor<2x32xi8> in 0 at 0 bytes 64
//--- integers.json
{"w.weight": "Q8_0"}

//--- no-mix.mlir
// expected-error@unknown {{there is no mix 'Q5_K_X'; choose one of F32}}
dq.source @w.weight : tensor<2x32xf16> in 0 at 0 bytes 128

//--- no-choice.mlir
// expected-error@unknown {{either --quant MIX or --recipe FILE}}
dq.source @w.weight : tensor<2x32xf16> in 0 at 0 bytes 128

//--- rows.mlir
// expected-error@unknown {{blocks of 256 do not divide the rows of 32 weights of 'w.weight'}}
dq.source @w.weight : tensor<2x32xf16> in 0 at 0 bytes 128
//--- rows.json
{"w.weight": "Q4_K"}

//--- no-tensor.mlir
// expected-error@unknown {{'v.weight' names no tensor of the model}}
dq.source @w.weight : tensor<2x32xf16> in 0 at 0 bytes 128
//--- no-tensor.json
{"v.weight": "Q8_0"}
