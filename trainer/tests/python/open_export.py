"""Opens an exported folder with transformers and compares it with what the trainer says of it.

    python trainer/tests/python/open_export.py FOLDER EXPECTED.json

EXPECTED.json is a list: `messages`, the `ids` of the prompt made of them, the `last_logits` after it, and the ids of
the greedy `answer`. `trainer/tests/export.rs` writes it.
"""

import json
import sys
from pathlib import Path

import torch
from sentencepiece import SentencePieceProcessor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

# Both compute in f32 with other orders of summation; logits of the tiny model are about 1.
TOLERANCE = 2e-5

folder, expected = sys.argv[1:]
model, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(folder)
for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
    assert not loading[kind], (kind, loading[kind])

largest = 0.0
cases = json.load(open(expected, encoding="utf-8"))
for case in cases:
    encoded = tokenizer.apply_chat_template(case["messages"], add_generation_prompt=True)
    ids = encoded if isinstance(encoded, list) else encoded["input_ids"]
    assert ids == case["ids"], (case["messages"], ids, case["ids"])

    prompt = torch.tensor([ids])
    with torch.no_grad():
        logits = model(prompt).logits[0, -1]
    largest = max(largest, (logits - torch.tensor(case["last_logits"])).abs().max().item())

    new = len(case["answer"])
    answer = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=max(new, 24)
    )[0, len(ids) :].tolist()
    assert answer == case["answer"], (answer, case["answer"])
assert largest <= TOLERANCE, largest
print(f"{len(cases)} prompts: same ids, same answers, logits off by at most {largest:.1e}")


def read(name):
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))


# What vLLM takes from the folder: the configuration through transformers, the stops from `generation_config.json`, and
# exactly the files that the index names.
config = AutoConfig.from_pretrained(folder)
assert config.architectures == ["LlamaForCausalLM"] and config.dtype == torch.float32, config
assert config.rope_parameters["rope_theta"] == 1e6 and config.rope_parameters["rope_type"] == "default", config
stops = GenerationConfig.from_pretrained(folder).eos_token_id
assert stops == config.eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>"), 2], stops
weight_map = read("model.safetensors.index.json")["weight_map"]
assert {path.name for path in Path(folder).glob("*.safetensors")} == set(weight_map.values())
assert read("model.safetensors.index.json")["metadata"]["total_size"] == 4 * sum(p.numel() for p in model.parameters())

# What llama.cpp's `convert_hf_to_gguf.py` takes (its `_create_vocab_sentencepiece`, `SpecialVocab` and `LlamaModel`): the
# pieces of `tokenizer.model`, over them `added_tokens.json` and `added_tokens_decoder` by id, the named special tokens,
# and these fields of `config.json`.
pieces = SentencePieceProcessor(model_file=str(Path(folder) / "tokenizer.model"))
hparams = read("config.json")
vocabulary = {i: pieces.IdToPiece(i) for i in range(pieces.vocab_size())}
for token, i in read("added_tokens.json").items():
    assert pieces.vocab_size() <= i < hparams["vocab_size"], (token, i)
    vocabulary[i] = token
tokenizer_config = read("tokenizer_config.json")
for i, entry in tokenizer_config["added_tokens_decoder"].items():
    assert vocabulary[int(i)] == entry["content"], (i, entry, vocabulary[int(i)])
for i in range(len(tokenizer)):
    assert vocabulary[i] == tokenizer.convert_ids_to_tokens(i), i
for name in ("bos_token", "eos_token", "pad_token"):
    assert tokenizer_config[name] in vocabulary.values()
    assert vocabulary[tokenizer.convert_tokens_to_ids(tokenizer_config[name])] == tokenizer_config[name]
assert tokenizer_config["chat_template"] and tokenizer_config["add_bos_token"] is False
for field in (
    "num_hidden_layers", "max_position_embeddings", "hidden_size", "intermediate_size", "num_attention_heads",
    "num_key_value_heads", "head_dim", "rope_theta", "rms_norm_eps", "vocab_size",
):
    assert isinstance(hparams[field], (int, float)), field
