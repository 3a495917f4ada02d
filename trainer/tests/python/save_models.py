"""Saves small Llamas as people have them, for the trainer to read.

    python trainer/tests/python/save_models.py FOLDER

Writes FOLDER/NAME for each NAME below, and FOLDER/NAME.json with the logits of transformers for some tokens.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

TOKENS = [[1, 5, 60, 2, 17, 33, 8, 8, 41, 0, 12]]
SHAPE = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.3,
)
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e6, "factor": 4.0}
folder = Path(sys.argv[1])


def model(seed=0, **changes):
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**SHAPE, **changes)).eval()


def expect(name, model):
    with torch.no_grad():
        logits = model(torch.tensor(TOKENS)).logits
    (folder / f"{name}.json").write_text(json.dumps({"tokens": TOKENS[0], "logits": logits[0].tolist()}))


def with_config(name, model):
    model.config.save_pretrained(folder / name)
    expect(name, model)
    return folder / name


# As transformers saves them: one file, several files, and each kind of scaling.
it = model(rope_parameters=LLAMA3)
it.save_pretrained(folder / "one")
expect("one", it)
it = model(rope_parameters=LINEAR)
it.save_pretrained(folder / "several", max_shard_size="20KB")
expect("several", it)
it = model(tie_word_embeddings=True)
it.save_pretrained(folder / "tied")
expect("tied", it)
twice = {name: tensor.clone() for name, tensor in it.state_dict().items()}
torch.save(twice, with_config("tied-twice", it) / "pytorch_model.bin")
twice["lm_head.weight"][-1, -1] += 1
torch.save(twice, with_config("tied-otherwise", it) / "pytorch_model.bin")

# `pytorch_model.bin`, as older transformers saved them: a parameter may be any view of any storage.
it = model(rope_parameters={"rope_type": "default", "rope_theta": 1e6})
state = dict(it.state_dict())
name = "model.layers.0.mlp.up_proj.weight"
state[name] = state[name].t().contiguous().t()  # columns first in memory
both = torch.cat([state["model.norm.weight"], state["model.layers.1.input_layernorm.weight"]])
state["model.norm.weight"] = both[:32]  # two views of one storage
state["model.layers.1.input_layernorm.weight"] = both[32:]
state["lm_head.weight"] = torch.nn.Parameter(state["lm_head.weight"])
state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # stored by older versions, and not needed
torch.save(state, with_config("bin", it) / "pytorch_model.bin")

names = sorted(it.state_dict())
parts = {f"pytorch_model-{i + 1:05}-of-00002.bin": names[i::2] for i in range(2)}
target = with_config("bins", it)
for file, of_file in parts.items():
    torch.save({name: it.state_dict()[name] for name in of_file}, target / file)
weight_map = {name: file for file, of_file in parts.items() for name in of_file}
(target / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

rounded = {name: tensor.to(torch.bfloat16) for name, tensor in it.state_dict().items()}
it.load_state_dict(rounded)  # which are `f32` again in the model; its RoPE never was anything else
torch.save(rounded, with_config("bf16", it) / "pytorch_model.bin")


class Hostile:
    def __reduce__(self):
        return (exec, ("open('it-ran', 'w')",))


torch.save({"model.norm.weight": Hostile()}, with_config("hostile", it) / "pytorch_model.bin")
torch.save(dict(it.state_dict()), with_config("old", it) / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def meta_logits(weights, tokens, heads, kv_heads, theta, eps):
    """Llama as Meta computes it: neighbours of a head are the two parts of a complex number, which RoPE turns."""
    x = weights["tok_embeddings.weight"][tokens]
    t, d = x.shape
    k = d // heads
    turns = torch.outer(torch.arange(t).float(), 1.0 / theta ** (torch.arange(0, k, 2).float() / k))
    turns = torch.polar(torch.ones_like(turns), turns)[:, None]

    def norm(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weights[f"{name}.weight"]

    def rotated(x_thk):
        pairs = torch.view_as_complex(x_thk.reshape(*x_thk.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(2)

    mask = torch.full((t, t), float("-inf")).triu(1)
    for layer in range(sum(name.endswith("wq.weight") for name in weights)):
        part = lambda name: weights[f"layers.{layer}.{name}.weight"]
        h = norm(x, f"layers.{layer}.attention_norm")
        q, key, v = ((h @ part(f"attention.w{it}").T).view(t, -1, k) for it in "qkv")
        key, v = (rotated(key).repeat_interleave(heads // kv_heads, 1), v.repeat_interleave(heads // kv_heads, 1))
        scores = torch.einsum("qhk,thk->hqt", rotated(q), key) / k**0.5 + mask
        x = x + torch.einsum("hqt,thk->qhk", scores.softmax(-1), v).flatten(1) @ part("attention.wo").T
        h = norm(x, f"layers.{layer}.ffn_norm")
        gate = torch.nn.functional.silu(h @ part("feed_forward.w1").T)
        x = x + (gate * (h @ part("feed_forward.w3").T)) @ part("feed_forward.w2").T
    return norm(x, "norm") @ weights.get("output.weight", weights["tok_embeddings.weight"]).T


def meta(name, parts, embedding_cut, tied=False, **params):
    """Meta's own files of a random Llama, cut for so many model-parallel parts."""
    torch.manual_seed(1)
    d, inner, vocabulary = 32, 48, 64
    heads, kv_heads = params["n_heads"], params.get("n_kv_heads", params["n_heads"])
    wide = d // heads * kv_heads
    shapes = {"tok_embeddings": (vocabulary, d), "norm": (d,)} | ({} if tied else {"output": (vocabulary, d)})
    for layer in range(2):
        of_layer = {
            "attention.wq": (d, d), "attention.wk": (wide, d), "attention.wv": (wide, d), "attention.wo": (d, d),
            "feed_forward.w1": (inner, d), "feed_forward.w2": (d, inner), "feed_forward.w3": (inner, d),
            "attention_norm": (d,), "ffn_norm": (d,),
        }
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in of_layer.items()}
    weights = {f"{name}.weight": torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    (folder / name).mkdir()
    for part in range(parts):
        cut = {"rope.freqs": torch.ones(4)}
        for key, tensor in weights.items():
            last = key.split(".")[-2]
            dim = embedding_cut if last == "tok_embeddings" else 1 if last in ("wo", "w2") else None if "norm" in last else 0
            cut[key] = tensor if dim is None else tensor.chunk(parts, dim)[part].clone()
        torch.save(cut, folder / name / f"consolidated.{part:02}.pth")
    (folder / name / "params.json").write_text(json.dumps({"dim": d, "n_layers": 2, "multiple_of": 16, **params}))
    logits = meta_logits(weights, torch.tensor(TOKENS[0]), heads, kv_heads, params.get("rope_theta", 1e4), params["norm_eps"])
    (folder / f"{name}.json").write_text(json.dumps({"tokens": TOKENS[0], "logits": logits.tolist()}))


meta("llama-1", 1, 1, n_heads=4, norm_eps=1e-6, vocab_size=-1)
meta("codellama", 2, 1, n_heads=4, norm_eps=1e-5, rope_theta=1e6, ffn_dim_multiplier=1.0)
meta("llama-3", 2, 0, n_heads=4, n_kv_heads=2, norm_eps=1e-5, rope_theta=5e5, vocab_size=64)
meta("llama-tied", 4, 0, tied=True, n_heads=4, n_kv_heads=4, norm_eps=1e-5)
