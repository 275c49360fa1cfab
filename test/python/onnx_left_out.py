"""Backend node tests left out although operators and element types are supported: pattern of names -> reason."""
NO_F64 = "functions and remainders of f64: only arithmetic of f64 is supported"
HALVES = "the expected results round in other places: halves are computed in f32 here and rounded after each operator"

LEFT_OUT = {
    r"test_reduce_log_sum_exp_.*(example|random|empty_set_expanded)(_expanded)?": NO_F64,
    r"test_(flexattention_double|attention_local_window_gqa_rank4_mask)_expanded(_ver26)?": NO_F64,
    r"test_attention_(3d_causal|4d_(attn_mask_)?causal|4d_(causal_)?padded_kv)_bf16(_expanded)?": HALVES,
    r"test_attention_4d_causal_fp16_expanded": HALVES,
}
