// RUN: quern-opt %s -verify-diagnostics --cpu-lower-to-kernels

// expected-error @+1 {{has no memory plan; run lm-plan-memory first}}
func.func @f(%ids: tensor<?xi32> {lm.size = "tokens"}) {
  return
}
