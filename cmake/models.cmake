# Every composition that the programs can hold: a short name and the type. -DLAMINA_MODELS chooses among them.
set(LAMINA_ALL_MODELS
    "qwen3_vl_tiny=qwen3_vl::Qwen3VL_Tiny" "qwen3_vl_nano=qwen3_vl::Qwen3VL_Nano"
    "qwen3_vl_2b=qwen3_vl::Qwen3VL_2B" "qwen3_vl_4b=qwen3_vl::Qwen3VL_4B"
    "qwen3_vl_8b=qwen3_vl::Qwen3VL_8B" "qwen3_vl_32b=qwen3_vl::Qwen3VL_32B"
    "qwen2_5_vl_tiny=qwen2_5_vl::Qwen2_5VL_Tiny" "qwen2_5_vl_3b=qwen2_5_vl::Qwen2_5VL_3B" "qwen2_5_vl_7b=qwen2_5_vl::Qwen2_5VL_7B"
    "qwen3_0_6b=qwen3::Qwen3_0_6B" "qwen3_1_7b=qwen3::Qwen3_1_7B"
    "qwen3_4b=qwen3::Qwen3_4B" "qwen3_8b=qwen3::Qwen3_8B"
    "qwen3_30b_a3b=qwen3_moe::Qwen3_30B_A3B" "qwen3_235b_a22b=qwen3_moe::Qwen3_235B_A22B"
    "qwen3_vl_30b_a3b=qwen3_vl_moe::Qwen3VL_30B_A3B" "qwen3_vl_235b_a22b=qwen3_vl_moe::Qwen3VL_235B_A22B"
    "qwen2_5_vl_32b=qwen2_5_vl::Qwen2_5VL_32B" "qwen2_5_vl_72b=qwen2_5_vl::Qwen2_5VL_72B")
