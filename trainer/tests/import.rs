//! Base models as transformers and PyTorch save them, read to the same logits.

mod python;
mod tiny_run;

use std::path::Path;
use std::process::Command;

use python::python;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tiny_run::{TinyRun, fails, succeeds};
use trainer::llama_config::LlamaConfig;
use trainer::params::Model;
use trainer::stored::Stored;
use trainer::weights;

/// Both compute in `f32` with other orders of summation; the logits are about 30.
const TOLERANCE: f64 = 2e-4;

#[track_caller]
fn check_logits(folder: &Path, expected: &[u8]) {
    let config = LlamaConfig::read(folder).expect("a Llama");
    let mut model = Model::zeros(config, Kind::Float, Device::Cpu);
    weights::load(folder, &mut model).expect("whole");
    let expected: Value = serde_json::from_slice(expected).expect("JSON");
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|it| it.as_f64().expect("a number")).collect()
    };
    let tokens = Tensor::from_slice(&numbers(&expected["tokens"])).to_kind(Kind::Int64);
    let logits = model.logits(&tokens.unsqueeze(0)).squeeze_dim(0);
    let rows = expected["logits"].as_array().expect("a list").iter();
    let wanted: Vec<Tensor> = rows.map(|row| Tensor::from_slice(&numbers(row))).collect();
    let off = (logits - Tensor::stack(&wanted, 0)).abs().max().double_value(&[]);
    assert!(off < TOLERANCE, "{}: off by {off:e}", folder.display());
}

#[test]
fn what_transformers_and_pytorch_saved_has_the_same_logits_here() {
    let Some(python) = python() else { return };
    let run = TinyRun::new(1, "");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/save_models.py");
    succeeds(Command::new(python).arg(script).arg(run.path("")));
    for name in ["one", "several", "bin", "bins", "bf16"] {
        let expected = run.bytes(format!("{name}.json"));
        check_logits(&run.path(name), &expected);
        // And the conversion is the same model, in one file and in several.
        let mut convert = run.command("convert");
        let out = format!("{name}-converted");
        convert.args([name, "--out", &out, "--dtype", "f32", "--max-shard-size", "0.00001"]);
        succeeds(&mut convert);
        check_logits(&run.path(&out), &expected);
    }

    let convert = |from: &str, more: &[&str]| {
        let mut convert = run.command("convert");
        convert.args([from, "--out", &format!("{from}-converted"), "--dtype", "f32"]).args(more);
        convert
    };
    // A tied head stays one, or becomes a matrix of its own. Some programs store it a second time.
    let tied = run.bytes("tied.json");
    for name in ["tied", "tied-twice"] {
        check_logits(&run.path(name), &tied);
        succeeds(&mut convert(name, &[]));
        check_logits(&run.path(format!("{name}-converted")), &tied);
    }
    let head = |stored: &str| {
        let stored = Stored::open_folder(&run.path(stored)).expect("a model");
        stored.shape("lm_head.weight").is_some()
    };
    assert!(!head("tied-converted") && head("tied-twice") && !head("tied-twice-converted"));
    succeeds(&mut convert("tied-twice", &["--untie", "--force"]));
    assert!(head("tied-twice-converted"));
    check_logits(&run.path("tied-twice-converted"), &tied);
    let words =
        ["`lm_head.weight` is not `model.embed_tokens.weight`, and `tie_word_embeddings` is true"];
    fails(&mut convert("tied-otherwise", &[]), 2, &words);
    fails(&mut convert("one", &["--untie", "--force"]), 2, &["`one` has a head of its own"]);

    let words = ["pytorch_model.bin", "exec`, which no file of plain tensors needs"];
    fails(&mut convert("hostile", &[]), 2, &words);
    assert!(!run.path("it-ran").exists());
    fails(&mut convert("old", &[]), 2, &["it is no zip archive", "hint: load and save it"]);

    // Meta's own files, cut for one, two and four parts, embeddings by width and by vocabulary.
    for name in ["llama-1", "codellama", "llama-3", "llama-tied"] {
        succeeds(&mut convert(name, &[]));
        check_logits(&run.path(format!("{name}-converted")), &run.bytes(format!("{name}.json")));
    }
    let hint = "hint: `trainer convert` makes one of Meta's own files";
    fails(&mut run.train("run", &["--set", "model.base=codellama"]), 2, &[hint]);
    check_meta_is_whole(&run);

    let small = ["--set", "model.base=bins"];
    fails(
        &mut run.train("run", &small),
        2,
        &["but `bins` has 64", "let it grow with `model.new_rows`"],
    );

    // A file that ends too soon, at any place, is told; a changed byte never ends the program.
    let path = run.path("bin/pytorch_model.bin");
    let whole = fs_err::read(&path).expect("written");
    for end in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        shards::atomic::write(&path, &whole[..end]).expect("written");
        fails(&mut convert("bin", &["--force"]), 2, &["pytorch_model.bin"]);
    }
}

/// Whatever is missing in Meta's files, or unknown, is told.
fn check_meta_is_whole(run: &TinyRun) {
    let check = |words: &[&str]| {
        let mut convert = run.command("convert");
        fails(convert.args(["llama-tied", "--out", "never"]), 2, words);
    };
    let params = run.path("llama-tied/params.json");
    let whole = fs_err::read(&params).expect("written");
    for (key, words) in [
        ("use_scaled_rope", "does not say by which factor"),
        ("use_qk_norm", "unknown field `use_qk_norm`"),
    ] {
        let mut json: Value = serde_json::from_slice(&whole).expect("JSON");
        json[key] = json!(true);
        shards::atomic::write_json(&params, &json).expect("written");
        check(&["params.json", words]);
    }
    shards::atomic::write(&params, &whole).expect("written");
    // The last part is missed by what the others lack, one between two by its name.
    let part = |part: u32| run.path(format!("llama-tied/consolidated.0{part}.pth"));
    fs_err::remove_file(part(3)).expect("written");
    check(&["self_attn.q_proj.weight`: its parts hold 768 numbers, and it has 1024"]);
    fs_err::remove_file(part(1)).expect("written");
    check(&["consolidated.01.pth` is missing"]);
}

/// A model of 400 MB in `f32`, as a sparse file, of which a conversion must hold only a small part in memory of its own.
/// (Mapped pages of the file are not: the system takes them back whenever it needs them.)
#[test]
fn a_conversion_holds_a_small_part_of_the_model() {
    let run = TinyRun::new(1, "");
    let config = LlamaConfig::from_json(&json!({
        "model_type": "llama", "vocab_size": 64, "hidden_size": 256, "intermediate_size": 1024,
        "num_hidden_layers": 100, "num_attention_heads": 4,
    }));
    let config = config.expect("a Llama");
    let folder = run.path("sparse");
    fs_err::create_dir(&folder).expect("new");
    let config_json = config.to_json(Kind::Float);
    shards::atomic::write_json(&folder.join("config.json"), &config_json).expect("written");
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for spec in trainer::units::unit_specs(&config).iter().flat_map(|unit| &unit.params) {
        let start = end;
        end += spec.numel() * 4;
        let info = json!({"dtype": "F32", "shape": spec.shape, "data_offsets": [start, end]});
        header.insert(spec.name.clone(), info);
    }
    assert!(end > 400_000_000);
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let path = folder.join("model.safetensors");
    let length = header.len() as u64;
    let head = [&length.to_le_bytes()[..], &header].concat();
    shards::atomic::write(&path, &head).expect("written");
    let file = fs_err::OpenOptions::new().write(true).open(&path).expect("just written");
    file.set_len(8 + length + end.cast_unsigned()).expect("sparse");

    let mut convert = run.command("convert");
    let convert = convert.args(["sparse", "--out", "half", "--dtype", "bf16"]);
    let mut child = convert.spawn().expect("the program starts");
    let status = std::path::PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut most = 0_u64;
    while child.try_wait().expect("a child").is_none() {
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let own = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let own = own.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        most = most.max(own.unwrap_or_default());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().expect("a child").success());
    // libtorch alone takes some 50 MB.
    assert!(most > 0 && most < 150_000, "{most} kB");
}
