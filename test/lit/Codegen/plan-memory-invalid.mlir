// RUN: quern-opt %s -verify-diagnostics --lm-plan-memory

func.func @no_size(%ids: tensor<?xi32>, %t: tensor<10x64xf32>) {
  // expected-error @+1 {{the first size of this result is not that of an argument with lm.size}}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  return
}
