use serde_json::{Value, json};

use super::{LlamaConfig, RopeScaling};

fn minimal() -> Value {
    json!({"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512})
}

/// Reads a minimal file with these keys added.
fn read(keys: &Value) -> Result<LlamaConfig, String> {
    let mut file = minimal();
    file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(file).map_err(|problem| problem.to_string())
}

#[track_caller]
fn accepted(keys: &Value) -> LlamaConfig {
    read(keys).unwrap_or_else(|problem| panic!("{keys}: {problem}"))
}

#[track_caller]
fn refused(keys: &Value, wanted: &[&str]) {
    let problem = read(keys).expect_err(&keys.to_string());
    assert!(wanted.iter().all(|part| problem.contains(part)), "{keys}: {problem}");
}

#[test]
fn keys_that_the_first_checkpoints_lack_get_their_defaults() {
    let config = accepted(&json!({}));
    assert_eq!((config.num_key_value_heads, config.head_dim), (4, 16));
    assert_eq!((config.rope_theta, config.rms_norm_eps), (10_000.0, 1e-6));
    assert_eq!(config.inverse_frequencies()[1], 1.0 / 10_000f32.powf(2.0 / 16.0));
}

#[test]
fn what_is_written_reads_back() {
    let rescalings = [
        json!({"rope_type": "linear", "factor": 2.0}),
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}),
        json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "truncate": false}),
    ];
    for rope_scaling in rescalings {
        let config = accepted(
            &json!({"rope_scaling": rope_scaling, "pad_token_id": 3, "eos_token_id": [2, 5], "dtype": "bfloat16"}),
        );
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LlamaConfig>(&written).unwrap(), config);
    }
}

#[test]
fn dimensions_that_cannot_work_are_named() {
    let mut config = accepted(&json!({}));
    config.num_key_value_heads = 3;
    assert!(config.check().unwrap_err().contains("`num_key_value_heads` 3"));
    for (key, value) in [
        ("num_hidden_layers", json!(1_000_000)),
        ("vocab_size", json!(1_u64 << 31)),
        ("intermediate_size", json!(u64::MAX)),
        ("num_attention_heads", json!(1_000_000_000)),
        ("rope_theta", json!(-1.0)),
        ("rope_theta", json!(0.0)),
        ("rms_norm_eps", json!(-1e-6)),
    ] {
        let mut keys = json!({});
        keys[key] = value;
        let message = read(&keys).and_then(|config| config.check()).unwrap_err();
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn harmless_spellings_are_accepted() {
    let plain = accepted(&json!({}));
    for keys in [
        json!({"pad_token_id": -1}),
        json!({"pad_token_id": null}),
        json!({"rope_scaling": {"rope_type": "default"}}),
        json!({"rope_scaling": {"type": "default"}, "rope_parameters": null}),
        json!({"rope_scaling": {}}),
        json!({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "rope_theta": 10000}),
        json!({"partial_rotary_factor": 1.0}),
        json!({"dtype": "float32", "torch_dtype": "float32"}),
        json!({"torch_dtype": "torch.float32"}),
        json!({"hidden_act": "swish"}),
        json!({"architectures": ["LLaMAForCausalLM"], "model_type": "llama", "transformers_version": "4.28.0"}),
        json!({"attention_bias": false, "mlp_bias": null, "attention_dropout": 0.0, "pretraining_tp": 1, "use_cache": true}),
        json!({"quantization_config": null, "sliding_window": null, "auto_map": {}, "new_key": ""}),
    ] {
        assert_eq!(accepted(&keys), plain, "{keys}");
    }
    assert_eq!(accepted(&json!({"eos_token_id": [7, 9, -1]})).eos_token_id, [7, 9]);
}

#[test]
fn a_key_that_may_change_what_is_computed_is_refused_with_its_value() {
    refused(&json!({"attention_bias": 1}), &["`attention_bias` is 1"]);
    for (key, value) in [
        ("logit_scale", json!(0.0625)),
        ("attn_logit_softcapping", json!(50.0)),
        ("final_logit_softcapping", json!(30.0)),
        ("query_pre_attn_scalar", json!(256)),
        ("attention_multiplier", json!(0.5)),
        ("residual_multiplier", json!(0.22)),
        ("num_local_experts", json!(8)),
        ("no_rope_layers", json!([1, 0])),
    ] {
        refused(&json!({key: value}), &[key, "may change what the model computes"]);
    }
    refused(
        &json!({"sliding_window": 4096, "logits_scaling": 8.0}),
        &["`sliding_window` is 4096", "`logits_scaling` is 8.0"],
    );
    refused(&json!({"auto_map": {"AutoModel": "modeling.Own"}}), &["`auto_map`", "modeling.Own"]);
    refused(
        &json!({"architectures": ["LlamaForSequenceClassification"]}),
        &["LlamaForSequenceClassification"],
    );
    refused(
        &json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}),
        &["quantised by gptq"],
    );
    refused(
        &json!({"torch_dtype": "float16", "dtype": "bfloat16"}),
        &["float16", "bfloat16", "contradict"],
    );
    refused(&json!({"hidden_size": "64"}), &["`hidden_size` is \"64\""]);
    refused(&json!({"eos_token_id": "</s>"}), &["`eos_token_id` is \"</s>\""]);
    refused(&json!({"partial_rotary_factor": 0.5}), &["`partial_rotary_factor` is 0.5"]);
    let problem =
        serde_json::from_value::<LlamaConfig>(json!({"hidden_size": 64})).unwrap_err().to_string();
    assert!(problem.contains("`num_attention_heads` is missing"), "{problem}");
}

#[test]
fn rescalings_that_are_not_computed_or_contradict_each_other_are_refused() {
    for (name, kind) in
        [("rope_scaling", "dynamic"), ("rope_parameters", "longrope"), ("rope_scaling", "su")]
    {
        let kinds = if name == "rope_scaling" { "type" } else { "rope_type" };
        refused(&json!({name: {kinds: kind, "factor": 2.0}}), &[name, kind]);
    }
    refused(
        &json!({"rope_scaling": {"rope_type": "linear"}}),
        &["`rope_scaling.factor` is missing"],
    );
    refused(
        &json!({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "long_factor": [1.5]}}),
        &["long_factor"],
    );
    refused(&json!({"rope_scaling": {"factor": 2.0}}), &["`rope_scaling.factor` is 2.0"]);
    // transformers divides by these numbers.
    refused(
        &json!({"rope_scaling": {"rope_type": "linear", "factor": 0.0}}),
        &["`rope_scaling.factor` is 0"],
    );
    refused(
        &json!({"rope_scaling": {"rope_type": "yarn", "factor": -2.0}}),
        &["`rope_scaling.factor` is -2"],
    );
    refused(
        &json!({"rope_theta": 1.0, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
        &["`rope_theta` is 1"],
    );
    for (low, high, key) in [(0.0, 4.0, "low_freq_factor"), (4.0, 4.0, "high_freq_factor")] {
        let table = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": low, "high_freq_factor": high});
        refused(&json!({"rope_scaling": table}), &[key]);
    }
    refused(
        &json!({"rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2.0}}),
        &["linear", "yarn", "contradict"],
    );
    refused(
        &json!({"rope_theta": 10000.0, "rope_parameters": {"rope_theta": 500_000.0}}),
        &["10000", "500000", "contradict"],
    );
    let linear = |factor: f64| json!({"type": "linear", "factor": factor});
    refused(&json!({"rope_scaling": linear(2.0), "rope_parameters": linear(4.0)}), &["contradict"]);
    assert_eq!(
        accepted(&json!({"rope_scaling": linear(2.0), "rope_parameters": linear(2.0)}))
            .rope_scaling,
        Some(RopeScaling::Linear { factor: 2.0 })
    );
}

/// The expected frequencies and factors are those of transformers 5.17 for a model with 512
/// positions.
#[test]
fn rescaled_frequencies_are_those_of_transformers() {
    let yarn = [
        1.0,
        0.237_170_82,
        0.049_999_997,
        0.007_905_695,
        0.002_5,
        0.000_790_569_5,
        0.000_25,
        7.905_695e-5,
    ];
    let cases = [
        (
            json!({"rope_scaling": {"type": "linear", "factor": 2.0}}),
            [
                0.5,
                0.158_113_88,
                0.05,
                0.015_811_39,
                0.005,
                0.001_581_138_9,
                0.000_5,
                0.000_158_113_9,
            ],
            1.0,
        ),
        (
            json!({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}}),
            [
                1.0,
                0.316_227_76,
                0.1,
                0.018_496_677,
                0.001_25,
                0.000_395_284_73,
                0.000_125,
                3.952_847_3e-5,
            ],
            1.0,
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}}),
            yarn,
            1.138_629_4,
        ),
        (
            json!({"original_max_position_embeddings": 128,
                   "rope_parameters": {"rope_type": "yarn", "attention_factor": 1.25, "rope_theta": 10000.0}}),
            yarn,
            1.25,
        ),
        (
            json!({"rope_theta": 500_000.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
                   "original_max_position_embeddings": 128, "mscale": 0.7, "mscale_all_dim": 0.3, "beta_fast": 16,
                   "truncate": false}}),
            [
                1.0,
                0.120_549_336,
                0.009_401_508,
                0.001_823_166_3,
                0.000_353_553_36,
                6.856_205e-5,
                1.329_573_9e-5,
                2.578_346_3e-6,
            ],
            1.053_237_7,
        ),
    ];
    for (keys, expected, factor) in cases {
        let mut keys = keys;
        keys["max_position_embeddings"] = json!(512);
        let config = accepted(&keys);
        for (got, expected) in config.inverse_frequencies().into_iter().zip(expected) {
            // The results differ in the last places: the power function is another one.
            assert!((got / expected - 1.0f32).abs() < 1e-6, "{keys}: {got} is not {expected}");
        }
        assert!((config.rope_attention_factor() - factor as f32).abs() < 1e-6, "{keys}");
    }
}
