# SPDX-License-Identifier: Apache-2.0
"""Small random models as transformers makes and saves them."""
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY = 300

GPT2 = dict(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=0, eos_token_id=0)
LLAMA = dict(vocab_size=VOCABULARY, max_position_embeddings=64, hidden_size=48, intermediate_size=112, num_hidden_layers=2,
             num_attention_heads=4)

# name: what differs from the configuration above, then how it is saved
VARIANTS = {
    "gpt2": ({}, {}),
    "gpt2-inner": ({"n_inner": 80}, {}),
    "gpt2-gelu": ({"activation_function": "gelu"}, {}),
    "gpt2-gelu-tanh": ({"activation_function": "gelu_pytorch_tanh"}, {}),
    "gpt2-relu": ({"activation_function": "relu"}, {}),
    "gpt2-epsilon": ({"layer_norm_epsilon": 0.1}, {}),
    "gpt2-untied": ({"tie_word_embeddings": False}, {}),
    "gpt2-bf16": ({}, {"dtype": torch.bfloat16}),
    "gpt2-fp16": ({}, {"dtype": torch.float16}),
    "gpt2-sharded": ({}, {"max_shard_size": "60KB"}),
    "llama": ({}, {}),
    "llama-grouped": ({"num_key_value_heads": 2}, {}),
    "llama-one-kv-head": ({"num_key_value_heads": 1}, {}),
    "llama-head-dim": ({"head_dim": 20, "num_key_value_heads": 2}, {}),
    "llama-theta": ({"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}, {}),
    "llama-epsilon": ({"rms_norm_eps": 0.1}, {}),
    "llama-tied": ({"tie_word_embeddings": True}, {}),
    "llama-bf16": ({"num_key_value_heads": 2}, {"dtype": torch.bfloat16}),
    "llama-sharded": ({"tie_word_embeddings": True}, {"max_shard_size": "60KB"}),
}


def save(name, folder):
    changes, how = VARIANTS[name]
    torch.manual_seed(len(name))
    if name.startswith("gpt2"):
        model = GPT2LMHeadModel(GPT2Config(**{**GPT2, **changes}))
    else:
        model = LlamaForCausalLM(LlamaConfig(**{**LLAMA, **changes}))
    # Far from the initialisation, which hides much: biases of zero, gains of one, flat logits.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    how = dict(how)
    model.to(how.pop("dtype", torch.float32)).save_pretrained(folder, safe_serialization=True, **how)
