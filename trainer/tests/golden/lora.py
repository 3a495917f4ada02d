"""Makes the numbers that the trainer's LoRA is compared with: peft's.

    python trainer/tests/golden/lora.py

needs torch 2.11, transformers 5, peft 0.21 and safetensors. It takes the tiny Llama and the documents that `make.py`
wrote, and writes a folder a case into `lora/`: the adapter that the case begins with, as peft saves it, and
`expected.safetensors` with logits, the loss, every gradient, and what is trained after some steps of AdamW.
"""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
STEPS = 5
CASES = {
    "qv": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "all": dict(r=3, lora_alpha=5, target_modules="all-linear", use_rslora=True),
    "saved": dict(
        r=2, lora_alpha=7, target_modules=["k_proj", "o_proj", "down_proj"], modules_to_save=["embed_tokens", "lm_head"]
    ),
    "head": dict(r=2, lora_alpha=3, target_modules=["gate_proj", "up_proj"], modules_to_save=["lm_head"]),
}


def plain(name):
    """The name in a model without peft's wrappings."""
    for wrapping in ("base_model.model.", ".default", ".modules_to_save"):
        name = name.replace(wrapping, "")
    return name


def loss_of(model, expected):
    total, count = 0.0, 0
    for i in range(4):
        document, mask = expected[f"document.{i}"], expected[f"learned.{i}"].bool()
        logits = model(document[None, :-1]).logits[0]
        losses = torch.nn.functional.cross_entropy(logits, document[1:], reduction="none")
        total = total + losses[mask[1:]].sum()
        count += int(mask[1:].sum())
    return total / count


def main():
    expected = load_file(HERE / "llama" / "expected.safetensors")
    for name, case in CASES.items():
        torch.manual_seed(17)
        base = AutoModelForCausalLM.from_pretrained(HERE / "llama", dtype=torch.float32, attn_implementation="eager")
        model = get_peft_model(base, LoraConfig(lora_dropout=0.0, **case))
        trained = {plain(n): p for n, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for key, parameter in trained.items():
                if "lora_" in key:
                    # Neither matrix is zero, so that both have gradients, and large enough to matter.
                    parameter.normal_(0.0, 0.3)
        folder = HERE / "lora" / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink()
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text())
        config["base_model_name_or_path"] = "llama"
        config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2) + "\n")

        out = {"logits": model(expected["document.0"][None]).logits.detach()}
        optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = loss_of(model, expected)
            loss.backward()
            if step == 0:
                out["loss"] = loss.detach()
                out |= {f"tokens.{key}": parameter.grad.clone() for key, parameter in trained.items()}
            optimizer.step()
        out |= {f"end.{key}": parameter.detach().clone() for key, parameter in trained.items()}
        save_file({key: value.contiguous() for key, value in out.items()}, folder / "expected.safetensors")


main()
